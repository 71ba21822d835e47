"""The served engine: the same chat over an OpenAI-compatible server."""
