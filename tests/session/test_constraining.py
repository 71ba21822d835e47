"""Constraints on trial: whatever sets one, and whenever, one that cannot be followed is refused once and leaves the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.fakes import UNFOLLOWED, Gate, Script
from tests.session.test_chat import Chat
from tests.session.test_elsewhere import of_kind
from ttchat_tui.domain.constraint import Constraint, ConstraintKind
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished, PromptCounted
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.sampling import SamplingDefaults, SamplingParams
from ttchat_tui.domain.updates import ConstraintChecked, DraftReturned, Notice, PromptCost, Update
from ttchat_tui.storage.message_path import MessagePath

ABLE = Script(replies=("one two",), honours=Capabilities().sampling | {"constraint"}, stepped_load=True)
GOOD = Constraint("regex", "[0-9]+")
KINDS: tuple[ConstraintKind, ...] = get_args(ConstraintKind)
Set = Callable[[Chat, Constraint], object]


def by_command(chat: Chat, constraint: Constraint) -> None:
    chat.session.set_sampling(msgspec.structs.replace(chat.session.sampling, constraint=constraint))


def by_preset(chat: Chat, constraint: Constraint) -> None:
    sampling = SamplingDefaults(constraint=constraint, temperature=0.1)
    chat.session.presets.apply(Preset(name="p", system_prompt="Be brief.", sampling=sampling))


def by_flags_over_the_latest(chat: Chat, constraint: Constraint) -> None:
    chat.session.resume({"constraint": constraint}, None)


WAYS: tuple[Set, ...] = (by_command, by_preset, by_flags_over_the_latest)


class Constrained:
    """A conversation with a message in it, and a model that loads when the test wants."""

    def __init__(self, path: Path, defaults: SamplingDefaults | None = None) -> None:
        self.gate = Gate()
        self.chat = Chat(path, ABLE, self.gate, is_loaded=False)
        self.session = self.chat.session
        if defaults is not None:
            self.session.constraining._defaults = defaults.over

    def load(self, model: str = "") -> list[Update]:
        begun = self.session.load(model) if model else []
        self.gate.release(len(ABLE.load_steps))
        return [*begun, *self.chat.until(EngineLoaded)]

    def begin(self, constraint: Constraint) -> None:
        """A model, a message, and this constraint in force."""
        self.load()
        self.chat.ask("first")
        by_command(self.chat, constraint)
        self.checked()

    def checked(self) -> list[Update]:
        """As the screen counts after each change."""
        counted = self.session.context.count("")
        asked = self.session.context.is_counting
        return [*counted, *(self.chat.until(PromptCounted) if asked else [])]

    @property
    def now(self) -> Constraint | None:
        return self.session.sampling.constraint

    @property
    def stored(self) -> Constraint | None:
        assert self.session.conversation is not None
        kept = self.chat.store.conversation(self.session.conversation.id).sampling
        return kept.constraint if kept is not None else None


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Constrained]]:
    made: list[Constrained] = []

    def build(defaults: SamplingDefaults | None = None) -> Constrained:
        made.append(Constrained(tmp_path / f"{len(made)}.db", defaults))
        return made[-1]

    yield build
    for each in made:
        each.gate.open()
        each.chat.close()


@pytest.mark.parametrize(
    ("way", "kind", "before", "is_loaded"), product(WAYS, KINDS, (None, GOOD), (True, False))
)
def test_one_that_cannot_be_followed_leaves_the_one_before(
    make: Callable[..., Constrained],
    way: Set,
    kind: ConstraintKind,
    before: Constraint | None,
    is_loaded: bool,
) -> None:
    window = make()
    window.begin(GOOD)
    if before is None:
        window.session.set_sampling(SamplingParams())
        window.checked()
    if not is_loaded:
        window.session.unload()
        window.session.load("scripted")
    bad = Constraint(kind, f"{UNFOLLOWED},no")
    way(window.chat, bad)
    assert window.session.constraining.is_on_trial
    assert of_kind(window.session.constraining.checked(), ConstraintChecked) == (
        [] if is_loaded else [ConstraintChecked(bad, is_awaited=True)]
    )
    if not is_loaded:
        window.load()
    (said,) = of_kind(window.checked(), ConstraintChecked)
    assert (said.constraint, said.is_said) == (before, False)
    assert said.error is not None
    assert window.now == window.stored == before
    assert not of_kind(window.checked(), ConstraintChecked), "it is said once"
    assert not of_kind(window.chat.ask("and on"), DraftReturned)
    if way is not by_preset:
        way(window.chat, bad)
        (again,) = of_kind(window.checked(), ConstraintChecked)
        assert not again.is_said, "each time it is set"
    else:
        assert window.session.presets.take_back()[0] == "p"
        assert (window.session.system_prompt, window.now) == ("", before)


@pytest.mark.parametrize(("way", "kind", "is_loaded"), product(WAYS, KINDS, (True, False)))
def test_one_that_can_be_followed_stays_and_is_announced_once(
    make: Callable[..., Constrained], way: Set, kind: ConstraintKind, is_loaded: bool
) -> None:
    window = make()
    window.begin(GOOD)
    if not is_loaded:
        window.session.load("scripted")
    way(window.chat, good := Constraint(kind, "fine,good"))
    if not is_loaded:
        window.load()
    assert of_kind(window.checked(), ConstraintChecked) == [ConstraintChecked(good)]
    assert window.checked()[1:] == []
    assert window.now == window.stored == good


@pytest.mark.parametrize("kind", KINDS)
def test_a_default_that_cannot_be_followed_does_not_apply(
    make: Callable[..., Constrained], kind: ConstraintKind
) -> None:
    bad = Constraint(kind, f"{UNFOLLOWED},no")
    window = make(SamplingDefaults(constraint=bad))
    assert window.now == bad, "of config, flags or a preset that is given at the start"
    window.load()
    (said,) = of_kind(window.checked(), ConstraintChecked)
    assert (said.constraint, said.error is not None, window.now) == (None, True, None)
    window.session.new_conversation()
    assert not of_kind(window.checked(), ConstraintChecked)
    assert not of_kind(window.chat.ask("hello"), DraftReturned)
    window.load("scripted")
    (said,) = of_kind(window.checked(), ConstraintChecked)
    assert said.error is not None, "another model is asked again"


def test_what_is_sent_before_it_is_checked_is_refused_and_said_once(
    make: Callable[..., Constrained],
) -> None:
    window = make(SamplingDefaults(constraint=GOOD))
    by_command(window.chat, Constraint("regex", UNFOLLOWED))
    window.session.submit("early")
    window.load()
    (returned,) = of_kind(window.chat.until(GenerationFinished), DraftReturned)
    assert returned.text == "early"
    (said,) = of_kind(window.checked(), ConstraintChecked)
    assert (said.constraint, said.error, said.is_said) == (GOOD, returned.error, True)
    assert window.session._opened.sampling is None, "the defaults apply again"
    assert not of_kind(window.chat.ask("again"), DraftReturned)


def test_of_several_on_trial_none_is_what_comes_back(make: Callable[..., Constrained]) -> None:
    window = make()
    window.load()
    by_command(window.chat, GOOD)
    window.checked()
    for text in ("1", "2", "3"):
        by_command(window.chat, Constraint("regex", UNFOLLOWED + text))
    window.checked()
    assert window.now == GOOD
    by_command(window.chat, Constraint("regex", UNFOLLOWED))
    by_command(window.chat, GOOD)
    assert not window.session.constraining.is_on_trial


def test_one_on_trial_in_a_conversation_that_is_left_is_decided_there(
    make: Callable[..., Constrained],
) -> None:
    window = make()
    window.load()
    window.chat.ask("first")
    assert window.session.conversation is not None
    home_id = window.session.conversation.id
    by_command(window.chat, Constraint("regex", UNFOLLOWED))
    window.session.context.count("")
    window.session.new_conversation()
    assert not of_kind(window.chat.until(PromptCounted), ConstraintChecked)
    assert window.now is None
    window.session.open(home_id)
    (said,) = of_kind(window.checked(), ConstraintChecked)
    assert (said.constraint, window.now) == (None, None)


def test_one_that_another_model_followed_stays_and_is_reported_once(
    make: Callable[..., Constrained], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make()
    window.load()
    by_command(window.chat, GOOD)
    window.checked()
    monkeypatch.setattr("tests.fakes.UNFOLLOWED", GOOD.text)
    window.load("scripted")
    (notice,) = of_kind(window.checked(), Notice)
    assert notice.error.cure == "Correct it. /constrain off takes it out."
    assert not of_kind(window.checked(), Notice)
    assert window.now == GOOD, "the next model may follow it"
    window.session.submit("hello")
    assert of_kind(window.chat.until(GenerationFinished), DraftReturned), "never in another form"
    assert not of_kind(window.checked(), Notice)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_another_is_loaded_over_decides_nothing(
    make: Callable[..., Constrained], way: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make()
    window.begin(Constraint("regex", "before"))
    monkeypatch.setattr("tests.fakes.UNFOLLOWED", GOOD.text)
    way(window.chat, GOOD)
    window.session.context.count("")  # of the model that cannot
    window.session.load("scripted")  # as a preset does that names a model
    assert not of_kind(window.chat.until(PromptCounted), ConstraintChecked)
    assert window.now == GOOD
    monkeypatch.setattr("tests.fakes.UNFOLLOWED", UNFOLLOWED)
    window.load()
    assert of_kind(window.checked(), ConstraintChecked) == [ConstraintChecked(GOOD)]


def test_one_that_no_engine_of_this_kind_takes_is_refused(make: Callable[..., Constrained]) -> None:
    window = make()
    window.load()
    for can in (
        Capabilities(),
        Capabilities(sampling=ABLE.honours, constraints=frozenset({"json-schema"})),
    ):
        window.chat.host._loads.set_capabilities(can)
        by_command(window.chat, GOOD)
        (said,) = of_kind(window.checked(), ConstraintChecked)
        assert said.error is not None
        assert "cannot constrain" in said.error.message
        assert "install" not in said.error.cure, "only the engine knows whether that would help"
        assert window.now is None


def test_while_a_long_conversation_is_read_it_is_checked_already(
    make: Callable[..., Constrained], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make()
    window.load()
    monkeypatch.setattr(MessagePath, "is_read", False)
    by_command(window.chat, Constraint("regex", UNFOLLOWED))
    updates = window.checked()
    (said,) = of_kind(updates, ConstraintChecked)
    assert said.error is not None
    assert not of_kind(updates, PromptCost), "nothing is counted"


@pytest.mark.parametrize("had_own", [True, False])
def test_a_reply_that_waits_for_a_load_is_recorded_with_the_constraint_that_it_has(
    make: Callable[..., Constrained], had_own: bool
) -> None:
    window = make(SamplingDefaults(constraint=Constraint("regex", UNFOLLOWED)))
    window.load()
    window.checked()
    if had_own:
        window.session.set_sampling(SamplingParams())
    window.session.load("scripted")
    window.session.submit("early")
    if had_own:
        by_command(window.chat, GOOD)
    window.load()
    window.chat.until(GenerationFinished)
    reply = window.session.last_reply
    assert reply is not None
    assert reply.reply is not None
    assert reply.reply.sampling is not None
    expected = GOOD if had_own else None
    sent = window.chat.engine.requests[-1].sampling
    assert reply.reply.sampling.constraint == sent.constraint == expected
