"""What the app itself remembers between runs: theme, panels, last model. JSON in the state folder, written whole."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.special_files import special_file

log = logging.getLogger(__name__)


class UiState(msgspec.Struct, frozen=True, kw_only=True):
    """None: the user has not chosen; config or the app's own default holds. Unknown keys are ignored, so that an
    older version can read what a newer one wrote."""

    theme: str | None = None
    show_conversations: bool | None = None
    """The left sidebar."""
    show_controls: bool | None = None
    """The right sidebar."""
    last_model: str | None = None
    """What --model would take to get it again: alias, hub id or absolute path."""
    last_conversation_id: int | None = None
    """What was on screen when the app ended."""


def load_ui_state(file: Path) -> UiState:
    """The state in `file`; the defaults when there is none, or none that can be read.

    A file that is not ours any more (broken JSON, wrong types) is renamed to `<name>.bad`, so that it can be looked
    at and is not in the way. Never raises for what is in the file or on the disk: looks are not worth failing for.
    """
    if what := special_file(file):
        log.warning("what the app remembers is not read: %s is %s", file, what)
        return UiState()
    try:
        return msgspec.json.decode(file.read_bytes(), type=decodable(UiState))
    except (msgspec.DecodeError, UnicodeDecodeError):
        with contextlib.suppress(OSError):
            file.replace(file.with_name(f"{file.name}.bad"))
    except OSError:
        pass  # missing at the first start; unreadable: the next save will tell
    return UiState()


def save_ui_state(file: Path, state: UiState) -> None:
    """Replace `file` by `state` in one step: a crash leaves the old or the new one, never half.

    Raises:
        OSError: the folder cannot be made or written. The old file is as it was then.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "wb") as output:
            output.write(msgspec.json.format(msgspec.json.encode(state)))
            output.flush()
            os.fsync(output.fileno())
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
