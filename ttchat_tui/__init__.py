"""ttchat-tui: a terminal chat for language models that run in-process."""

__version__ = "0.1.0"
