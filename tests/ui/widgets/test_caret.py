"""Selection of text with the keyboard: keys in lines of text as a table, and the transcript's own selection."""

from __future__ import annotations

import pytest

from tests.ui.chat_app import until
from tests.ui.widgets.test_transcript import TranscriptApp, reply, user
from ttchat_tui.ui.widgets.transcript.caret import Caret, Point
from ttchat_tui.ui.widgets.transcript.window import MOST_MESSAGES

LINES = ["first line", "", "the third"]

TABLE = (
    ("right right", (0, 2), None, "moved"),
    ("left", (0, 0), None, "moved"),
    ("down", (1, 0), None, "moved"),
    ("2 w down down", (2, 0), None, "below"),
    ("end down down", (2, 8), None, "moved"),
    ("pagedown", (2, 0), None, "moved"),
    ("up", (0, 0), None, "above"),
    ("G ctrl+right", (2, 4), None, "moved"),
    ("ctrl+right v", (0, 6), (0, 6), "moved"),
    ("ctrl+right v down", (1, 0), (0, 6), "moved"),
    ("space end", (0, 10), (0, 0), "moved"),
    ("v l v", (0, 1), None, "moved"),
    ("v l escape", (0, 1), None, "moved"),
    ("shift+right shift+right", (0, 2), (0, 0), "moved"),
    ("shift+down shift+end left", (1, 0), (0, 0), "moved"),
    ("d x p i", (0, 0), None, "moved"),
    ("v l y", (0, 1), (0, 0), "copy"),
    ("shift+right enter", (0, 1), (0, 0), "copy"),
    ("y", (0, 0), None, "leave"),
    ("escape", (0, 0), None, "leave"),
)
"""Keys from the start of the text; where the cursor then is, where the selection begins, and what the last key did."""


@pytest.mark.parametrize(("keys", "at", "start", "done"), TABLE)
def test_each_key_moves_selects_or_asks_for_more(
    keys: str, at: tuple[int, int], start: tuple[int, int] | None, done: str
) -> None:
    caret, outcome = Caret(Point(0, 0)), ""
    for key in keys.split():
        outcome = caret.press(key, key if len(key) == 1 else None, LINES)
    assert (caret.at, caret.start, outcome) == (at, start, done)


async def test_text_is_selected_with_keys_across_lines_and_messages_and_copied_as_markdown() -> None:
    app = TranscriptApp()
    copied: list[str] = []
    app.copy_to_clipboard = copied.append  # type: ignore[method-assign]
    async with app.run_test(size=(30, 12)) as pilot:
        transcript = app.transcript
        assert not transcript.start_caret(), "there is no text"
        transcript.show(
            [user(1, "ask this"), reply(2, "one **two** three four five six seven eight\n\n- a `b`")]
        )
        await pilot.pause()
        assert transcript.start_caret()
        await pilot.press("v", "$", "y")
        assert copied.pop() == "- a `b`", "the cursor begins on the last line in view"
        assert not transcript.has_caret
        transcript.select(1)
        transcript.start_caret()
        await pilot.press("w", "shift+down", "w", "f8", "y")
        assert copied == ["this\none **two** t"]
        transcript.start_caret()
        await pilot.press("shift+right")
        transcript.remove(1)
        transcript.remove(2)
        await pilot.press("j")
        assert not transcript.has_caret, "its text is gone"
        assert not app.screen.selections
        transcript.show([user(key, f"line {key}") for key in range(1, 46)])
        await pilot.pause()
        transcript.start_caret()
        await until(pilot, lambda: len(transcript._mounted()) == MOST_MESSAGES)
        await pilot.press(*"gg", "k")
        await until(pilot, lambda: 1 in transcript._widgets)
        await pilot.press(*"ggv$y")
        assert copied[-1] == "line 1", "what is above was loaded"
