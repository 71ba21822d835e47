"""Recordings as they are stored: exact within the precision that the format promises, and never a reason to fail."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.size import sized
from tests.storage.examples import FINISHED, STARTED, answer, ask
from tests.storage.imports.conversations import run
from ttchat_tui.domain.recording import (
    CUTS,
    BatchChange,
    BatchRow,
    Cut,
    Pause,
    RecordedPrompt,
    RecordedToken,
    Recording,
    SamplingChange,
    alternatives_of,
    packed,
    text_id,
)
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import StepParts
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import export_json
from ttchat_tui.storage.export_recording import to_file
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.recording_parts import decoded, encoded, joined

IDS = st.integers(0, 200_000) | st.integers(-(2**31), 2**31 - 1)
LOGPROBS = st.floats(-50, 0)
ALTERNATIVES = st.lists(
    st.tuples(IDS, LOGPROBS, st.sampled_from(CUTS)), max_size=20, unique_by=lambda each: each[0]
).map(lambda found: sorted(found, key=lambda each: -each[1]))

ROWS = st.builds(BatchRow, st.integers(0, 2**63 - 1), st.none() | st.just(SamplingParams(temperature=0.3)))
PROMPTS = st.builds(
    RecordedPrompt,
    st.integers(0, 1000),
    st.integers(0, 100_000),
    st.lists(st.integers(0, 200_000), max_size=9).map(tuple),
    st.integers(0, 100_000),
    st.lists(ROWS, max_size=3).map(tuple),
    st.integers(0, 2),
)


PARTS = st.integers(0, 2**32 - 1).map(lambda microseconds: microseconds / 1e6)
SPENT = st.builds(StepParts, PARTS, PARTS, PARTS, PARTS, PARTS, st.sampled_from(("", "compile", "trace")))


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    tokens: list[RecordedToken] = []
    time_s = 0.0
    for _ in range(draw(st.integers(0, 6))):
        others: list[tuple[int, float, Cut]] = draw(ALTERNATIVES)
        rank = draw(st.none() | st.integers(0, 200_000))
        is_listed = rank is not None and rank < len(others)
        time_s += draw(st.floats(0, 10_000))
        tokens.append(
            RecordedToken(
                token_id=others[rank][0] if is_listed and rank is not None else draw(IDS),
                time_s=time_s,
                is_drafted=draw(st.booleans()),
                logprob=draw(st.none() | LOGPROBS),
                rank=rank,
                entropy=draw(st.none() | st.floats(0, 12)),
                alternatives=packed(others),
                spent=draw(st.none() | SPENT),
                is_forced=draw(st.booleans()),
            )
        )
    ids = {each.token_id for each in tokens} | {
        each.token_id for token in tokens for each in alternatives_of(token)
    }
    return Recording(
        tokens=tokens,
        first=draw(st.integers(0, 1000)),
        changes=[SamplingChange(0, SamplingParams(temperature=1.5))] if draw(st.booleans()) else [],
        pauses=[Pause(1, 2.5), Pause(1, 0.25)] if draw(st.booleans()) else [],
        pieces={each: draw(st.binary(max_size=8)) for each in ids},
        prompts=draw(st.lists(PROMPTS, max_size=2)),
        batches=[BatchChange(1, (0, 2)), BatchChange(9, (2,))] if draw(st.booleans()) else [],
    )


@settings(max_examples=sized(20, 2000), deadline=None)
@given(recordings())
def test_a_recording_comes_back_within_its_precision(recording: Recording) -> None:
    part = encoded(recording)
    found = decoded(part.first, part.data)
    assert part.tokens == len(recording.tokens)
    assert (found.first, list(found.changes)) == (recording.first, list(recording.changes))
    assert list(found.pauses) == list(recording.pauses)
    assert list(found.prompts) == list(recording.prompts)
    assert list(found.batches) == list(recording.batches)
    assert dict(found.pieces) == dict(recording.pieces)
    for token, read in zip(recording.tokens, found.tokens, strict=True):
        assert (read.token_id, read.rank, read.is_drafted) == (token.token_id, token.rank, token.is_drafted)
        assert read.is_forced == token.is_forced
        assert read.time_s == pytest.approx(token.time_s, abs=2e-6)
        assert (read.logprob is None) == (token.logprob is None)
        assert read.logprob is None or read.logprob == pytest.approx(token.logprob, rel=1e-6, abs=1e-30)
        assert read.entropy == (None if token.entropy is None else pytest.approx(token.entropy, abs=1 / 8192))
        assert read.alternatives == token.alternatives
        assert read.spent == (token.spent and token.spent.rounded())


@settings(max_examples=sized(25, 2000), deadline=None)
@given(
    st.lists(st.tuples(IDS, LOGPROBS, st.sampled_from(CUTS)), max_size=20).map(
        lambda all: sorted(all, key=lambda e: -e[1])
    )
)
def test_alternatives_are_off_by_half_a_step_at_most(others: list[tuple[int, float, Cut]]) -> None:
    found = alternatives_of(RecordedToken(0, 0.0, alternatives=packed(others)))
    assert [(each.token_id, each.cut) for each in found] == [(each, cut) for each, _, cut in others]
    for one, (_, logprob, _) in zip(found, others, strict=True):
        assert one.logprob == pytest.approx(logprob, abs=1 / 128 + 1e-9)


def test_what_no_number_can_hold_is_stored_as_the_lowest() -> None:
    others: list[tuple[int, float, Cut]] = [(1, -0.1, "unknown"), (2, -1e308, "unknown")]
    part = encoded(Recording([RecordedToken(1, 0.1, logprob=-1e308, rank=0, alternatives=packed(others))]))
    (token,) = decoded(0, part.data).tokens
    assert [each.logprob < -1000 for each in alternatives_of(token)] == [False, True]
    assert token.logprob is not None
    assert token.logprob < -1e29


def test_a_piece_without_an_id_gets_the_same_one_unless_it_is_taken() -> None:
    first = text_id(b"the", {})
    assert -(2**31) <= first < 0
    assert text_id(b"the", {first: b"the"}) == first
    other = text_id(b"the", {first: b"another piece"})
    assert other not in (first, 0)
    assert text_id(b"the", {first: b"another piece", other: b"the"}) == other


RECORDED = Recording(
    tokens=[
        RecordedToken(5, 0.25, False, -0.125, 0, 1.5, packed([(5, -0.125, "kept"), (7, -3.5, "top-p")])),
        RecordedToken(9, 0.5, True),
    ],
    changes=[SamplingChange(1, SamplingParams(temperature=0.5))],
    pauses=[Pause(1, 8.5)],
    prompts=[
        RecordedPrompt(
            0, 0, (1, 70_000), 1, (BatchRow(7), BatchRow(8, SamplingParams(top_k=3))), 1, "/m/a.gguf"
        )
    ],
    pieces={5: b" a", 7: b"\xe2\x80", 9: b"b"},
    batches=[BatchChange(1, (0, 1))],
)


def recorded_reply(store: ConversationStore, *parts: Recording) -> int:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    store.finish_reply(reply.id, " ab", "complete", FINISHED, [*map(encoded, parts or [RECORDED])])
    return reply.id


def test_a_recording_is_deleted_with_its_message(store: ConversationStore) -> None:
    reply_id = recorded_reply(store)
    assert store.recordings.of(reply_id) == RECORDED
    assert store.recordings.end_of(reply_id) == 2
    store.remove_message(reply_id)
    assert store.recordings.of(reply_id) == Recording()
    assert store.recordings.end_of(reply_id) == 0


def test_what_lies_between_two_parts_was_not_recorded() -> None:
    later = Recording([RecordedToken(8, 3.0)], first=4)
    found = joined([RECORDED, later])
    assert [token.logprob for token in found.tokens] == [-0.125, None, None, None, None]
    assert found.tokens[4].token_id == 8
    assert found.piece_of(found.tokens[2].token_id) == b""


def test_what_was_at_the_end_of_a_reply_goes_when_it_is_continued() -> None:
    end = Recording(
        RECORDED.tokens,
        changes=[*RECORDED.changes, SamplingChange(2, SamplingParams(temperature=1.5))],
        pauses=[*RECORDED.pauses, Pause(2, 3.0)],
    )
    found = joined([end, Recording([RecordedToken(8, 3.0)], first=2, pauses=[Pause(2, 1.0)])])
    assert found.changes == RECORDED.changes
    assert found.pauses == [*RECORDED.pauses, Pause(2, 1.0)]


def test_the_same_id_of_two_models_keeps_both_pieces(store: ConversationStore) -> None:
    """Another model has continued the reply."""
    other = Recording([RecordedToken(7, 1.0), RecordedToken(5, 2.0)], first=2, pieces={5: b" B", 7: b" C"})
    reply_id = recorded_reply(store, RECORDED, other)
    stored = store.recordings.of(reply_id)
    for found in (stored, joined([RECORDED, other])):
        assert [found.piece_of(each.token_id) for each in found.tokens] == [b" a", b"b", b" C", b" B"]
        assert [found.piece_of(each.token_id) for each in alternatives_of(found.tokens[0])] == [
            b" a",
            b"\xe2\x80",
        ]
        assert [each.token_id for each in found.tokens[2:]] == [7, 5], "the ids of the last model are kept"


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        b"",
        b"\x02" + encoded(RECORDED).data[1:],
        encoded(RECORDED).data[:-9],
        b"\x01" + zlib.compress(b"\x90"),
        b"\x01" + zlib.compress(zlib.decompress(encoded(RECORDED).data[1:])[:-40] + bytes(40)),
    ],
)
def test_a_damaged_recording_is_reported_and_the_reply_can_be_read(
    store: ConversationStore, data: str | bytes | None
) -> None:
    reply_id = recorded_reply(store)
    with store._database.transaction() as transaction:
        transaction.execute("UPDATE recordings SET data = ifnull(?, 7)", (data,))
    with pytest.raises(StorageError) as caught:
        store.recordings.of(reply_id)
    assert caught.value.info.kind == "database_corrupt"
    assert store.message(reply_id).content == " ab"


@pytest.mark.parametrize("first", [-1, 2**40])
def test_a_damaged_place_is_reported(store: ConversationStore, first: int) -> None:
    reply_id = recorded_reply(store)
    with store._database.transaction() as transaction:
        transaction.execute("UPDATE recordings SET first = ?", (first,))
    with pytest.raises(StorageError):
        store.recordings.of(reply_id)


def test_an_export_with_recordings_is_read_back(store: ConversationStore, tmp_path: Path) -> None:
    reply_id = recorded_reply(store)
    (conversation,) = store.conversations()
    tree = store.tree(conversation.id)
    file = tmp_path / "talk.json"
    recording = to_file(reply_id, store.recordings.of(reply_id))
    file.write_text(export_json(conversation, tree, [recording]), encoding="utf-8")
    assert '"recordings"' not in export_json(conversation, tree)
    assert (run(tmp_path / "other.db", file).added) == 1
    other = open_store(tmp_path / "other.db")
    (again,) = other.conversations()
    reply = other.shown_path(again)[-1]
    assert other.recordings.of(reply.id) == RECORDED
    other.close()


def test_a_checkpoint_of_a_deleted_reply_writes_nothing(store: ConversationStore) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    store.remove_message(reply.id)
    store.checkpoint(reply.id, "text", (), [encoded(RECORDED)])
    assert store.recordings.of(reply.id) == Recording()
    assert answer(store, asked).content == "Hello."


def test_a_part_that_is_older_than_the_place_of_its_model_has_none() -> None:
    part = encoded(RECORDED)
    columns = msgspec.msgpack.decode(zlib.decompress(part.data[1:]))
    older = part.data[:1] + zlib.compress(msgspec.msgpack.encode(columns[:-1]))
    assert [each.model for each in decoded(0, part.data).prompts] == ["/m/a.gguf"]
    assert decoded(0, older).prompts == [structs.replace(RECORDED.prompts[0], model="")]
