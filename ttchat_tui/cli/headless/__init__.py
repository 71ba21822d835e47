"""Chat without a screen: one prompt answered on stdout (`-p`), or the plain REPL (`--plain`). Imports no Textual."""

from ttchat_tui.cli.headless.start import report_failure, run, with_attachments

__all__ = ["report_failure", "run", "with_attachments"]
