"""The newest lines of the logs: messages of the app, and output of native libraries, which is kept off the screen."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import RichLog, Static

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.textual_patches.dimmed_backdrop import DimmingScreen

TAIL_BYTES = 128 * 1024


class LogScreen(DimmingScreen[None]):
    """Reads the files when opened; `r` reads them again."""

    heading = "Log"
    BINDINGS = [
        Binding("escape,q", "dismiss", "Close"),
        Binding("r", "reload", "Read again"),
    ]

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self._files = files

    def compose(self) -> ComposeResult:
        yield Static("Log · r reloads, esc closes", id="log-title", markup=False)
        yield RichLog(id="log", wrap=True, markup=False, highlight=False, auto_scroll=True)

    def on_mount(self) -> None:
        self.action_reload()

    def action_reload(self) -> None:
        log = self.query_one(RichLog)
        log.clear()
        for file in self._files:
            log.write(Text(str(file), style="bold"))
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
