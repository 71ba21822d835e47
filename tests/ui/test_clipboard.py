"""Copying: the best way there is, never the wrong machine's clipboard, and a sentence that does not claim too much."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.ui import clipboard
from ttchat_tui.ui.clipboard import FILE_NAME, OSC_LIMIT, copy, osc52, run_tool, tools


class RecordingTerminal:
    """A fake app that records copied text and raw output."""

    def __init__(self) -> None:
        self._clipboard = ""
        self.written: list[str] = []
        self._driver = self

    def write(self, data: str) -> None:
        self.written.append(data)


def found(name: str) -> str:
    return f"/usr/bin/{name}"


def nothing_found(name: str) -> None:
    return None


class Tools:
    """Runs no command; those in `failing` end badly."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.ran: list[str] = []

    async def __call__(self, command: Sequence[str], data: bytes) -> bool:
        self.ran.append(command[0])
        return command[0] not in self.failing


def names(environment: dict[str, str]) -> list[str]:
    return [command[0] for command in tools(environment, found)]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        ({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, ["wl-copy", "xclip", "xsel"]),
        ({"TMUX": "/tmp/t"}, ["tmux"]),
        ({"SSH_TTY": "/dev/pts/1", "WAYLAND_DISPLAY": "w"}, []),
        ({"SSH_CONNECTION": "1", "TMUX": "/tmp/t", "DISPLAY": "localhost:10"}, ["tmux", "xclip", "xsel"]),
        ({"WSL_DISTRO_NAME": "Debian"}, ["clip.exe"]),
    ],
)
def test_the_tools_are_those_that_reach_the_users_own_clipboard(
    environment: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard.sys, "platform", "linux")
    assert names(environment) == expected


def test_on_macos_pbcopy_is_used_but_not_over_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard.sys, "platform", "darwin")
    assert names({}) == ["pbcopy"]
    assert names({"SSH_TTY": "/dev/pts/1"}) == []


def test_a_tool_that_is_not_installed_is_not_tried() -> None:
    assert tools({"TMUX": "1", "DISPLAY": ":0"}, nothing_found) == []


async def test_a_tool_that_worked_is_named_and_no_file_is_left(tmp_path: Path) -> None:
    terminal, run = RecordingTerminal(), Tools("wl-copy")
    environment = {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}
    said = await copy("hello", terminal, tmp_path, environment=environment, find=found, run=run)  # type: ignore[arg-type]
    assert said == "Copied 5 characters (xclip)."
    assert run.ran == ["wl-copy", "xclip"]
    assert terminal._clipboard == "hello"
    assert base64.b64encode(b"hello").decode() in terminal.written[0]
    assert os.listdir(tmp_path) == []


async def test_without_a_confirmed_way_the_text_is_in_a_private_file_that_the_message_names(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    said = await copy("grüße", RecordingTerminal(), folder, environment={}, find=nothing_found)  # type: ignore[arg-type]
    file = folder / FILE_NAME
    assert "does not confirm it" in said
    assert said.endswith(str(file))
    assert file.read_text(encoding="utf-8") == "grüße"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(folder) == [FILE_NAME]


async def test_a_text_too_long_for_the_terminal_is_reported(tmp_path: Path) -> None:
    terminal: Any = RecordingTerminal()
    said = await copy("x" * (OSC_LIMIT + 1), terminal, tmp_path, environment={}, find=nothing_found)
    assert "may be too long for the terminal's clipboard" in said


async def test_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    said = await copy("x", RecordingTerminal(), tmp_path / "state", environment={}, find=nothing_found)  # type: ignore[arg-type]
    assert "no file could be written" in said


@given(st.binary(max_size=3000))
def test_tmux_and_screen_get_the_sequence_wrapped_so_that_it_comes_out_whole(data: bytes) -> None:
    plain = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    tmux = osc52(data, {"TMUX": "1"})
    assert tmux.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b") == plain
    chunks = (
        osc52(data, {"TERM": "screen-256color"})
        .removeprefix("\x1bP")
        .removesuffix("\x1b\\")
        .split("\x1b\\\x1bP")
    )
    assert "".join(chunks) == plain
    assert max(map(len, chunks)) <= 768
    assert osc52(data, {"TERM": "xterm"}) == ""


async def test_under_tmux_the_wrapped_sequence_goes_to_the_terminal_too(tmp_path: Path) -> None:
    terminal = RecordingTerminal()
    await copy("x", terminal, tmp_path, environment={"TMUX": "1"}, find=nothing_found)  # type: ignore[arg-type]
    assert terminal.written[-1] == osc52(b"x", {"TMUX": "1"})


async def test_a_real_tool_gets_the_bytes(tmp_path: Path) -> None:
    target = tmp_path / "got"
    assert await run_tool(["sh", "-c", f"cat > {target}"], "héllo".encode())
    assert target.read_text(encoding="utf-8") == "héllo"


async def test_a_tool_that_fails_hangs_or_is_not_there_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "TOOL_TIMEOUT_S", 0.05)
    assert not await run_tool(["false"], b"x")
    assert not await run_tool(["sh", "-c", "exec sleep 60"], b"x")
    assert not await run_tool(["/nowhere/tool"], b"x")
