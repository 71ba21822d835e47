"""The CPU engine: own readers and forward for the families that families.py describes, transformers for other models."""
