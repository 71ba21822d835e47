"""Two models side by side: whichever is stopped, in whatever state, each lane is in the right one at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import Script
from tests.session.test_candidates import FOUR, ask
from tests.session.test_second_model import STEPPED, TWO, MakeTwoModels, TwoModels, both_stream, no_room
from tests.size import sized
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.sampling import SamplingDefaults
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.engine.base import EngineDied, OutOfMemory
from ttchat_tui.session.lane import Lane
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_store

LOADING = Script(replies=(FOUR,), batch_sizes=(4,), stepped=True, stepped_load=True)


def at_own_load(two_models: MakeTwoModels, _download: threading.Event) -> TwoModels:
    """The first one's model is being loaded; that of the session was another."""
    chat = two_models()
    chat.engine.script = LOADING
    ask(chat, "model=third,other count")
    chat.until(lambda: chat.engine.calls.count("load") == 2)
    return chat


def at_download(two_models: MakeTwoModels, download: threading.Event) -> TwoModels:
    """The second one's is being downloaded, and nothing is heard of it."""
    chat = two_models(room=lambda _name: download.wait() and None)
    ask(chat, TWO)
    return chat


def at_load(two_models: MakeTwoModels, _download: threading.Event) -> TwoModels:
    chat = two_models(second=LOADING)
    ask(chat, TWO)
    chat.until(lambda: chat.second.calls == ["load"])
    return chat


def at_run(two_models: MakeTwoModels, _download: threading.Event) -> TwoModels:
    chat = two_models()
    both_stream(chat)
    return chat


def at_wait(two_models: MakeTwoModels, _download: threading.Event) -> TwoModels:
    """There is no room for both."""
    chat = two_models(room=no_room)
    ask(chat, TWO)
    chat.gates[0].release()
    chat.until(lambda: chat.lanes[0].text == "one")
    return chat


def release(chat: TwoModels) -> None:
    for gate in chat.gates:
        gate.open()


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize("stopped", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("reach", [at_own_load, at_download, at_load, at_run, at_wait])
def test_a_stop_frees_the_other_at_once(
    two_models: MakeTwoModels,
    reach: Callable[[MakeTwoModels, threading.Event], TwoModels],
    stopped: tuple[int, ...],
    is_watched: bool,
) -> None:
    download = threading.Event()
    chat = reach(two_models, download)
    candidates = chat.session.candidates
    if is_watched:
        candidates.second.watch(is_on_screen=True)
    before = [lane.state for lane in chat.lanes]
    chat.updates += candidates.stop(*(chat.lanes[number] for number in stopped))
    for number, lane in enumerate(chat.lanes):
        if number in stopped and before[number] == "waiting":
            assert (lane.state, lane.note) == ("ended", "It was not begun.")
    if stopped == (1,) and reach in (at_download, at_load):
        assert chat.lanes[0].state == "running"
        assert chat.session.running_replies[0].request.models_at_once == 1
        assert chat.session.second.model == "", "its load is cancelled"
    if stopped == (0,) and reach in (at_download, at_load):
        assert candidates.why_waiting.startswith("other is being loaded beside scripted")
        assert "both" not in candidates.why_waiting
    if len(stopped) == 2 and reach in (at_download, at_load):
        assert not chat.session.is_busy
    download.set()
    release(chat)
    chat.ended()
    chat.until(lambda: not chat.session.is_busy)
    texts = [FOUR if number not in stopped else lane.text for number, lane in enumerate(chat.lanes)]
    assert [lane.text for lane in chat.lanes] == texts
    if reach is at_own_load and 0 in stopped:
        chat.until(lambda: not chat.host.is_loading)
        wanted = "other" if stopped == (0,) else "scripted"
        assert chat.session.loaded_model == wanted, "a load that nobody waits for is cancelled"
    candidates.second.watch(is_on_screen=False)
    assert chat.session.second.model == ""


def test_esc_ends_all_that_wait_for_the_load_of_the_first(two_models: MakeTwoModels) -> None:
    chat = at_own_load(two_models, threading.Event())
    chat.updates += chat.session.interrupt()
    assert [lane.note for lane in chat.lanes] == ["It was not begun."] * 2
    release(chat)
    chat.until(lambda: not chat.host.is_loading and chat.session.loaded_model == "scripted")
    assert "third" not in chat.models()


def test_a_model_that_was_unloaded_is_loaded_for_its_lane(two_models: MakeTwoModels) -> None:
    chat = two_models(Script(replies=(FOUR,)), Script(replies=(FOUR,)))
    chat.session.unload()
    chat.until(lambda: chat.session.info is None)
    ask(chat, TWO)
    chat.ended()
    assert chat.models() == ["scripted", "other"]


@pytest.mark.parametrize("has_room", [True, False])
@pytest.mark.parametrize("refused", [("third",), ("other",), ("third", "other")])
def test_a_model_that_cannot_be_loaded_says_why_in_its_lane_and_leaves_the_other(
    two_models: MakeTwoModels, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], has_room: bool
) -> None:
    def refuse(model: str) -> None:
        if model in refused:
            raise OutOfMemory(f"{model} needs 5 GB, but only 1 GB are free.", "Choose a smaller one.")

    chat = two_models(Script(replies=(FOUR,)), Script(replies=(FOUR,)), room=refuse if has_room else no_room)
    load = chat.engine.load

    def load_or_refuse(spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        refuse(spec.name)
        return load(spec, report)

    monkeypatch.setattr(chat.engine, "load", load_or_refuse)
    ask(chat, "model=third,other count")
    chat.ended()
    for lane in chat.lanes:
        model = lane.variant.model
        note = f"{model} needs 5 GB, but only 1 GB are free. Choose a smaller one."
        assert (lane.text, lane.note) == (("", note) if model in refused else (FOUR, ""))
    chat.until(lambda: not chat.session.is_busy and not chat.host.is_loading)
    assert chat.session.has_model, "one is there to go on with"


@pytest.mark.parametrize("sizes", [(1,), (4,)])
@pytest.mark.parametrize("at", [0, 2])
def test_where_all_fail_each_says_why_below_what_it_has(
    two_models: MakeTwoModels, sizes: tuple[int, ...], at: int
) -> None:
    chat = two_models(Script(replies=(FOUR,), batch_sizes=sizes, fault="raise", fault_at=at))
    ask(chat, "3 count")
    chat.ended()
    chat.until(lambda: not chat.session.is_busy)
    expected = ("one two" if at else "", "The script says so.")
    assert [(lane.text, lane.note) for lane in chat.lanes] == [expected] * 3
    for lane in chat.lanes:
        chat.updates += chat.session.candidates.regenerate(lane)
        chat.ended()
        assert (lane.text, lane.note) == expected, "and again, if it is asked again"


def test_an_engine_that_dies_leaves_nobody_waiting(
    two_models: MakeTwoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = two_models(Script(replies=(FOUR,)))

    def die(*_arguments: object) -> None:
        raise EngineDied("The engine's process was killed.")

    monkeypatch.setattr(chat.engine, "generate", die)
    ask(chat, "3 count")
    chat.ended()
    assert [lane.note for lane in chat.lanes] == [
        "The engine's process was killed.",
        "No model is loaded.",
        "No model is loaded.",
    ]


def load_another(chat: TwoModels) -> list[Update]:
    return chat.session.load("third")


def unload(chat: TwoModels) -> list[Update]:
    return chat.session.unload()


def delete(chat: TwoModels) -> list[Update]:
    assert chat.session.conversation is not None
    return chat.session.delete(chat.session.conversation.id)


def take_back_a_preset(chat: TwoModels) -> list[Update]:
    chat.session.presets.apply(Preset(name="mine", model="third", sampling=SamplingDefaults(top_k=3)))
    chat.session.model = "third"
    return chat.session.presets.take_back()[1]


@pytest.mark.parametrize("free", [load_another, unload, delete, take_back_a_preset])
def test_what_goes_wrong_where_the_second_model_is_freed_is_said(
    two_models: MakeTwoModels, monkeypatch: pytest.MonkeyPatch, free: Callable[[TwoModels], list[Update]]
) -> None:
    chat = two_models()
    both_stream(chat)
    chat.gates[0].open()
    chat.until(lambda: chat.lanes[0].state == "ended")

    def full(*_arguments: object) -> None:
        raise StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    monkeypatch.setattr(chat.store, "finish_reply", full)
    said = [update.error.message for update in free(chat) if isinstance(update, Notice)]
    assert said == ["The disk is full."]
    assert [lane.state for lane in chat.lanes] == ["ended"] * 2, "at once"
    assert chat.session.second.model == ""


ACTS = (
    "stop",
    "stop",
    "stop all",
    "again",
    "more",
    "step",
    "step",
    "open",
    "look",
    "esc",
    "pause",
    "ask",
    "unload",
)


def act_on(chat: TwoModels, act: str, rng: Random) -> None:
    session, candidates = chat.session, chat.session.candidates
    lane = rng.choice(chat.lanes) if chat.lanes else Lane.__new__(Lane)
    match act:
        case "stop" if chat.lanes:
            was = lane.state
            chat.updates += candidates.stop(lane)
            assert was != "waiting" or lane.state == "ended"
        case "stop all":
            chat.updates += candidates.stop(*chat.lanes)
            assert all(each.state != "waiting" for each in chat.lanes)
        case "again" if chat.lanes:
            chat.updates += candidates.regenerate(lane)
        case "more" if chat.lanes:
            chat.updates += candidates.continue_reply(lane)
        case "step":
            rng.choice(chat.gates).release(rng.randint(1, 4))
        case "look":
            chat.updates += candidates.second.watch(is_on_screen=rng.random() < 0.5)
        case "esc":
            chat.updates += session.interrupt()
            assert all(each.state != "waiting" for each in chat.lanes)
        case "pause":
            session.pausing.toggle()
        case "ask" if not session.is_busy and not candidates.is_running:
            models = rng.sample(("scripted", "other", "third"), rng.randint(2, 3))
            ask(chat, f"model={','.join(models)} count")
        case "unload":
            chat.updates += session.unload()
            assert not candidates.is_running or session.running is not None
        case _:
            pass
    for event in session.events():
        chat.updates += session.apply(event)


@settings(max_examples=sized(15, 400), deadline=None)
@given(
    number=st.integers(0, 10**6), acts=st.lists(st.sampled_from(ACTS), max_size=25), has_room=st.booleans()
)
def test_whatever_is_stopped_and_asked_again_nothing_waits_for_ever(
    number: int, acts: list[str], has_room: bool
) -> None:
    rng = Random(number)
    room: Callable[[str], None] = (lambda _name: None) if has_room else no_room
    with (
        TemporaryDirectory() as folder,
        closing(TwoModels(Path(folder) / "a.db", STEPPED, LOADING, room)) as chat,
    ):
        ask(chat, f"model={rng.choice(('scripted,other', 'third,other', 'third,scripted'))} count")
        for act in acts:
            act_on(chat, act, rng)
        if chat.session.pausing.is_paused:
            chat.session.pausing.toggle()
        release(chat)
        chat.ended()
        chat.until(lambda: not chat.session.is_busy)
        chat.session.candidates.second.watch(is_on_screen=False)
        assert chat.session.second.model == ""
        for lane in chat.lanes:
            assert lane.text or lane.note
            assert lane.text or lane.message is None or not lane.message.content
        other = open_store(chat.store.file)
        try:
            home = chat.session.conversation
            tree = other.tree(home.id) if home is not None else []
            assert all(each.status != "streaming" for each in tree)
        finally:
            other.close()
