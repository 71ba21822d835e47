"""What holds of recordings and forks on every engine: for the contract suite, and for other precisions on small models."""

from __future__ import annotations

import codecs
import math

import msgspec
import pytest

from tests.engine.engine_subject import QUESTION, Subject, finished, ids, started, text, tokens
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent
from ttchat_tui.domain.recording import ALTERNATIVES, Recording, alternatives_of
from ttchat_tui.session.recorder import Recorder


def recorded(subject: Subject, tokens_at_most: int) -> tuple[list[GenerationEvent], Recording]:
    request = msgspec.structs.replace(subject.request(max_tokens=tokens_at_most), record="full")
    events, recorder = subject.reply(request), Recorder()
    for event in tokens(events):
        recorder.add(event)
    return events, recorder.recording


def recording_holds(subject: Subject) -> None:
    """It has every token, and what the engine knows of each."""
    has_logprobs = subject.loaded().capabilities.logprobs
    events, recording = recorded(subject, 6)
    assert [token.token_id for token in recording.tokens] == ids(events)
    pieces = b"".join(recording.piece_of(token.token_id) for token in recording.tokens)
    assert pieces.decode("utf-8", "replace").strip() == text(events).strip()
    # The first token of a device that samples is drawn on the host, from the prefill's logits.
    for token in recording.tokens if has_logprobs else recording.tokens[:0]:
        assert token.logprob is not None
        assert token.entropy is not None
        assert token.rank is not None
        others = alternatives_of(token)
        assert 1 <= len(others) <= ALTERNATIVES
        assert (others[token.rank].token_id, others[token.rank].cut) == (token.token_id, "kept")
        assert others[token.rank].logprob == pytest.approx(token.logprob, abs=0.01)
        assert all(each.token_id in recording.pieces for each in others)
        assert token.entropy >= -sum(each.logprob * math.exp(each.logprob) for each in others) - 0.05
    if not has_logprobs:
        assert {token.logprob for token in recording.tokens[1:]} == {None}
        assert {token.alternatives for token in recording.tokens[1:]} == {b""}


def fork_holds(subject: Subject) -> None:
    """The prompt of a fork is that of the reply with its ids up to the token and another one, and what both have in common is
    still in the cache. With its own token the reply continues as it did."""
    info = subject.loaded()
    capabilities, end_ids = info.capabilities, info.end_ids
    if not capabilities.continues:
        pytest.skip("it cannot continue after ids")
    events, recording = recorded(subject, 7)
    before = ids(events)
    known = (*before, *recording.pieces)
    other = next(each for each in known if each not in (before[3], *end_ids))
    for chosen in (before[3], other):
        written = (*before[:3], chosen)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        said = decoder.decode(b"".join(map(recording.piece_of, written)))
        if not text(events).startswith(" "):
            said = said.removeprefix(" ")
        request = subject.request(QUESTION, ChatMessage("assistant", said), continue_last=True, max_tokens=3)
        fork = subject.reply(msgspec.structs.replace(request, written_ids=written))
        assert finished(fork).reason in ("length", "stop")
        assert ids(fork)
        assert started(fork).prompt_tokens > started(events).prompt_tokens
        # The first two begin their text again. A server gets text, in a template of its own.
        if subject.spec.name in ("scripted", "echo") or info.engine == "remote":
            continue
        assert started(fork).prompt_tokens == started(events).prompt_tokens + 4
        if capabilities.kv_reuse:
            common = started(events).prompt_tokens + 3
            assert started(fork).cached_tokens >= (common if info.engine == "cpu" else 1)  # cards keep pages
        if chosen == before[3]:
            assert ids(fork) == before[4:7]
