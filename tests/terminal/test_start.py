"""What is settled before the first frame: a slip of the command line is told without a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.terminal.pty_app import App

pytestmark = pytest.mark.terminal


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., App]]:
    apps: list[App] = []

    def make(*arguments: str, **environ: str) -> App:
        apps.append(App(tmp_path, *arguments, **environ))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


def test_a_flag_that_names_no_model_ends_before_the_screen(start: Callable[..., App]) -> None:
    app = start("--model", "nonsense")
    assert app.until_end() == 2
    assert b"--model: No model is called 'nonsense'." in app.received
    assert b"\x1b[?1049h" not in app.received, "the alternate screen"


def test_a_variable_that_names_no_model_is_told_on_the_screen(start: Callable[..., App]) -> None:
    app = start(TTCHAT_MODEL="nonsense")
    app.until("No model is called 'nonsense'.")
    app.until("ctrl+o chooses another")
