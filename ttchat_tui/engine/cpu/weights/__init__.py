"""Weights in memory, by precision, and their matrix products."""
