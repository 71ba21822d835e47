"""A message's chunks have the heights that they need, whenever a layout runs."""

from __future__ import annotations

import pytest
from textual import messages
from textual.screen import Screen
from textual.widget import Widget

from tests.ui.widgets.test_transcript import TranscriptApp, reply
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.message import MessageWidget

REPLIES = (
    "# One\n\n" + "word " * 90 + "\n\n" + "word " * 70,
    "word " * 120 + "\n\n```python\n" + "x = 1\n" * 20 + "```\n\n- a\n- b",
    "<think>" + "thought " * 60 + "</think>" + "answer " * 60,
    '{"a": [1, 2, 3], ' + '"b": "' + "text " * 40 + '"}',
)


def assert_measured(app: TranscriptApp) -> None:
    message = app.query(MessageWidget).last()
    chunks = [chunk for chunk in message.query(MessageChunk) if chunk.display]
    assert [chunk.size.height for chunk in chunks] == [
        chunk.height_of(chunk.size.width) + chunk.styles.gutter.height for chunk in chunks
    ]
    tops = [chunk.virtual_region.y for chunk in chunks]
    assert tops == sorted(set(tops))


@pytest.mark.parametrize("text", REPLIES, ids=range(len(REPLIES)))
@pytest.mark.parametrize("step", [30, 170])
async def test_a_layout_between_a_change_and_its_message_leaves_no_old_height(
    text: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A widget forgets its arrangement first, and the screen hears of it later: a layout may come between."""
    heard = Screen._on_layout

    async def layout_first(self: Screen[object], message: messages.Layout) -> None:
        widget = message.widget
        if isinstance(widget, Widget) and isinstance(widget.parent, Widget):
            self._layout_widgets.setdefault(widget.parent, set()).add(Widget())  # another one was heard of
        self._refresh_layout()
        await heard(self, message)

    monkeypatch.setattr(Screen, "_on_layout", layout_first)
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.begin(reply(1, ""))
        for at in range(0, len(text), step):
            app.transcript.feed(1, text[at : at + step])
            app.transcript.flush()
            await pilot.pause()
        app.transcript.finish(reply(1, text, figures="3 tok · 9.0 tok/s", note="stopped"))
        for _ in range(3):
            await pilot.pause()
        assert_measured(app)


async def test_a_reply_that_is_drawn_at_its_end_is_measured_as_it_is_then() -> None:
    """Its chunks are divided anew before they are mounted."""
    text = "\n\n".join("I was a cat. " * count for count in (5, 9, 12, 4, 16, 240))
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.begin(reply(99, ""))
        await pilot.pause()
        app.screen._compositor._full_map_invalidated = (
            True  # as after a scroll: a question for a size arranges all
        )
        app.transcript.feed(99, text)
        app.transcript.finish(reply(99, text))
        for _ in range(3):
            await pilot.pause()
        assert_measured(app)
