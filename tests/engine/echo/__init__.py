"""The worked example of CONTRIBUTING's "Add an engine": an engine that repeats its prompt, word by word."""
