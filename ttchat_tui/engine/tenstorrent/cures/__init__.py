"""Errors of ttnn, tt-metal, the driver and the hub in plain words, a table for each family."""
