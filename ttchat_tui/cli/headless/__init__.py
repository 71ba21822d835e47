"""Chat without a screen: one prompt answered on stdout (`-p`), or the plain REPL (`--plain`). No Textual in here."""

from ttchat_tui.cli.headless.start import run

__all__ = ["run"]
