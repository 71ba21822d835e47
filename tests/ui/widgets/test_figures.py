"""Figures and bars as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.ui.widgets.inspector.alternatives import share_text
from ttchat_tui.ui.widgets.metrics.figures import bar_text


@pytest.mark.parametrize(
    ("share", "bar"),
    [
        (0.0, "────────"),
        (0.00004, "────────"),
        (0.06, "────────"),
        (0.0625, "━───────"),
        (0.24, "━───────"),
        (0.5, "━━━━────"),
        (0.9999, "━━━━━━━─"),
        (1.0, "━━━━━━━━"),
    ],
)
def test_a_bar_shows_a_share(share: float, bar: str) -> None:
    assert "".join(bar_text(share, 8)) == bar


@given(st.floats(0, 1), st.integers(0, 60))
def test_a_bar_has_its_width_and_lights_nothing_for_what_is_next_to_nothing(share: float, width: int) -> None:
    full, rest = bar_text(share, width)
    assert len(full) + len(rest) == width
    assert (not rest) == (share == 1 or width == 0)
    assert not full or share_text(share) != "<0.01 %"
    assert abs(len(full) - share * width) <= 1
