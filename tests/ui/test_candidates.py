"""Several replies side by side on screen: columns and tabs, and what is done with one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.fakes import Gate, Script
from tests.size import sized
from tests.ui.chat_app import ChatApp, running, settle, until
from ttchat_tui.domain.candidates import CandidateOrder, Variant, parse_candidates
from ttchat_tui.domain.constraint import Constraint, ConstraintKind
from ttchat_tui.domain.events import GenerationEvent, GenerationStarted
from ttchat_tui.domain.generation import FinishReason, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.preset import BUILT_IN
from ttchat_tui.domain.reply_settings import ReplySettings
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineDied
from ttchat_tui.session.lane import Lane, LaneEnding
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.screens.candidates import KEYS, CandidatesScreen
from ttchat_tui.ui.widgets.candidates.lane_view import LaneView
from ttchat_tui.ui.widgets.candidates.lane_words import figures_of_lane, settings_beside
from ttchat_tui.ui.widgets.prompt import placeholder
from ttchat_tui.ui.widgets.prompt.prompt import PLACEHOLDER
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.message import MessageWidget


def on_screen(chat: ChatApp) -> str:
    return "\n".join(strip.text for strip in chat.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], chat: ChatApp, words: str) -> None:
    await until(pilot, lambda: words in on_screen(chat))


async def ended(pilot: Pilot[None], chat: ChatApp) -> None:
    await until(pilot, lambda: not chat.session.candidates.is_running)
    await settle(pilot, chat)
    await settle(pilot, chat)


def underlined(chat: ChatApp) -> list[str]:
    """The words that are marked, of all lanes."""
    strips = chat.app.screen._compositor.render_strips()
    return [text for strip in strips for text, style, _ in strip if style is not None and style.underline]


async def test_they_stream_in_columns_and_one_is_kept(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("One **two** three.",), batch_sizes=(4,), stepped=True), gate)
    async with running(chat, (120, 40)) as pilot:
        chat.session.set_sampling(SamplingParams(seed=41))
        await pilot.press("f12")
        assert "There is no message to answer yet.\nWrite one first." in chat.toasts()
        await pilot.press(*"count", "f12")
        gate.release(2)
        await shows(pilot, chat, "One two")
        assert chat.screen.prompt.text == ""
        await pilot.press("o")
        await shows(pilot, chat, "Some replies have not ended yet. S stops all.")
        await pilot.press("space")
        await shows(pilot, chat, "Paused: space resumes all")
        await pilot.press("space")
        await until(pilot, lambda: "Paused:" not in on_screen(chat))
        await pilot.press("d")
        await shows(pilot, chat, "Differences from the first are marked once")
        await pilot.press("d")
        shown = on_screen(chat)
        assert all(f"{number} · seed {40 + number}" in shown for number in range(1, 5))
        assert len({view.region.y for view in chat.app.screen.query(LaneView)}) == 2, "two rows of two"
        await pilot.press("2", "s")
        gate.release(1)
        await shows(pilot, chat, "■ 2 tok · stopped")
        gate.open()
        await ended(pilot, chat)
        await shows(pilot, chat, "One two three. (seed 44)")
        await pilot.press("d")
        await until(pilot, lambda: len(underlined(chat)) > 3)
        assert {"seed", "43", "44"} <= {each.strip() for each in underlined(chat)}
        assert "three" not in underlined(chat)
        await pilot.press("d", "right", "enter")
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert "3 other candidates deleted. /undo brings them back." in chat.toasts()
        assert [each.content for each in chat.session.path] == ["count", "One **two** three. (seed 43)"]
        assert len(chat.session.tree()) == 2
        await shows(pilot, chat, "One two three. (seed 43)")


async def test_where_it_is_narrow_there_are_tabs_and_esc_keeps_all(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("word " * 300,), batch_sizes=(2,), context_length=2_000))
    async with running(chat, (60, 20)) as pilot:
        await pilot.press(*"/candidates temperature=0.1,0.2,0.3 count", "enter")
        await ended(pilot, chat)
        await shows(pilot, chat, " 1 ✓   2 ✓   3 ✓ ")
        await shows(pilot, chat, "1 · temperature 0.1")
        assert all(keys in on_screen(chat) for keys in KEYS)
        screen = chat.app.screen
        assert isinstance(screen, CandidatesScreen)
        shown = [view for view in screen.query(LaneView) if view.display]
        assert len(shown) == 1
        assert shown[0].scroll_y == shown[0].max_scroll_y > 0, "it follows its end"
        await pilot.press("pageup")
        assert shown[0].scroll_y < shown[0].max_scroll_y
        await pilot.press("f1")
        await shows(pilot, chat, "Candidates")
        await shows(pilot, chat, "Keep the chosen one")
        await pilot.press("f1", "left")
        await shows(pilot, chat, "3 · temperature 0.3")
        await pilot.resize_terminal(150, 45)
        await pilot.pause()
        assert len([view for view in screen.query(LaneView) if view.display]) == 3
        await pilot.press("t")
        await shows(pilot, chat, " 1 ✓ temperature 0.1   2 ✓ temperature 0.2   3 ✓ temperature 0.3 ")
        await pilot.press("escape")
        assert len(chat.session.tree()) == 4
        await pilot.press("f12")
        assert isinstance(chat.app.screen, CandidatesScreen), "they are still there"
        await pilot.press("1", "o")
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert chat.session.path[-1].sibling_index == 0
        await pilot.press(*"/candidates 3 top-k=9..1", "enter")
        await ended(pilot, chat)
        await shows(pilot, chat, "1 · top-k 9")
        assert len(chat.session.tree()) == 7, "the last message is answered again"


def is_at(lane: Lane, tokens: int) -> bool:
    return lane.tokens == tokens


def ends_with_text(view: LaneView) -> bool:
    return bool(view.render_line(view.scrollable_content_region.height - 1).text.strip())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_a_paused_lane_has_no_empty_rows_below_its_text(tmp_path: Path, size: tuple[int, int]) -> None:
    gate, words = Gate(), "word " * 900
    script = Script(replies=(words,), stepped=True, batch_sizes=(8,), context_length=9_999)
    chat = ChatApp(tmp_path, script, gate)
    async with running(chat, size) as pilot:
        await pilot.press(*"/candidates 4 count", "enter")
        await until(pilot, lambda: isinstance(chat.app.screen, CandidatesScreen))
        last = chat.session.candidates.lanes[-1]
        for tokens in (700, 705, 711):
            gate.release(tokens - last.tokens)
            await until(pilot, partial(is_at, last, tokens))
            await pilot.press("space")
            await until(pilot, lambda: all(map(ends_with_text, chat.app.screen.query(LaneView))))
            await pilot.press("space")
            await until(pilot, lambda: not chat.session.pausing.is_paused)
        gate.open()
        await pilot.press("S")
        await until(pilot, lambda: not chat.session.is_busy)


@pytest.mark.parametrize(("size", "lanes"), [((80, 24), 2), ((120, 40), 4), ((120, 40), 6)])
async def test_a_lane_that_streams_has_few_empty_rows_below_its_text(
    tmp_path: Path, size: tuple[int, int], lanes: int
) -> None:
    gate, words = Gate(), "word " * 900
    chat = ChatApp(
        tmp_path, Script(replies=(words,), stepped=True, batch_sizes=(8,), context_length=9_999), gate
    )
    async with running(chat, size) as pilot:
        await pilot.press(*f"/candidates {lanes} count", "enter")
        await until(pilot, lambda: isinstance(chat.app.screen, CandidatesScreen))
        last = chat.session.candidates.lanes[-1]
        for tokens in range(300, 360, 5):
            gate.release(tokens - last.tokens)
            await until(pilot, partial(is_at, last, tokens))
            await settle(pilot, chat)
            chat.screen.flush_candidates()
            await pilot.pause()
            for view in chat.app.screen.query(LaneView):
                rows = view.scrollable_content_region.height
                texts = [view.render_line(y).text.strip() for y in range(rows)]
                assert view.max_scroll_y > 0
                assert next(at for at, text in enumerate(reversed(texts)) if text) * 4 < rows
        gate.open()
        await ended(pilot, chat)


def ask_two_models(chat: ChatApp) -> None:
    order = parse_candidates("model=scripted,other count")
    assert isinstance(order, CandidateOrder)
    wanted = chat.session.candidates.wanted(order, BUILT_IN.__getitem__)
    assert isinstance(wanted, list)
    chat.screen.show_updates(chat.session.candidates.ask(wanted, order.text))


async def test_two_models_stream_side_by_side_and_the_kept_one_closes_the_screen(tmp_path: Path) -> None:
    gates = Gate(), Gate()
    scripts = [Script(replies=(reply,), stepped=True) for reply in ("One two three.", "Five six seven.")]
    chat = ChatApp(tmp_path, scripts[0], gates[0], second=(scripts[1], gates[1]))
    async with running(chat, (100, 30)) as pilot:
        ask_two_models(chat)
        chat.screen._show_candidates()
        for gate in gates:
            gate.release(2)
        await shows(pilot, chat, "One two")
        await shows(pilot, chat, "Five six")
        await shows(pilot, chat, "Both models decode on this processor: 1 thread each.")
        assert [*map(figures_of_lane, chat.session.candidates.lanes)] == ["● 2 tok · TTFT 0.10 s"] * 2
        await pilot.press("2", "enter")
        await shows(pilot, chat, "The others are deleted when this one has ended.")
        gates[1].open()
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert [each.content for each in chat.session.path] == ["count", "Five six seven."]
        await until(pilot, lambda: "1 other candidate deleted. /undo brings it back." in chat.toasts())
        assert chat.session.second.model == "", "it is freed"


@pytest.mark.parametrize("is_own", [False, True])
async def test_the_titles_of_two_models_name_the_settings_in_which_they_differ(
    tmp_path: Path, is_own: bool
) -> None:
    scripts = [
        Script(replies=("One.",), recommended=SamplingParams(temperature=each, top_k=top_k))
        for each, top_k in ((0.2, 50), (0.7, 40))
    ]
    chat = ChatApp(tmp_path, scripts[0], second=(scripts[1], Gate()))
    async with running(chat, (120, 30)) as pilot:
        if is_own:
            chat.session.set_sampling(SamplingParams(temperature=1.5))
        ask_two_models(chat)
        chat.screen._show_candidates()
        await ended(pilot, chat)
        titles = ["1 · scripted", "2 · other"]
        if not is_own:
            titles = [f"{titles[0]} · temperature 0.2, top-k 50", f"{titles[1]} · temperature 0.7, top-k 40"]
        await until(
            pilot, lambda: [str(each.border_title) for each in chat.app.screen.query(LaneView)] == titles
        )


SAMPLINGS = st.builds(
    SamplingParams,
    temperature=st.sampled_from((0.2, 0.7)),
    top_k=st.sampled_from((40, 50)),
    seed=st.none() | st.integers(0, 9),
)


@given(
    st.lists(st.tuples(SAMPLINGS | st.none(), st.sets(st.sampled_from(("temperature", "top_k")))), max_size=5)
)
def test_what_a_label_names_and_what_is_the_same_for_all_is_not_said_again(
    made: list[tuple[SamplingParams | None, set[str]]],
) -> None:
    lanes: list[Any] = [
        SimpleNamespace(
            sampling=sampling,
            variant=Variant("", 0, ReplySettings(sampling=dict.fromkeys(names, 0))),
        )
        for sampling, names in made
    ]
    said = settings_beside(lanes)
    labelled = {name for _, names in made for name in names}
    known = [sampling for sampling, _ in made if sampling is not None]
    for (sampling, _), words in zip(made, said, strict=True):
        for name, shown in (("temperature", "temperature"), ("top_k", "top-k")):
            is_other = len({getattr(each, name) for each in known}) > 1 and name not in labelled
            assert (shown in words) == (is_other and sampling is not None)
        assert "seed" not in words


async def test_the_prompt_promises_nothing_while_only_the_second_model_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gate(), Gate()
    scripts = [Script(replies=("One two three.",), stepped=True) for _ in gates]
    chat = ChatApp(tmp_path, scripts[0], gates[0], second=(scripts[1], gates[1]))

    def die(request: GenerationRequest, _: object) -> Iterator[GenerationEvent]:
        yield GenerationStarted(request.id, 1, 0, 8)
        gates[0].wait(lambda: None)
        raise EngineDied("The engine's process was killed.")

    monkeypatch.setattr(chat.engine, "generate", die)
    async with running(chat, (80, 24)) as pilot:
        ask_two_models(chat)
        prompt = chat.screen.prompt
        await until(pilot, lambda: chat.session.second.running is not None)
        assert prompt.placeholder == placeholder.BUSY
        gates[0].release()
        await until(pilot, lambda: chat.session.has_failed)
        await until(pilot, lambda: prompt.placeholder == placeholder.FAILED)
        assert chat.session.is_answering
        await pilot.press(*"and", "enter")
        assert prompt.text == "and", "what is sent comes back"
        gates[1].open()
        await until(pilot, lambda: prompt.placeholder == PLACEHOLDER)


@pytest.mark.parametrize(
    "words", [placeholder.PAUSED, placeholder.BUSY, placeholder.FAILED, placeholder.ANSWERED]
)
async def test_at_80_columns_the_prompt_says_all_of_it(tmp_path: Path, words: str) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        chat.screen.prompt.placeholder = words
        await shows(pilot, chat, words)


def drawn(chunks: Sequence[RenderChunk] | Sequence[MessageChunk]) -> str:
    """The text of all lines, at one width wherever they are."""
    lines = [line for chunk in chunks for row in chunk.rows for line in row.lines(60)]
    return "\n".join("".join(span.content.plain for span in line) for line in lines)


ABLE = Capabilities().sampling | {"constraint"}
TEXTS = (
    '{"a": "*b*", "c_d_e": [1, 2]}',
    "1. *a* _b_ `c`\n\n- <b>d</b> # e",
    "<think>\n*so* it is\n</think>\n\n*a*",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "constraint", [None, *(Constraint(kind, ".,?") for kind in get_args(ConstraintKind))]
)
async def test_a_lane_shows_a_reply_as_the_chat_does(
    tmp_path: Path, constraint: Constraint | None, text: str
) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=(text,), batch_sizes=(2,), stepped=True, honours=ABLE), gate)
    async with running(chat, (150, 40)) as pilot:
        chat.session.set_sampling(SamplingParams(constraint=constraint))
        await pilot.press(*"count", "f12")
        gate.release(3)
        await until(pilot, lambda: chat.session.candidates.lanes[0].tokens == 3)
        lane = chat.session.candidates.lanes[0]

        async def is_alike() -> None:
            await settle(pilot, chat)
            chat.screen.transcript.flush()
            key = lane.message.id if lane.message else 0
            (in_chat,) = (each for each in chat.screen.query(MessageWidget) if each.view.key == key)
            view = chat.app.screen.query(LaneView).first()
            await until(pilot, lambda: drawn(view.chunks) == drawn(in_chat.chunks) != "")

        await is_alike()
        gate.open()
        await ended(pilot, chat)
        await is_alike()
        await pilot.press("r")
        await until(pilot, lambda: lane.state == "ended")
        await is_alike()
        if constraint is not None:
            assert "*a*" in drawn(chat.app.screen.query(LaneView).first().chunks) or text is TEXTS[0]


async def test_a_reply_that_fails_says_why_below_what_it_has(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("One two three.",), batch_sizes=(2,), fault="raise", fault_at=2))
    async with running(chat) as pilot:
        chat.screen.prompt.text = "/candidates 2 count"
        await pilot.press("enter")
        await ended(pilot, chat)
        await shows(pilot, chat, "The script says so.")
        lines = on_screen(chat).splitlines()
        text = next(number for number, line in enumerate(lines) if "One" in line)
        assert lines[text + 2].count("The script says so.") == 2


@pytest.mark.parametrize(
    ("reason", "tokens", "words"),
    [
        ("length", 41, "✓ 41 tok · ended at max tokens · 94.2 tok/s"),
        ("cancelled", 104, "■ 41 new of 104 tok · stopped · 94.2 tok/s"),
        ("error", 41, "■ 41 tok · failed · 94.2 tok/s"),
        ("stop", 41, "✓ 41 tok · 94.2 tok/s"),
    ],
)
def test_how_a_lane_ended_comes_before_its_rate(reason: FinishReason, tokens: int, words: str) -> None:
    assert figures_of_lane(ended_lane(reason, tokens, 41, 94.2)) == words


@settings(max_examples=sized(100, 3_000))
@given(
    st.sampled_from(["length", "context", "cancelled", "stop"]),
    st.integers(1, 9_999),
    st.integers(1, 9_999),
    st.floats(0.1, 999.4),
    st.sampled_from(["", "a-second-model"]),
    st.integers(34, 80),
)
def test_a_lane_of_half_a_screen_of_80_cells_has_its_end_and_its_rate(
    reason: FinishReason, tokens: int, added: int, rate: float, model: str, room: int
) -> None:
    """It is 38 cells wide, four of them beside the words."""
    words = figures_of_lane(ended_lane(reason, max(tokens, added), added, rate, model), room)
    assert len(words) <= room
    assert words.count("tok/s") == 1
    short = {"length": "max tokens", "context": "context", "cancelled": "stopped", "stop": "✓"}
    assert short[reason] in words


def test_a_lane_shortens_first_what_can_be_shortened() -> None:
    lane = ended_lane("length", 1024, 1024, 94.2, "second")
    assert [figures_of_lane(lane, room) for room in (80, 50, 40, 34)] == [
        "✓ 1,024 tok · ended at max tokens · 94.2 tok/s · TTFT 0.10 s",
        "✓ 1,024 tok · max tokens · 94.2 tok/s",
        "✓ 1,024 tok · max tokens · 94.2 tok/s",
        "✓ 1,024 · max tokens · 94 tok/s",
    ]


def ended_lane(reason: FinishReason, tokens: int, added: int, rate: float, model: str = "") -> Any:
    stats = GenerationStats(completion_tokens=added, decode_tps=rate, ttft_s=0.1)
    ending = LaneEnding(reason, stats)
    return SimpleNamespace(state="ended", tokens=tokens, variant=SimpleNamespace(model=model), ending=ending)
