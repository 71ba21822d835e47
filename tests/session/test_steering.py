"""What the user chooses for a running reply: another latest token, the end of a thought, bans."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from tests.session.test_pausing import on_disk
from ttchat_tui.domain.events import GenerationFinished, PromptCounted, TokenEvent
from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.logit_bias import BAN, typed_boost
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.recording import Distribution, alternatives_of
from ttchat_tui.domain.updates import BiasRefused, Notice
from ttchat_tui.session.recorder import PART_TOKENS, Recorder
from ttchat_tui.session.thought_meter import ThoughtMeter
from ttchat_tui.storage.recording_parts import decoded, joined

Start = Callable[..., Chat]


def paused(start: Start, words: int, reply: str = "one two three four", **more: object) -> tuple[Chat, Gate]:
    """A reply that is paused after so many words."""
    gate = Gate()
    chat = start(Script(replies=(reply,), stepped=True, logprobs=True, **more), gate)  # type: ignore[arg-type]
    chat.session.submit("count")
    gate.release(words)
    for _ in range(words):
        chat.until(TokenEvent)
    chat.session.pausing.toggle()
    gate.open()
    return chat, gate


def test_another_latest_token_is_the_replys_own_in_text_ids_and_recording(start: Start) -> None:
    chat, _ = paused(start, 2)
    message, steering = chat.session.path[-1], chat.session.steering
    recording = chat.session.recordings.of(message.id)
    other = alternatives_of(recording.tokens[1])[3].token_id
    assert not steering.can_choose(message.id, 0), "the model has seen it"
    assert steering.choose(message.id, 1, other)
    chat.until(TokenEvent, replaces=len(" two"))
    chat.session.tick()
    assert chat.session.pausing.is_paused
    assert on_disk(chat) == "one other2"
    assert chat.session.running is not None
    assert chat.session.running.text == "one other2"
    chat.session.pausing.toggle()
    chat.until(GenerationFinished)
    reply = chat.session.path[-1]
    assert (reply.id, reply.content) == (message.id, "one other2 three four")
    assert reply.reply is not None
    kept = chat.store.recordings.of(reply.id)
    assert tuple(token.token_id for token in kept.tokens) == reply.reply.token_ids
    assert [token.is_forced for token in kept.tokens] == [False, True, False, False]
    assert not steering.choose(message.id, 3, other), "nothing runs"


def test_the_latest_token_of_a_continued_reply_can_be_another(start: Start) -> None:
    chat, gate = paused(start, 2)
    chat.session.stop()
    chat.until(GenerationFinished)
    gate.shut()
    chat.session.branching.continue_reply(chat.session.path[-1].id)
    gate.release()
    chat.until(TokenEvent)
    chat.session.pausing.toggle()
    gate.open()
    message = chat.session.path[-1]
    recording = chat.session.recordings.of(message.id)
    assert chat.session.steering.choose(message.id, 2, alternatives_of(recording.tokens[2])[3].token_id)
    chat.until(TokenEvent, replaces=len(" three"))
    chat.session.pausing.toggle()
    chat.until(GenerationFinished)
    assert chat.session.path[-1].content == "one two other2 four"


def test_the_open_thought_ends_and_nothing_happens_without_one(start: Start) -> None:
    chat, gate = paused(start, 2, "<think> hm what well")
    steering = chat.session.steering
    assert steering.is_thinking
    assert steering.end_thought() is None
    chat.session.pausing.toggle()
    chat.until(GenerationFinished)
    reply = chat.session.path[-1]
    assert reply.content == "<think>\n hm\n</think>\n\nSo what well"
    assert [token.is_forced for token in chat.store.recordings.of(reply.id).tokens].count(True) == 2
    refusal = steering.end_thought()
    assert refusal is not None
    assert refusal.message == "No reply on screen is thinking."
    gate.open()


def test_a_ban_of_this_reply_outlives_other_changes_and_ends_with_it(start: Start) -> None:
    chat, gate = paused(start, 1)
    biasing = chat.session.biasing
    assert biasing.set(" two", BAN, in_reply=True) is None
    assert biasing.set(" three", 1.0) is None
    assert biasing.all == {" two": BAN, " three": 1.0}
    chat.session.pausing.toggle()
    chat.until(GenerationFinished)
    reply = chat.session.path[-1]
    assert reply.content == "one instead three four"
    assert chat.session.sampling.logit_bias == biasing.all == {" three": 1.0}
    assert biasing.set(" three", 0.0) is None
    assert chat.session.sampling.logit_bias == {}
    refusal = biasing.set("x", BAN, in_reply=True)
    assert refusal is not None
    gate.open()


def test_what_an_engine_cannot_do_is_refused_with_the_reason(start: Start) -> None:
    chat = start(Script(honours=Capabilities().sampling - {"logit_bias"}))
    refusal = chat.session.biasing.set(" two", BAN)
    assert refusal is not None
    assert "takes no bias" in refusal.message
    assert chat.session.biasing.set(" two", 0.0) is None, "it can always be removed"


def test_a_bias_is_stored_with_conversation_and_reply(start: Start) -> None:
    chat = start(Script(replies=("one two",)))
    chat.session.biasing.set(" two", BAN)
    chat.session.biasing.set("\udcff", 2.0)  # undecodable bytes of a terminal
    chat.ask("count")
    reply = chat.session.path[-1]
    assert reply.content == "one instead"
    assert chat.store.conversation(reply.conversation_id).sampling is not None
    stored = chat.store.message(reply.id).reply
    assert stored is not None
    assert stored.sampling is not None
    assert stored.sampling.logit_bias == {" two": BAN, "\ufffd": 2.0}


def one(token_id: int, replaces: int | None = None) -> TokenEvent:
    return TokenEvent(
        1, (token_id,), "a", (0.1,), (-1.0,), distributions=(Distribution(0, 1.0),),
        pieces={token_id: b"a"}, replaces=replaces, forced=(replaces is not None,),
    )  # fmt: skip


def test_a_recording_gives_its_latest_token_back_also_at_the_edge_of_a_part() -> None:
    recorder, stored = Recorder(), dict[int, object]()
    for number in range(PART_TOKENS - 2):
        recorder.add(one(number + 10_000, replaces=None))
    for number in range(PART_TOKENS - 2, PART_TOKENS + 2):
        recorder.add(one(number))
        for part in recorder.unwritten():
            stored[part.first] = part.data
        recorder.note_written()
        recorder.add(one(number + 10_000, replaces=1))
        for part in recorder.unwritten():
            stored[part.first] = part.data
        recorder.note_written()
    whole = joined([decoded(first, data) for first, data in sorted(stored.items())])
    assert [token.token_id for token in whole.tokens] == [*range(10_000, 10_002 + PART_TOKENS)]
    assert [token.is_forced for token in whole.tokens].count(True) == 4
    recorder.add(TokenEvent(1, (), "", (), replaces=1))
    assert len(recorder.recording.tokens) == PART_TOKENS + 1, "an end token was chosen"


@pytest.mark.parametrize("count", [1, PART_TOKENS - 1, PART_TOKENS, PART_TOKENS + 1, PART_TOKENS + 2])
def test_a_stored_token_in_whose_place_the_user_ends_the_reply_is_stored_no_more(count: int) -> None:
    recorder, stored = Recorder(), dict[int, bytes]()
    events = [*map(one, range(count)), TokenEvent(1, (), "", (), replaces=1)]
    for event in events:
        recorder.add(event)
        if event.replaces is not None or len(recorder.recording.tokens) == count:
            stored |= {part.first: part.data for part in recorder.unwritten()}
            recorder.note_written()
    whole = joined([decoded(first, data) for first, data in sorted(stored.items())])
    assert [token.token_id for token in whole.tokens] == [*range(count - 1)]


def test_the_figures_of_a_thought_do_not_count_a_token_twice() -> None:
    meter = ThoughtMeter()
    for event in (one(1), one(2), one(3, replaces=1)):
        meter.add(
            TokenEvent(
                1,
                event.token_ids,
                "<think>" if event.token_ids == (1,) else " x",
                (0.1,),
                replaces=2 if event.replaces else None,
            )
        )
    assert meter.figures == (ThoughtFigures(1, 0.0),)


def test_a_text_of_several_tokens_is_reported_as_soon_as_it_is_counted(start: Start) -> None:
    chat = start(Script())
    assert chat.session.biasing.set("several words", BAN) is None
    chat.session.context.count("a draft")
    (refused,) = [each for each in chat.until(PromptCounted) if isinstance(each, BiasRefused)]
    assert refused.error.message == "'several words' is several tokens."
    assert chat.session.biasing.all == {}
    chat.session.context.count("again")
    assert not [each for each in chat.until(PromptCounted) if isinstance(each, BiasRefused | Notice)]


@pytest.mark.parametrize("text", ["several words", "a b c d"])
@pytest.mark.parametrize("amount", [BAN, 2.0])
@pytest.mark.parametrize("before", [{}, {"good": 3.0}, {"good": BAN, "fine": -1.0}])
def test_a_bias_that_is_refused_leaves_the_one_before_and_messages_are_answered(
    start: Start, text: str, amount: float, before: dict[str, float]
) -> None:
    chat = start(Script(replies=("yes",)))
    for name, each in before.items():
        assert chat.session.biasing.set(name, each) is None
        chat.session.context.count("a draft")
        chat.until(PromptCounted)
    own = chat.session.sampling if before else None
    assert chat.session.biasing.set(text, amount) is None
    assert chat.session.biasing.set(f"{text} more", amount) is None, "two before the engine answers"
    chat.session.context.count("a draft")
    assert [each for each in chat.until(PromptCounted) if isinstance(each, BiasRefused)]
    assert chat.session.biasing.all == before
    assert chat.session._opened.sampling == own, "a conversation with the defaults has them again"
    chat.session.submit("hello")
    chat.until(GenerationFinished)
    assert chat.session.path[-1].content == "yes"


def test_a_bias_that_another_model_could_use_stays_and_is_reported_once(start: Start) -> None:
    chat = start(Script())
    chat.session.biasing.set("good", 1.0)
    chat.session.context.count("a draft")
    chat.until(PromptCounted)
    home = chat.session._opened
    home.set_sampling(structs.replace(chat.session.sampling, logit_bias={"two words": 1.0}))
    for expected in (1, 0):
        chat.session.context.count("a draft")
        found = [each for each in chat.until(PromptCounted) if isinstance(each, Notice)]
        assert len(found) == expected
    assert chat.session.biasing.all == {"two words": 1.0}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('" the"', (" the", 2.0)),
        ('" the" 3', (" the", 3.0)),
        ('" the"  -3.5', (" the", -3.5)),
        ("the 3", ("the", 3.0)),
        ("the", ("the", 2.0)),
        (r'"a\" b" 1', ('a" b', 1.0)),
        ('"', ('"', 2.0)),
        ('" the" abc', "abc is no number"),
        ('" the" 3x', "3x is no number"),
        ("the abc", "abc is no number"),
        ("a b 3 c", "c is no number"),
        ('" the" 1 2', "1 2 is no number"),
    ],
)
def test_a_second_word_of_a_boost_is_a_number(typed: str, meant: tuple[str, float] | str) -> None:
    if isinstance(meant, tuple):
        assert typed_boost(typed) == meant
    else:
        with pytest.raises(ValueError, match=f"^{meant}$"):
            typed_boost(typed)
