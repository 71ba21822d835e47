"""The CPU engine: own readers and forward for the Llama family, transformers for other models."""
