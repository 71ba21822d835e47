"""A paused reply in a session: what is on disk, what waits, and what ends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from tests.session.test_elsewhere import Away
from ttchat_tui.domain.events import GenerationFinished, PrefillProgress, TokenEvent
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.storage.opening import open_store

Start = Callable[..., Chat]
REPLY = "one two three four"


def asked(start: Start) -> tuple[Chat, Gate]:
    """A reply with one word."""
    gate = Gate()
    chat = start(Script(replies=(REPLY,), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    return chat, gate


def on_disk(chat: Chat) -> str:
    """What another process finds."""
    other = open_store(chat.store.file)
    try:
        return other.message(chat.session.path[-1].id).content
    finally:
        other.close()


def test_a_paused_reply_is_on_disk_at_once_and_so_is_each_step(start: Start) -> None:
    chat, gate = asked(start)
    assert on_disk(chat) == "", "no checkpoint is due"
    assert chat.session.pausing.toggle() is None
    chat.session.tick()
    assert (chat.session.pausing.is_paused, on_disk(chat)) == (True, "one")
    gate.open()
    chat.session.pausing.step()
    chat.until(TokenEvent)
    assert on_disk(chat) == "one two"
    chat.session.submit("go on")
    assert [each.content for each in chat.session.queue.messages] == ["go on"]
    chat.session.pausing.toggle()
    chat.until(GenerationFinished)
    reply = chat.session.path[1]
    assert reply.content == REPLY
    assert not chat.session.queue.messages, "the next one has begun"
    assert reply.reply is not None
    assert reply.reply.stats is not None
    pauses = chat.store.recordings.of(reply.id).pauses
    assert [pause.at for pause in pauses] in ([1], [1, 2])
    assert reply.reply.stats.paused_s == sum(pause.seconds for pause in pauses)
    chat.until(GenerationFinished)


@pytest.mark.parametrize(
    "end", [lambda chat: chat.session.unload(), lambda chat: chat.session.stop()], ids=["unload", "stop"]
)
def test_a_paused_reply_that_is_ended_keeps_its_text(start: Start, end: Callable[[Chat], None]) -> None:
    chat, gate = asked(start)
    chat.session.pausing.toggle()
    gate.open()
    end(chat)
    chat.until(GenerationFinished)
    assert (chat.session.path[-1].content, chat.session.path[-1].status) == ("one", "interrupted")
    assert not chat.session.pausing.is_paused


def test_a_step_pauses_a_running_reply_after_it(start: Start) -> None:
    chat, gate = asked(start)
    assert chat.session.pausing.step() is None
    assert chat.session.pausing.is_paused
    gate.open()
    chat.until(TokenEvent)
    chat.session.stop()
    chat.until(GenerationFinished)
    assert chat.session.path[-1].content == "one two"


def test_pauses_of_a_continued_reply_are_at_its_tokens(start: Start) -> None:
    chat, gate = asked(start)
    chat.session.stop()
    chat.until(GenerationFinished)
    chat.session.branching.continue_reply()
    running = chat.session.running
    assert running is not None
    running.control.pause()
    gate.open()
    running.control.step()
    chat.until(TokenEvent)
    running.control.resume()
    chat.until(GenerationFinished)
    pauses = chat.store.recordings.of(chat.session.path[-1].id).pauses
    assert pauses
    assert {pause.at for pause in pauses} <= {1, 2, 3}


def test_what_cannot_be_paused_says_why(start: Start) -> None:
    away = Away(start)
    refusal = away.session.pausing.toggle()
    assert refusal is not None
    assert "count" in refusal.message
    away.gate.open()
    away.chat.until(GenerationFinished)
    for act in (away.session.pausing.toggle, away.session.pausing.step):
        refusal = act()
        assert refusal is not None
        assert "No reply is running" in refusal.message


def test_a_server_generates_on_and_a_reply_that_has_not_begun_waits(start: Start) -> None:
    gate = Gate()
    refuses = "It takes no seed.", Capabilities(pause=False)
    chat = start(Script(replies=(REPLY,), stepped=True, refuses=refuses), gate)
    chat.session.submit("count")
    refusal = chat.session.pausing.toggle()
    assert refusal is not None
    assert "not begun" in refusal.message
    chat.until(PrefillProgress)
    refusal = chat.session.pausing.step()
    assert refusal is not None
    assert "scripted cannot pause" in refusal.message
    assert not chat.session.pausing.is_paused
    gate.open()
    chat.until(GenerationFinished)
    assert chat.session.path[-1].content == REPLY
