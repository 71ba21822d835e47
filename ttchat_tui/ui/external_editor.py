"""Editing in the user's own editor, which takes over the terminal meanwhile."""

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
    """The draft could not be edited and is unchanged. `str()` is the reason and a cure."""


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The user's editor as an argument list: `$VISUAL`, then `$EDITOR` (with arguments: `code -w`), then nano or vi.

    Raises:
        EditorError: no editor is set or installed, or the setting cannot be parsed.
    """
    for name in ("VISUAL", "EDITOR"):
        if setting := environment.get(name, "").strip():
            try:
                return shlex.split(setting)
            except ValueError as error:
                raise EditorError(f"${name} cannot be parsed ({error}): {setting}") from error
    for program in ("nano", "vi"):
        if found := shutil.which(program):
            return [found]
    raise EditorError("No editor is set: set $EDITOR, for example to `nano` or `code -w`.")


async def edit_on_terminal(app: App[Any], text: str, command: Sequence[str]) -> str:
    """Edit `text` with `command`, which takes over the terminal, and return the result.

    The event loop continues (a streaming reply is still stored), but nothing is drawn.

    Raises:
        EditorError: the editor is not installed or failed, or the app cannot be suspended (in a browser).
    """
    folder = Path(tempfile.mkdtemp(prefix="ttchat-draft-"))
    file = folder / "draft.md"
    try:
        # Editors expect a final newline; the draft need not have one.
        file.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        # batch_update holds back every repaint while the editor has the screen.
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
    """Run `command` on the controlling terminal (this process's fd 1 and 2 go to the log). Returns its exit status."""
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
    """The controlling terminal; None, to inherit this process's files, if there is none."""
    try:
        return stack.enter_context(
            os.fdopen(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY), "r+b", buffering=0)
        )
    except OSError:
        return None
