"""The forward pass, its attention and its KV caches."""
