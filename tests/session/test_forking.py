"""Forks of a reply: the same ids and the same recording up to a token, then another one, then the model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from msgspec import structs

from tests.fakes import Gate, Script
from tests.scripted_reply import token_id
from tests.session.test_chat import Chat
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished, TokenEvent
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.recording import RecordedToken, Recording, RecordLevel, alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import Notice
from ttchat_tui.session.forking import text_before
from ttchat_tui.session.recorder import PART_TOKENS

KNOWN = Script(replies=("One two three four.",), logprobs=True, context_length=4096, end_word=" other1")


def asked(start: Callable[..., Chat], script: Script = KNOWN) -> tuple[Chat, Message, Recording]:
    chat = start(script)
    chat.ask("Count.")
    reply = chat.session.path[-1]
    return chat, reply, chat.session.recordings.of(reply.id)


def words(recording: Recording) -> list[str]:
    return [recording.piece_of(token.token_id).decode() for token in recording.tokens]


def ids(message: Message) -> tuple[int, ...]:
    assert message.reply is not None
    return message.reply.token_ids


def test_a_fork_has_the_ids_before_the_token_and_the_model_continues_from_them(
    start: Callable[..., Chat],
) -> None:
    chat, reply, recording = asked(start)
    chosen = token_id(" other0")
    assert chat.session.forking.why_not(reply) == ""
    chat.session.forking.fork(reply.id, recording, 2, chosen)
    chat.until(GenerationFinished)
    request, fork = chat.engine.requests[-1], chat.session.path[-1]
    assert request.written_ids == (*ids(reply)[:2], chosen)
    assert request.continue_last
    assert request.messages[-1].content == "One two other0"
    assert fork.content == "One two other0One two three four."
    assert ids(fork)[:3] == request.written_ids
    assert (fork.sibling_index, fork.sibling_count, fork.is_edited) == (1, 2, False)
    assert chat.store.message(reply.id).content == reply.content, "nothing is overwritten"

    forked = chat.session.recordings.of(fork.id)
    assert words(forked) == ["One", " two", " other0", "One", " two", " three", " four."]
    assert list(forked.tokens[:2]) == list(recording.tokens[:2])
    assert forked.tokens[2].rank == 0
    assert forked.tokens[2].logprob == alternatives_of(recording.tokens[2])[0].logprob
    assert forked.tokens[2].alternatives == recording.tokens[2].alternatives


THINKING = structs.replace(KNOWN, replies=("<think>\nso it is then\n</think>\n\nOne two three.",))


def figures(chat: Chat) -> list[tuple[int, float]]:
    """Tokens and seconds of the thoughts in the reply on screen."""
    reply = chat.session.path[-1].reply
    assert reply is not None
    assert reply.stats is not None
    return [(each.tokens, round(each.seconds, 2)) for each in reply.stats.thoughts]


def test_the_figures_of_a_thought_cover_all_of_it_in_a_fork_a_copy_and_a_rewritten_reply(
    start: Callable[..., Chat],
) -> None:
    chat, reply, recording = asked(start, THINKING)
    ((tokens, seconds),) = figures(chat)
    places = range(1, words(recording).index("\n</think>") + 3)
    for at in places:
        chat.session.branching.show(chat.store.message(reply.id))
        chat.session.forking.fork(reply.id, recording, at, alternatives_of(recording.tokens[at])[7].token_id)
        chat.until(GenerationFinished)
        forked = figures(chat)
        inside = min(at - 1, tokens)
        assert forked[0][0] >= max(1, inside), (at, forked)
        if at > tokens + 1:
            assert forked[0] == (tokens, seconds), "the whole thought is that of the origin"
    chat.session.branching.show(chat.store.message(reply.id))
    chat.session.forking.rewrite(reply.id, recording, len(recording.tokens) - 1, " four")
    chat.until(GenerationFinished)
    assert figures(chat)[0] == (tokens, seconds)


@pytest.mark.parametrize("level", ["full", "off"])
def test_the_figures_of_a_copy_are_those_of_its_origin_and_more(
    start: Callable[..., Chat], level: RecordLevel
) -> None:
    chat = start(THINKING)
    chat.session.recordings.level = level
    for cut in (3, 7):  # in the thought, and after it
        chat.session.set_sampling(SamplingParams(max_tokens=cut))
        chat.ask("Count.")
        reply, first = chat.session.path[-1], figures(chat)[0]
        chat.session.set_sampling(SamplingParams())
        chat.ask("And?")
        chat.session.branching.continue_reply(reply.id)
        chat.until(GenerationFinished)
        copy = chat.session.path[-1]
        assert copy.id != reply.id
        assert len(copy.content) > len(reply.content)
        assert figures(chat)[0] == first if cut == 7 else figures(chat)[0] > first


def test_forks_in_any_part_of_a_long_recording_keep_what_is_before(start: Callable[..., Chat]) -> None:
    long = " ".join(f"w{number}" for number in range(PART_TOKENS + 20))
    chat, reply, recording = asked(start, structs.replace(KNOWN, replies=(long,)))
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    for at in (0, 5, PART_TOKENS - 1, PART_TOKENS, PART_TOKENS + 1):
        chat.session.branching.show(chat.store.message(reply.id))
        chosen = alternatives_of(recording.tokens[at])[7].token_id
        chat.session.forking.fork(reply.id, recording, at, chosen)
        chat.until(TokenEvent)
        live = chat.session.recordings.of(chat.session.path[-1].id)
        chat.until(GenerationFinished)
        stored = chat.store.recordings.of(chat.session.path[-1].id)
        for seen in (live, stored):
            assert words(seen)[:at] == words(recording)[:at]
            assert seen.tokens[at].token_id == chosen
            assert words(seen)[at + 1] == "w0", "the model's own words follow"
        assert all(before.time_s <= after.time_s for before, after in pairwise(stored.tokens[:at]))


def test_an_alternative_that_ends_a_reply_ends_the_fork(start: Callable[..., Chat]) -> None:
    chat, reply, recording = asked(start)
    chat.session.forking.fork(reply.id, recording, 2, token_id(" other1"))
    fork = chat.session.path[-1]
    assert (fork.content, fork.status, ids(fork)) == ("One two", "complete", ids(reply)[:2])
    assert not chat.session.is_busy
    assert words(chat.session.recordings.of(fork.id)) == ["One", " two", " other1"]


def test_another_sampling_is_recorded_from_the_first_new_token_on(start: Callable[..., Chat]) -> None:
    chat, reply, recording = asked(start)
    cool = SamplingParams(temperature=0.1)
    chat.session.set_sampling(cool)
    chat.session.forking.fork(reply.id, recording, 1, token_id(" other5"))
    chat.until(GenerationFinished)
    forked = chat.session.recordings.of(chat.session.path[-1].id)
    assert reply.reply is not None
    own = reply.reply.sampling or SamplingParams()
    assert [forked.sampling_at(at, own) for at in (0, 1, 2)] == [own, own, cool]


def test_words_in_place_of_the_rest_are_in_the_recording(start: Callable[..., Chat]) -> None:
    chat, reply, recording = asked(start)
    chat.session.forking.rewrite(reply.id, recording, 1, ", 2,")
    chat.until(GenerationFinished)
    fork = chat.session.path[-1]
    assert chat.engine.requests[-1].messages[-1].content == "One, 2,"
    assert fork.is_edited
    forked = chat.session.recordings.of(fork.id)
    assert words(forked)[:3] == ["One", ", 2,", "One"]
    assert forked.tokens[1].logprob is None
    chosen = token_id(" other3")
    chat.session.forking.fork(fork.id, forked, 3, chosen)
    chat.until(GenerationFinished)
    assert chat.engine.requests[-1].messages[-1].content == "One, 2,One other3"
    assert chat.engine.requests[-1].written_ids == (), "its ids are not known from the beginning"


@pytest.mark.parametrize(("at", "kept"), [(1, "a"), (2, "a"), (3, "a"), (4, "a🦊")])
def test_words_in_the_middle_of_a_character_take_its_place(
    start: Callable[..., Chat], at: int, kept: str
) -> None:
    chat, reply, _ = asked(start, structs.replace(KNOWN, replies=("a🦊b and so on to the end.",)))
    pieces = dict(enumerate([b"a", b"\xf0\x9f", b"\xa6", b"\x8a", b"b and so on to the end."]))
    recording = Recording([RecordedToken(number, 0.0) for number in pieces], pieces=pieces)
    chat.session.forking.rewrite(reply.id, recording, at, "x")
    chat.until(GenerationFinished)
    assert chat.engine.requests[-1].messages[-1].content == f"{kept}x"
    forked = chat.session.recordings.of(chat.session.path[-1].id)
    whole = {"a": [b"a"], "a🦊": list(pieces.values())[:4]}[kept]
    assert [forked.piece_of(each.token_id) for each in forked.tokens[: len(whole) + 1]] == [*whole, b"x"]


@pytest.mark.parametrize("at", range(3))
def test_without_words_the_model_continues_before_the_token(start: Callable[..., Chat], at: int) -> None:
    chat, reply, recording = asked(start)
    chat.session.forking.rewrite(reply.id, recording, at, "")
    chat.until(GenerationFinished)
    fork = chat.session.path[-1]
    assert chat.engine.requests[-1].written_ids == ids(reply)[:at]
    assert fork.content == "One two three four."
    assert not fork.is_edited
    assert words(chat.session.recordings.of(fork.id))[:at] == words(recording)[:at]


def test_nothing_is_forked_where_the_engine_cannot_continue_after_a_token(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(structs.replace(KNOWN, stepped=True), gate)
    gate.open()
    chat.ask("Count.")
    reply = chat.session.path[-1]
    recording = chat.session.recordings.of(reply.id)
    forking = chat.session.forking
    gate.shut()
    chat.session.branching.regenerate(reply.id)
    assert "still running" in forking.why_not(reply)
    chat.session.stop()
    chat.until(GenerationFinished)
    chat.session.load("another")
    chat.until(EngineLoaded)
    assert "scripted wrote this, and another is loaded" in forking.why_not(reply)
    before = len(chat.session.tree())
    (notice,) = forking.fork(reply.id, recording, 0, token_id(" other0"))
    assert isinstance(notice, Notice)
    assert len(chat.session.tree()) == before
    served = start(structs.replace(KNOWN, refuses=("", Capabilities(continues=False))))
    served.ask("Count.")
    assert "no token ids" in served.session.forking.why_not(served.session.path[-1])


@pytest.mark.parametrize(
    ("content", "pieces", "at", "expected"),
    [
        ("ab", [b"a", b"b"], 1, ("a", b"")),
        ("the end", [b" the", b" end"], 1, ("the", b"")),
        ("<think>\nso", [b"so", b""], 0, ("<think>\n", b"")),
        ("so", [b"so", b" STOP"], 1, ("so", b"")),
        ("a—", [b"a", b"\xe2\x80", b"\x94"], 2, ("a", b"\xe2\x80")),
        ("Mine: so on", [b"so", b" on"], 1, ("Mine: so", b"")),
        ("<think>\nso\n</think>\n\nYes", [b"so", b"\n</think>", b"\nYes"], 0, ("<think>\n", b"")),
        ("<think>\nso\n</think>\n\nYes", [b"so", b"\n</think>", b"\nYes"], 1, ("<think>\nso", b"")),
        ("<think>\nso\n</think>\n\nYes", [b"<thinking>", b"so</thinking>Yes"], 1, ("<thinking>", b"")),
        ("other", [b"so", b" on"], 1, None),
    ],
)
def test_the_text_before_a_token(
    content: str, pieces: list[bytes], at: int, expected: tuple[str, bytes] | None
) -> None:
    recording = Recording(
        [RecordedToken(number, 0.0) for number in range(len(pieces))], pieces=dict(enumerate(pieces))
    )
    assert text_before(content, recording, at) == expected
