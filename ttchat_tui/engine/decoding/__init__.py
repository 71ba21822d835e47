"""The decode loop and its parts: rows, sampler, prompt lookup."""
