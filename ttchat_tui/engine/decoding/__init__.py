"""The decode loop and its parts: responder, rows, sampler, prompt lookup."""
