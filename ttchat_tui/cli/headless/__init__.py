"""Chat without a screen: one prompt answered on stdout (`-p`), or the plain REPL (`--plain`). Imports no Textual."""

from ttchat_tui.cli.headless.start import run

__all__ = ["run"]
