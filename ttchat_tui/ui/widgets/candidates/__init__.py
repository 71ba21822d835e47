"""Replies side by side."""
