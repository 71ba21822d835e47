"""The command line: flags, subcommands, and the composition root. Nothing else builds objects."""

from ttchat_tui.cli.entry import main

__all__ = ["main"]
