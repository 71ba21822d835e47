"""With NO_COLOR set no colour reaches a real terminal: not from the screen, not from the commands without one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.native_kernel import lend_kernel
from tests.terminal.pty_app import PtyApp

pytestmark = [pytest.mark.terminal, pytest.mark.model, pytest.mark.timeout(180)]

COLOURS = {*range(30, 50), *range(90, 108)}
"""SGR parameters of foreground and background, 38 and 48 (256 colours, RGB) and the defaults among them."""


@pytest.fixture
def start(tmp_path: Path, default_model_path: Path) -> Iterator[Callable[..., PtyApp]]:
    apps: list[PtyApp] = []
    lend_kernel(tmp_path / "cache")

    def make(*arguments: str, **environ: Any) -> PtyApp:
        apps.append(PtyApp(tmp_path, *arguments, size=(120, 36), **environ))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


def colours_in(received: bytes) -> set[int]:
    """The SGR parameters that set a colour."""
    found = re.findall(rb"\x1b\[([0-9;:]*)m", received)
    return {int(number) for each in found for number in re.split(rb"[;:]", each) if number} & COLOURS


def test_the_screen_is_drawn_without_colours(start: Callable[..., PtyApp], default_model_path: Path) -> None:
    app = start("--model", str(default_model_path), "--max-tokens", "8", NO_COLOR="1")
    app.until("● ready")
    app.type("Hello.\r")
    app.until(lambda text: re.search(r"TTFT \d", text) is not None)
    app.type("\x10")
    app.until("Search for commands")
    assert colours_in(bytes(app.received)) == set()
    assert any(cell.reverse for row in app.screen.buffer.values() for cell in row.values())


def test_without_the_variable_there_are_colours(start: Callable[..., PtyApp]) -> None:
    app = start(TTCHAT_MODEL="none")
    app.until("Write a message")
    assert colours_in(bytes(app.received))


@pytest.mark.parametrize(
    "arguments", [["doctor"], ["--plain", "--model", "no/model"], ["--help"]], ids=" ".join
)
def test_commands_without_a_screen_send_none(start: Callable[..., PtyApp], arguments: list[str]) -> None:
    app = start(*arguments, NO_COLOR="1", HF_HUB_OFFLINE="1")
    if "--plain" in arguments:
        app.until(lambda text: text.rstrip().endswith(">"))
        app.type("/quit\r")
    app.until_end()
    assert colours_in(bytes(app.received)) == set()
