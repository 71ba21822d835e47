"""Weights in memory, by format, and their matrix products."""
