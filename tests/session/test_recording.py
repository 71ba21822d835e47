"""Recordings from the engine's events to the database and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.recording import NOT_RECORDED, Recording, SamplingChange, alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import Notice
from ttchat_tui.session.recorder import PART_TOKENS, Recorder
from ttchat_tui.storage.recording_parts import decoded, joined

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


def test_the_figures_of_a_reply_say_how_probable_it_was(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.session.submit("Count.", 2)
    chat.until(GenerationFinished)
    for reply in chat.store.children(chat.session.path[0].id, chat.session.path[0].conversation_id):
        assert reply.reply is not None
        assert reply.reply.stats is not None
        recording = chat.session.recordings.of(reply.id)
        logprobs = [token.logprob or 0.0 for token in recording.tokens]
        ranks = [token.rank for token in recording.tokens]
        assert reply.reply.stats.mean_logprob == pytest.approx(sum(logprobs) / len(logprobs))
        assert reply.reply.stats.greedy_share == pytest.approx(ranks.count(0) / len(ranks))


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


def test_a_continued_reply_keeps_its_recording_and_adds_to_it(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    chat.ask("Count.")
    chat.session.set_sampling(SamplingParams())
    chat.session.branching.continue_reply()
    chat.until(GenerationFinished)
    reply = chat.session.path[-1]
    assert reply.reply is not None
    recording = chat.session.recordings.of(reply.id)
    assert tuple(token.token_id for token in recording.tokens) == reply.reply.token_ids
    assert len(recording.tokens) == 4


def test_parameters_that_changed_before_a_reply_was_continued_apply_from_there(
    start: Callable[..., Chat],
) -> None:
    chat = start(KNOWN)
    first, then, last = (SamplingParams(max_tokens=n, temperature=n / 10) for n in (1, 2, 9))
    for each in (first, then, last):
        chat.session.set_sampling(each)
        chat.session.branching.continue_reply() if chat.session.path else chat.session.submit("Count.")
        chat.until(GenerationFinished)
    reply = chat.session.path[-1]
    assert reply.reply is not None
    assert reply.reply.sampling == first
    recording = chat.session.recordings.of(reply.id)
    drawn_with = [recording.sampling_at(at, first) for at in range(len(recording.tokens))]
    assert drawn_with[0] == first
    assert drawn_with[-1] == last
    assert drawn_with == sorted(drawn_with, key=lambda each: each.max_tokens)
    assert then in drawn_with


def test_parameters_that_change_before_the_engine_begins_are_those_of_the_reply(tmp_path: Path) -> None:
    gate = Gate()
    script = replace(KNOWN, stepped_load=True)
    chat = Chat(tmp_path / "conversations.db", script, gate, is_loaded=False)
    chat.session.set_sampling(SamplingParams(temperature=0.1))
    chat.session.submit("Count.")
    chat.session.set_sampling(SamplingParams(temperature=0.2))
    gate.open()
    chat.until(GenerationFinished)
    record = chat.session.path[-1].reply
    assert record is not None
    assert record.sampling == SamplingParams(temperature=0.2)
    chat.close()


def test_a_copy_of_a_reply_has_its_recording_and_a_deleted_one_takes_it_along(
    start: Callable[..., Chat],
) -> None:
    chat = start(KNOWN)
    chat.ask("Count.")
    first = chat.session.path[-1]
    recording = chat.session.recordings.of(first.id)
    chat.session.branching.branch_off(first.id)
    copied = chat.session.path[-1]
    assert copied.id != first.id
    assert chat.session.recordings.of(copied.id) == recording
    chat.store.remove_message(copied.id)
    assert not chat.session.recordings.of(copied.id).tokens
    assert chat.session.recordings.of(first.id) == recording


def test_a_reply_that_others_follow_is_continued_in_a_copy_with_its_recording(
    start: Callable[..., Chat],
) -> None:
    chat = start(Script(replies=("One two three four.", "Five."), logprobs=True))
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    chat.ask("Count.")
    first = chat.session.path[-1]
    chat.ask("On.")
    chat.session.branching.continue_reply(first.id)
    chat.until(GenerationFinished)
    copied = chat.session.path[-1]
    assert copied.id != first.id
    assert len(chat.session.recordings.of(copied.id).tokens) == 4
    assert len(chat.session.recordings.of(first.id).tokens) == 2


def test_tokens_before_the_first_recorded_one_are_shown_as_not_recorded(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(replace(KNOWN, stepped=True), gate)
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    chat.session.recordings.level = "off"
    gate.release(2)
    chat.ask("Count.")
    reply_id = chat.session.path[-1].id
    chat.session.set_sampling(SamplingParams())
    chat.session.recordings.level = "full"
    chat.session.branching.continue_reply()
    gate.release(1)
    chat.until(TokenEvent)
    running = chat.session.recordings.of(reply_id)
    gate.open()
    chat.until(GenerationFinished)
    stored = chat.session.recordings.of(reply_id)
    for found in (running, stored):
        assert found.first == 0
        assert [token.token_id for token in found.tokens[:2]] == [NOT_RECORDED] * 2
    assert [stored.piece_of(token.token_id) for token in stored.tokens[2:]] == [b" three", b" four."]
    chat.session.set_sampling(SamplingParams(max_tokens=3))
    other = alternatives_of(stored.tokens[2])[1].token_id
    for at in (0, 1):
        for refused in (
            *chat.session.forking.fork(reply_id, stored, at, other),
            *chat.session.forking.rewrite(reply_id, stored, at, "Mine"),
        ):
            assert isinstance(refused, Notice)
    chat.session.forking.fork(reply_id, stored, 2, other)
    chat.until(GenerationFinished)
    assert chat.session.path[-1].content.startswith(f"One two{stored.piece_of(other).decode()}")


def test_off_records_nothing(tmp_path: Path) -> None:
    chat = Chat(tmp_path / "conversations.db", KNOWN, record="off")
    chat.ask("Count.")
    assert chat.engine.requests[-1].record == "off"
    assert not chat.session.recordings.of(chat.session.path[-1].id).tokens
    chat.close()


def test_a_running_reply_can_be_looked_at_also_when_it_was_continued(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("One two three four.",), logprobs=True, stepped=True), gate)
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    gate.release(2)
    chat.ask("Count.")
    reply_id = chat.session.path[-1].id
    chat.session.set_sampling(SamplingParams())
    chat.session.branching.continue_reply()
    for count in (3, 4):
        gate.release(1)
        chat.until(TokenEvent)
        recording = chat.session.recordings.of(reply_id)
        pieces = [recording.piece_of(token.token_id) for token in recording.tokens]
        assert pieces == [b"One", b" two", b" three", b" four."][:count]
    chat.until(GenerationFinished)


def test_a_long_recording_is_stored_in_parts_and_changes_keep_their_place() -> None:
    recorder = Recorder(first=10)
    warm = SamplingParams(temperature=1.5)

    def event(number: int) -> TokenEvent:
        changes = (SamplingChange(0, warm),) if number == 600 else ()
        return TokenEvent(1, (number,), "x", (number / 100,), pieces={number: b"x"}, sampling_changes=changes)

    parts: dict[int, Recording] = {}
    for number in range(1200):
        recorder.add(event(number))
        if number % 100 == 0:
            for part in recorder.unwritten():
                parts[part.first] = decoded(part.first, part.data)
            recorder.note_written()
    assert len(recorder.unwritten()) == 1
    for part in recorder.unwritten():
        parts[part.first] = decoded(part.first, part.data)
    assert [len(part.tokens) for part in parts.values()] == [PART_TOKENS, PART_TOKENS, 1200 - 2 * PART_TOKENS]
    whole = joined(list(parts.values()))
    assert [token.token_id for token in whole.tokens] == list(range(1200))
    assert [token.time_s for token in whole.tokens] == [number / 100 for number in range(1200)]
    assert (whole.first, whole.changes) == (10, [SamplingChange(610, warm)])
    own = SamplingParams()
    assert [whole.sampling_at(place, own) for place in (609, 610)] == [own, warm]
