"""Recordings from the engine's events to the database and back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.recording import alternatives_of

KNOWN = Script(replies=("One two three four.",), logprobs=True, batch_sizes=(1, 2))


def test_a_reply_is_recorded_and_read_back_with_its_pieces(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.ask("Count.")
    reply = chat.session.path[-1]
    recording = chat.session.recordings.of(reply.id)
    assert reply.reply is not None
    assert tuple(token.token_id for token in recording.tokens) == reply.reply.token_ids
    assert (
        b"".join(recording.piece_of(token.token_id) for token in recording.tokens).decode() == reply.content
    )
    assert [token.rank for token in recording.tokens] == [0, 0, 1, 0]
    third = recording.tokens[2]
    assert third.logprob == pytest.approx(-2 * math.log(2))
    assert third.time_s == pytest.approx(0.14)
    others = alternatives_of(third)
    assert [each.cut for each in others[:4]] == ["kept", "kept", "kept", "top-p"]
    assert others[1].token_id == third.token_id
    assert recording.piece_of(others[0].token_id) == b" other0"


def test_a_token_whose_logits_were_never_seen_says_so(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("One two.",)))
    chat.ask("Count.")
    recording = chat.session.recordings.of(chat.session.path[-1].id)
    assert [token.logprob for token in recording.tokens] == [None, None]
    assert [recording.piece_of(token.token_id) for token in recording.tokens] == [b"One", b" two."]


def test_a_checkpoint_stores_what_the_text_has(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("One two three four.",), logprobs=True, stepped=True), gate)
    chat.session.submit("Count.")
    gate.release(2)
    chat.until(TokenEvent)
    chat.now = 10.0
    chat.until(TokenEvent)
    stored = chat.store.recordings.of(chat.session.path[-1].id)
    assert [stored.piece_of(token.token_id) for token in stored.tokens] == [b"One", b" two"]
    gate.open()
    chat.until(GenerationFinished)
    assert len(chat.store.recordings.of(chat.session.path[-1].id).tokens) == 4


def test_each_candidate_has_a_recording_of_its_own(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.session.submit("Count.", 2)
    chat.until(GenerationFinished)
    replies = chat.store.children(chat.session.path[0].id, chat.session.path[0].conversation_id)
    for reply in replies:
        assert reply.reply is not None
        recording = chat.session.recordings.of(reply.id)
        assert tuple(token.token_id for token in recording.tokens) == reply.reply.token_ids
    assert len({len(chat.session.recordings.of(reply.id).tokens) for reply in replies}) == 2
