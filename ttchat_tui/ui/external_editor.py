"""Edits a text in the user's own editor, on the real terminal, while the app stands aside."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from textual.app import App, SuspendNotSupported


class EditorError(Exception):
    """The draft could not be edited; `str()` says why and what to do. The draft is as it was."""


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The user's editor as an argument list: `$VISUAL`, then `$EDITOR` (with arguments: `code -w`), then nano or vi.

    Raises:
        EditorError: none is set and none is there, or the setting cannot be read.
    """
    for name in ("VISUAL", "EDITOR"):
        if setting := environment.get(name, "").strip():
            try:
                return shlex.split(setting)
            except ValueError as error:
                raise EditorError(f"${name} cannot be read ({error}): {setting}") from error
    for program in ("nano", "vi"):
        if found := shutil.which(program):
            return [found]
    raise EditorError("No editor is set: set $EDITOR, for example to `nano` or `code -w`.")


async def edit_on_terminal(app: App[Any], text: str, command: Sequence[str]) -> str:
    """`text` as the user left it in `command`, which runs on the terminal in place of the app.

    The event loop goes on meanwhile (a streaming reply is still kept), but nothing is drawn.

    Raises:
        EditorError: the editor is not there, failed, or the app cannot stand aside (in a browser).
    """
    folder = Path(tempfile.mkdtemp(prefix="ttchat-draft-"))
    file = folder / "draft.md"
    try:
        # Editors and line tools want the last line ended; the draft need not be.
        file.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        # batch_update keeps every repaint back: the screen belongs to the editor now.
        with app.batch_update(), app.suspend():
            status = await _run([*command, str(file)])
        if status:
            raise EditorError(f"{command[0]} ended with status {status}; the draft is unchanged.")
        edited = file.read_text(encoding="utf-8", errors="replace")
        return edited if text.endswith("\n") else edited.removesuffix("\n")
    except SuspendNotSupported as error:
        raise EditorError(
            "An editor cannot be opened here: the app cannot hand over its terminal."
        ) from error
    except OSError as error:
        raise EditorError(f"{error.strerror or error}: {error.filename or file}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(command: Sequence[str]) -> int:
    """Run `command` on the controlling terminal (fd 1 and 2 of this process go to the log) and wait for its end."""
    with ExitStack() as stack:
        terminal = _terminal(stack)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=terminal, stdout=terminal, stderr=terminal
            )
        except (FileNotFoundError, PermissionError) as error:
            raise EditorError(
                f"{command[0]} cannot be run: set $EDITOR to an editor that is installed."
            ) from error
        return await process.wait()


def _terminal(stack: ExitStack) -> BinaryIO | None:
    """The controlling terminal, or None (inherit what this process has) where there is none."""
    try:
        return stack.enter_context(
            os.fdopen(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY), "r+b", buffering=0)
        )
    except OSError:
        return None
