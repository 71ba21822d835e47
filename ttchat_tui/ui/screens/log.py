"""The newest lines of the logs: messages of the app, and output of native libraries, which is kept off the screen."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import RichLog

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.screens.dialog import CLOSES, Dialog

TAIL_BYTES = 128 * 1024


class LogScreen(Dialog[None]):
    """Reads the files when opened; `r` reads them again."""

    heading = "Log"
    keys = f"r reloads · {CLOSES}"
    BINDINGS = [
        Binding("q", "cancel", "Close"),
        Binding("r", "reload", "Read again"),
    ]

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self._files = files

    def body(self) -> ComposeResult:
        yield RichLog(wrap=True, min_width=1, markup=False, highlight=False, auto_scroll=True)

    def on_resize(self) -> None:
        """Also called as it opens. The lines are wrapped as they are written, so they wait for the layout."""
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        log = self.query_one(RichLog)
        log.clear()
        for file in self._files:
            log.write(Text(visible(str(file)), style="bold"))
            for line in tail(file):
                log.write(visible(line))


def tail(path: Path) -> list[str]:
    """The lines in the last 128 KiB of a file; an error message if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ["Nothing yet."]
    except OSError as error:
        return [f"The log cannot be read: {error.strerror or error}"]
    return text.splitlines() or ["The log is empty."]
