"""Copying to the user's clipboard by every available way, also over ssh and in tmux.

Terminals do not confirm OSC 52; a local tool reports success by its exit status. If nothing is confirmed, the text is also
written to a file.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import Any, Final, TypeAlias

from textual.app import App

from ttchat_tui.ui.passthrough import passed_through
from ttchat_tui.ui.textual_patches.privates import write_to_terminal

TOOL_TIMEOUT_S: Final = 2.0

OSC_LIMIT: Final = 74_994
"""Bytes that most terminals accept in one OSC 52: 100,000 in base64, less the frame (xterm, hterm, iTerm2)."""

FILE_NAME: Final = "clipboard.txt"

RunTool: TypeAlias = Callable[[Sequence[str], bytes], Awaitable[bool]]
"""Runs a command with this input. Returns whether it succeeded in time."""


async def copy(
    text: str,
    app: App[Any],
    folder: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    find: Callable[[str], str | None] = which,
    run: RunTool | None = None,
) -> str:
    """Copy `text` and return a sentence about the result. The file is written to `folder` if nothing is confirmed."""
    data = text.encode("utf-8", errors="replace")
    what = f"{len(text):,} characters"
    # Textual keeps it for ctrl+v in its own fields and sends a plain OSC 52. The app's override calls this function.
    App.copy_to_clipboard(app, text)
    _send_wrapped(app, data, environment)
    run = run or run_tool
    for command in tools(environment, find):
        if await run(command, data):
            return f"Copied {what} ({Path(command[0]).name})."
    return await asyncio.to_thread(_kept, data, what, folder)


def tools(environment: Mapping[str, str], find: Callable[[str], str | None] = which) -> list[list[str]]:
    """The available clipboard commands, best first.

    Over ssh the tools of this machine would fill the wrong clipboard. Only tmux (which passes the text to the terminal) and
    a forwarded X display are used then.
    """
    is_remote = bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))
    candidates: list[list[str]] = []
    if environment.get("TMUX"):
        candidates.append(["tmux", "load-buffer", "-w", "-"])
    if environment.get("WAYLAND_DISPLAY") and not is_remote:
        candidates.append(["wl-copy"])
    if environment.get("DISPLAY"):
        candidates += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    if sys.platform == "darwin" and not is_remote:
        candidates.append(["pbcopy"])
    if environment.get("WSL_DISTRO_NAME"):
        candidates.append(["clip.exe"])
    return [command for command in candidates if find(command[0])]


def osc52(data: bytes, environment: Mapping[str, str]) -> str:
    """OSC 52 wrapped for tmux or screen to pass through; empty if the plain one (which Textual sends) is enough."""
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    wrapped = passed_through(sequence, environment)
    return wrapped if wrapped != sequence else ""


async def run_tool(command: Sequence[str], data: bytes) -> bool:
    """Run `command` with `data` as its input. False if it cannot run, fails, or takes longer than `TOOL_TIMEOUT_S`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            # xclip and wl-copy leave a process that serves the clipboard. It must not hold our pipes open.
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(data), TOOL_TIMEOUT_S)
    except (asyncio.TimeoutError, OSError):
        if process.returncode is None:
            process.kill()
            await process.wait()
        return False
    return process.returncode == 0


def _send_wrapped(app: App[Any], data: bytes, environment: Mapping[str, str]) -> None:
    wrapped = osc52(data, environment)
    if wrapped:
        write_to_terminal(app, wrapped)


def _kept(data: bytes, what: str, folder: Path | None) -> str:
    asked = f"Sent {what} to the terminal's clipboard (OSC 52), which does not confirm it"
    if len(data) > OSC_LIMIT:
        asked = f"{what} may be too long for the terminal's clipboard (OSC 52)"
    if folder is None:
        return f"{asked}."
    file = folder / FILE_NAME
    try:
        _write_private(file, data)
    except OSError as error:
        return f"{asked}, and no file could be written: {error.strerror}."
    return f"{asked}. They are also in {file}"


def _write_private(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)  # never write into a file that somebody else has put there
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
    part.replace(file)
