"""Which token the sampler's preview shows."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import GenerationFinished, StepScores
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.recording import Cut, RecordedToken, Recording, alternatives_and_itself, packed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import PreviewChanged
from ttchat_tui.engine.decoding.step_preview import StepPreview
from ttchat_tui.session import PreviewedToken

KNOWN = Script(replies=("One two three four.",), logprobs=True)
PLAIN = SamplingParams(temperature=1.0, top_k=0, top_p=1.0)
CUTS: tuple[Cut, ...] = ("kept", "top-k", "top-p", "constraint")
Start = Callable[..., Chat]


def opened(start: Start, script: Script = KNOWN, gate: Gate | None = None) -> Chat:
    chat = start(script, gate)
    chat.session.preview.load()
    chat.session.preview.set_open(True)
    return chat


def shown(chat: Chat) -> PreviewedToken:
    token = chat.session.preview.token
    assert token is not None
    return token


def restarted(start: Start, chat: Chat, script: Script = KNOWN) -> Chat:
    """What is shown was read from the store."""
    chat.close()
    chat = opened(start, script)
    chat.session.resume({}, None)
    read(chat)
    return chat


def read(chat: Chat) -> None:
    reader = chat.session.preview.reader()
    assert reader is not None
    reader()


def test_the_newest_step_is_shown_and_after_a_restart_what_was_recorded_of_it(start: Start) -> None:
    chat = opened(start)
    chat.ask("Count.")
    assert (shown(chat).number, shown(chat).is_whole) == (4, True)
    assert shown(chat) is shown(chat)
    assert chat.session.preview.reader() is None
    chat = restarted(start, chat)
    assert (shown(chat).number, shown(chat).is_whole) == (4, False)
    assert chat.session.preview.reader() is None, "it is read once"
    chat.session.new_conversation()
    assert chat.session.preview.token is None


def test_a_preview_that_was_out_of_sight_shows_all_it_knew_unless_the_reply_has_grown(start: Start) -> None:
    chat = opened(start)
    preview = chat.session.preview
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    chat.ask("Count.")
    whole = shown(chat)
    assert (whole.number, whole.is_whole) == (2, True)
    for _ in range(2):  # the panel is hidden and shown
        preview.set_open(False)
        preview.set_open(True)
        assert shown(chat) is whole
    preview.set_open(False)
    chat.session.set_sampling(SamplingParams(max_tokens=9))
    chat.session.branching.continue_reply()
    chat.until(GenerationFinished)
    preview.set_open(True)
    read(chat)
    assert (shown(chat).number, shown(chat).is_whole) == (4, False)


def test_an_inspected_token_stays_until_the_next_one_if_it_is_pinned(start: Start) -> None:
    gate = Gate()
    chat = opened(start, Script(replies=KNOWN.replies, logprobs=True, stepped=True), gate)
    chat.session.submit("Count.")
    gate.release(2)
    for _ in range(2):
        chat.until(StepScores)
    preview, message = chat.session.preview, chat.session.path[-1]
    recording = chat.session.recordings.of(message.id)
    preview.inspect(message.id, recording, 1)
    assert shown(chat).is_whole, "the newest one, of which more is known"
    preview.inspect(message.id, recording, 0)
    assert (shown(chat).number, shown(chat).is_whole) == (1, False)
    gate.release()
    assert PreviewChanged() in chat.until(StepScores)
    assert shown(chat).number == 1, "the inspector is open"
    preview.pin()
    assert shown(chat).number == 1
    gate.open()
    chat.until(GenerationFinished)
    assert shown(chat).number == 4
    preview.inspect(message.id, recording, 0)
    preview.look_at_last()
    assert shown(chat).number == 4


def test_a_token_pinned_before_the_rules_are_loaded_is_shown_once_they_are(start: Start) -> None:
    chat = start(KNOWN, None)
    chat.ask("Count.")
    preview, message = chat.session.preview, chat.session.path[-1]
    preview.inspect(message.id, chat.session.recordings.of(message.id), 1)
    preview.pin()
    preview.set_open(True)
    assert preview.token is None
    preview.load()
    assert shown(chat).number == 2


def test_a_continued_reply_numbers_its_tokens_as_its_recording_does(start: Start) -> None:
    """Also after words of the user, whose token ids are not known."""
    gate = Gate()
    chat = opened(start, Script(replies=KNOWN.replies, logprobs=True, stepped=True), gate)
    gate.open()
    chat.ask("Count.")
    message = chat.session.path[-1]
    chat.session.forking.rewrite(message.id, chat.session.recordings.of(message.id), 2, " and")
    chat.until(GenerationFinished)
    recording = chat.session.recordings.of(chat.session.path[-1].id)
    assert shown(chat).number == len(recording.tokens) > 4


@given(st.data())
def test_of_a_recorded_token_nothing_that_its_constraint_forbids_is_kept(data: st.DataObject) -> None:
    """Also where it forbids all that is listed: what was written is there by itself."""
    cuts: list[Cut] = data.draw(st.lists(st.sampled_from(CUTS), min_size=1, max_size=20))
    written = data.draw(st.integers(0, len(cuts)))  # the last one is not listed
    if written < len(cuts):
        cuts[written] = "kept"
    alternatives: list[tuple[int, float, Cut]] = [
        (at, math.log(0.5) * (at + 1), cut) for at, cut in enumerate(cuts)
    ]
    token = RecordedToken(
        written, 0.0, logprob=math.log(0.5) * (written + 1), alternatives=packed(alternatives)
    )
    step = StepPreview.of_recorded(alternatives_and_itself(token), ())
    allowed = {at for at, cut in enumerate(cuts) if cut != "constraint"} | {written}
    for params in (PLAIN, SamplingParams(temperature=0.0), SamplingParams()):
        view = step.under(params, 30)
        kept = {each.token_id for each in view.tokens if each.cut == "kept"}
        assert kept <= allowed
        assert params != PLAIN or kept == allowed
        assert set(step.draws(params, [at / 20 for at in range(20)])) <= allowed


def test_a_stored_token_whose_alternatives_were_all_forbidden_can_be_drawn_alone(start: Start) -> None:
    constraint = Constraint("regex", "[0-9]+")
    chat = opened(start, Script(replies=KNOWN.replies, honours=Capabilities().sampling | {"constraint"}))
    chat.session.set_sampling(SamplingParams(constraint=constraint))
    chat.ask("Count.")
    forbidden: list[tuple[int, float, Cut]] = [(at, math.log(0.3), "constraint") for at in (1, 2)]
    tokens = [RecordedToken(7, 0.0, logprob=math.log(0.001), rank=40, alternatives=packed(forbidden))]
    chat.session.preview.inspect(chat.session.path[-1].id, Recording(tokens), 0)
    view = shown(chat).under(SamplingParams(), 13)
    assert [(each.token_id, each.cut, each.share) for each in view.tokens] == [(7, "kept", 1.0)]
    assert [(rest.cut, rest.tokens) for rest in view.rests] == [("constraint", 2)]
    assert shown(chat).constraint == constraint


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_token_keeps_the_constraint_of_its_reply(start: Start, is_stored: bool) -> None:
    able = Capabilities().sampling | {"constraint"}
    script = Script(replies=KNOWN.replies, logprobs=True, honours=able)
    chat = opened(start, script)
    constraint = Constraint("regex", "[0-9]+")
    for before, after in ((None, constraint), (constraint, None)):
        chat.session.set_sampling(SamplingParams(constraint=before))
        chat.ask("Count.")
        chat.session.set_sampling(SamplingParams(constraint=after))
        if is_stored:
            chat = restarted(start, chat, script)
        assert (shown(chat).is_whole, shown(chat).constraint) == (not is_stored, before)


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize(("first", "then"), [("a+", "b+"), (None, "b+"), ("a+", None)])
def test_a_continued_reply_names_the_constraint_of_each_token(
    start: Start, first: str | None, then: str | None, is_stored: bool
) -> None:
    able = Capabilities().sampling | {"constraint"}
    script = Script(replies=KNOWN.replies, logprobs=True, honours=able)
    chat = opened(start, script)
    before, after = (Constraint("regex", each) if each else None for each in (first, then))
    chat.session.set_sampling(SamplingParams(constraint=before, max_tokens=2))
    chat.ask("Count.")
    chat.session.set_sampling(SamplingParams(constraint=after))
    chat.session.branching.continue_reply()
    chat.until(GenerationFinished)
    if is_stored:
        chat = restarted(start, chat, script)
    assert (shown(chat).is_whole, shown(chat).constraint) == (not is_stored, after)
    last = chat.session.path[-1].id
    chat.session.preview.inspect(last, chat.session.recordings.of(last), 0)
    assert shown(chat).constraint == before


def test_a_constraint_that_is_set_while_a_reply_runs_is_not_recorded_for_it(start: Start) -> None:
    gate = Gate()
    able = Capabilities().sampling | {"constraint"}
    chat = opened(start, Script(replies=KNOWN.replies, logprobs=True, stepped=True, honours=able), gate)
    chat.session.submit("Count.")
    gate.release(2)
    for _ in range(2):
        chat.until(StepScores)
    chat.session.set_sampling(SamplingParams(constraint=Constraint("regex", "a"), temperature=0.1))
    gate.open()
    chat.until(GenerationFinished)
    recording = chat.session.recordings.of(chat.session.path[-1].id)
    assert {each.sampling.temperature for each in recording.changes} == {0.1}
    assert {each.sampling.constraint for each in recording.changes} == {None}


def test_a_server_says_what_it_lists_and_no_setting_changes_it(start: Start) -> None:
    chat = opened(start)
    chat.ask("Count.")
    listed = packed([(1, math.log(0.5), "unknown"), (2, math.log(0.25), "unknown")])
    recording = Recording([RecordedToken(2, 0.0, alternatives=listed)], pieces={1: b"a", 2: b"b"})
    chat.session.preview.inspect(chat.session.path[-1].id, recording, 0)
    token = shown(chat)
    assert token.is_listed
    for params in (SamplingParams(), SamplingParams(temperature=0.0)):
        view = token.under(params, 13)
        assert [(each.token_id, each.cut) for each in view.tokens] == [(1, "unknown"), (2, "unknown")]
        assert view.rests[0].share == pytest.approx(0.25, abs=0.01)
    assert not token.draws(SamplingParams(), [0.5])


def test_without_numpy_it_says_how_to_get_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "ttchat_tui.engine.decoding.step_preview"):
        monkeypatch.setitem(sys.modules, name, None)
    chat = opened(start)
    chat.ask("Count.")
    assert chat.session.preview.token is None
    assert "pip install 'ttchat-tui[cpu]'" in chat.session.preview.why_not
