"""Lines of removed messages are released: Textual caches those of the last thousand widgets."""

from __future__ import annotations

import gc

from textual.strip import Strip

from tests.ui.widgets.test_transcript import TranscriptApp, talk
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk


def strips_alive() -> int:
    gc.collect()
    return sum(isinstance(each, Strip) for each in gc.get_objects())


async def test_a_removed_message_releases_its_style_cache() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show(talk(2))
        await pilot.pause()
        chunks = list(app.query(MessageChunk))
        assert any(chunk._styles_cache._cache for chunk in chunks)
        await app.transcript.remove(0)
        await app.transcript.remove(1)
        await pilot.pause()
        assert not any(chunk._styles_cache._cache for chunk in chunks)


async def test_conversations_opened_one_after_the_other_leave_nothing_behind() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        counts = []
        for _ in range(8):
            app.transcript.show(talk(12))
            await pilot.pause()
            counts.append(strips_alive())
        assert counts[-1] < 1.5 * counts[1]
