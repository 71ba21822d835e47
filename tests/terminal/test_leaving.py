"""Leaving before the app is all there is no error: whoever types at the first frame may also change their mind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.pty_app import App, is_restored

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(60)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    started = App(tmp_path, "--model", str(tmp_path / "missing.gguf"))
    yield started
    started.close()


@pytest.mark.parametrize("sign", ["ttchat", "Write a message", "ctrl+n"])
def test_ctrl_q_at_the_first_sign_of_the_screen_leaves_in_order(app: App, sign: str) -> None:
    app.until(sign)
    app.type("\x11")
    assert app.until_end() == 0
    assert is_restored(bytes(app.received))
    assert b"Traceback" not in app.received
