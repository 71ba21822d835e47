"""A paste stays one paste, whatever is in it and however it is cut."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st
from textual import events

from ttchat_tui.ui.textual_patches import terminal_parser
from ttchat_tui.ui.textual_patches.paste_parser import PasteSafeParser
from ttchat_tui.ui.widgets.prompt.pasted_text import PASTED_ESCAPE, as_draft

START, END = "\x1b[200~", "\x1b[201~"
COLOURED = "first \x1b[31mred\x1b[0m line\nsecond \x1b]0;title\x07 \x1b\x1b[A"


@given(
    st.text(alphabet="ab\n\x1b[201~", max_size=30).filter(lambda text: END not in text),
    st.lists(st.integers(1, 5), max_size=60),
)
@example(COLOURED, [1] * 60)
def test_a_paste_is_one_event_and_keys_around_it_are_keys(text: str, cuts: list[int]) -> None:
    parser = PasteSafeParser()
    stream = f"x{START}{text}{END}y"
    seen: list[events.Event] = []
    for length in [*cuts, len(stream)]:
        piece, stream = stream[:length], stream[length:]
        if piece:
            with patch.object(terminal_parser, "get_time", lambda: 1.0):  # ESC before a pause is the key Esc
                found = list(parser.feed(piece))
            seen.extend(event for event in found if isinstance(event, events.Key | events.Paste))
    pastes = [event.text.replace(PASTED_ESCAPE, "\x1b") for event in seen if isinstance(event, events.Paste)]
    keys = [event.key for event in seen if isinstance(event, events.Key)]
    assert (pastes, keys) == ([text], ["x", "y"])


def test_the_draft_of_a_coloured_paste_is_its_text() -> None:
    assert as_draft(COLOURED.replace("\x1b", PASTED_ESCAPE)) == "first red line\nsecond  "
