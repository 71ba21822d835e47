"""Overrides of Textual's private parts. Each names the version it is for and the fault upstream."""
