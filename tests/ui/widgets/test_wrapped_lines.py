"""Keys that delete to an edge of the line, where the prompt wraps the line."""

from __future__ import annotations

from itertools import product

import pytest

from tests.ui.shell_app import ShellApp
from ttchat_tui.config.schema import EditingStyle, UiSettings
from ttchat_tui.ui.widgets.prompt.prompt import Prompt

ABOVE, BELOW = "the line above", "the line below"
LONG = " ".join(f"word{number}" for number in range(40))
STYLES: tuple[EditingStyle, ...] = ("default", "emacs", "vi")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("key", "at"), product(["ctrl+u", "ctrl+k"], [1, 59, 120, 121, len(LONG) - 1]))
async def test_a_key_deletes_to_the_edge_of_the_line_and_not_of_the_row(
    style: EditingStyle, key: str, at: int
) -> None:
    prompt = Prompt(UiSettings(editing=style))
    app = ShellApp(prompt)
    async with app.run_test(size=(64, 24)) as pilot:
        prompt.focus()
        prompt.set_draft(f"{ABOVE}\n{LONG}\n{BELOW}")
        await pilot.pause()
        assert prompt.wrapped_document.height > 5, "it is wrapped"
        prompt.move_cursor((1, at))
        await pilot.press(key)
        left = LONG[at:] if key == "ctrl+u" else LONG[:at]
        assert prompt.text == f"{ABOVE}\n{left}\n{BELOW}"
        assert prompt.cursor_location == (1, 0 if key == "ctrl+u" else at)


async def test_ctrl_u_and_ctrl_k_at_the_edges_of_a_line_join_it_with_the_next() -> None:
    prompt = Prompt()
    app = ShellApp(prompt)
    async with app.run_test(size=(64, 24)) as pilot:
        prompt.focus()
        prompt.set_draft(f"{ABOVE}\n{LONG}\n\n{BELOW}")
        prompt.move_cursor((1, 0))
        await pilot.press("ctrl+u")
        assert prompt.text == f"{ABOVE}{LONG}\n\n{BELOW}"
        prompt.move_cursor((1, 0))
        await pilot.press("ctrl+k")
        assert prompt.text == f"{ABOVE}{LONG}\n{BELOW}"
        prompt.move_cursor((0, len(ABOVE + LONG)))
        await pilot.press("ctrl+k")
        assert prompt.text == f"{ABOVE}{LONG}{BELOW}"


@pytest.mark.parametrize(("key", "column"), [("ctrl+a", 0), ("ctrl+e", len(LONG))])
async def test_emacs_moves_to_the_edge_of_the_line(key: str, column: int) -> None:
    prompt = Prompt(UiSettings(editing="emacs"))
    app = ShellApp(prompt)
    async with app.run_test(size=(64, 24)) as pilot:
        prompt.focus()
        prompt.set_draft(f"{ABOVE}\n{LONG}\n{BELOW}")
        prompt.move_cursor((1, 121))
        await pilot.press(key)
        assert prompt.cursor_location == (1, column)
