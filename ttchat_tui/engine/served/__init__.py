"""The remote engine: the same chat on a model that an OpenAI-compatible server runs."""
