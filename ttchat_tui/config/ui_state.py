"""State that the app keeps between runs: theme, panels, last model. JSON in the state folder."""

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
    """None: the user has not chosen, and the config or the app's default applies. Unknown keys are ignored, so that an older
    version can read a newer one's file."""

    theme: str | None = None
    show_conversations: bool | None = None
    """The left sidebar."""
    show_controls: bool | None = None
    """The right sidebar."""
    show_preview: bool | None = None
    """The sampler's preview in it."""
    has_offered_models: bool = False
    """The first start has offered better models than the default."""
    last_model: str | None = None
    """Alias, hub id or absolute path, as `--model` takes it."""


def load_ui_state(file: Path) -> UiState:
    """The state in `file`; the defaults if it is missing or cannot be read.

    A file with broken JSON or wrong types is renamed to `<name>.bad`. Nothing in the file or on the disk raises: the look
    of the screen is not worth failing for.
    """
    if what := special_file(file):
        log.warning("the UI state is not read: %s is %s", file, what)
        return UiState()
    try:
        return msgspec.json.decode(file.read_bytes(), type=decodable(UiState))
    except (msgspec.DecodeError, UnicodeDecodeError):
        with contextlib.suppress(OSError):
            file.replace(file.with_name(f"{file.name}.bad"))
    except OSError:
        pass  # missing at the first start; if it is unreadable, the next save reports it
    return UiState()


def save_ui_state(file: Path, state: UiState) -> None:
    """Replace `file` by `state` atomically: after a crash it is the old or the new one, never half of it.

    Raises:
        OSError: the folder cannot be made or written. The old file is unchanged.
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
