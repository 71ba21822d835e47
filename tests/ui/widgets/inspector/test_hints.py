"""The inspector's line of keys: whole keys only, the most important first."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.ui.widgets.controls_app import ControlsApp, row_text
from ttchat_tui.ui.widgets.inspector.hints import KeyHints, State, keys_for


@pytest.mark.parametrize("is_refused", [False, True])
@pytest.mark.parametrize("state", get_args(State))
async def test_keys_that_do_not_fit_are_left_out_whole(state: State, is_refused: bool) -> None:
    hints = KeyHints()
    keys = keys_for(state, is_in_list=False, is_refused=is_refused)
    hints.show("", keys)
    async with ControlsApp(hints).run_test(size=(130, 5)) as pilot:
        assert row_text(hints, 0).split("  ")[: len(keys)] == list(keys), "all are there where there is room"
        for width in (100, 78, 56, 40, 20):
            await pilot.resize_terminal(width + 4, 5)
            await pilot.pause()
            shown = row_text(hints, 0).rstrip()
            assert 0 < len(shown) <= hints.size.width
            assert tuple(shown.split("  ")) == keys[: len(shown.split("  "))]


def test_the_narrowest_screen_has_room_for_what_a_reply_can_become() -> None:
    shown = "  ".join(keys_for("ended", is_in_list=False, is_refused=False))
    assert shown.startswith("enter fork  e edit  x ban  +- boost  s sampler  t tint  n/N doubtful")
    assert len(shown.partition("  n/N")[0]) <= 56, "of 60 columns"
