"""StatusLine: the model, the state, and how full the context is, at any width."""

from __future__ import annotations

import pytest

from tests.ui.widgets.controls_app import ControlsApp, row_text
from ttchat_tui.domain.events import EngineState, LoadProgress
from ttchat_tui.ui.widgets.status_line import StatusLine

MODEL = "SmolLM2-135M-Instruct"


async def shown(status: StatusLine, width: int) -> str:
    """The row at that width, without the blank at either end."""
    async with ControlsApp(status).run_test(size=(width, 3)) as pilot:
        await pilot.pause()
        line = row_text(status)
        assert len(line) == width - 2
        return line


def running() -> StatusLine:
    status = StatusLine()
    status.set_model(MODEL, "cpu int4")
    status.set_state("generating")
    status.set_context(612, 8192)
    return status


async def test_a_wide_line_says_everything() -> None:
    line = await shown(running(), 120)
    assert line.startswith(f"ttchat   {MODEL} · cpu int4 · ● generating  ")
    assert line.endswith("  context ━───────   612 / 8,192")


async def test_what_the_engine_does_takes_the_place_of_the_states_word() -> None:
    status = running()
    async with ControlsApp(status).run_test(size=(120, 3)) as pilot:
        for change, expected in (
            (lambda: status.set_detail("the prompt 792 / 2,800", word="reading"), "● reading the prompt 792 / 2,800"),
            (lambda: status.set_detail(""), "● generating  "),
            (lambda: status.set_detail("lab is busy", word="waiting:"), "● waiting: lab is busy"),
            (lambda: status.set_state("ready"), "● ready  "),
        ):  # fmt: skip
            change()
            await pilot.pause()
            assert expected in row_text(status)


NARROW = (
    (82, f"{MODEL} · cpu int4 · ● generating      context ━───────   612 / 8,192"),
    (72, f"{MODEL} · cpu int4 · ● generating     context   612 / 8,192"),
    (66, f"{MODEL} · cpu int4 · ● generating       612 / 8,192"),
    (64, f"{MODEL} · cpu int4 · ● generating  612 / 8,192"),
    (60, f"{MODEL} · ● generating  612 / 8,192"),
    (54, f"{MODEL} · ● generating    612 / 8,192"),
    (40, f"{MODEL} · ● generating"),
    (30, "SmolLM2-135M… · ● generating"),
    (25, "SmolLM2… · ● generating"),
    (14, "SmolLM2… · …"),
)


async def test_a_narrow_line_drops_what_matters_least() -> None:
    status = running()
    async with ControlsApp(status).run_test(size=(120, 3)) as pilot:
        for width, line in NARROW:
            await pilot.resize_terminal(width, 3)
            await pilot.pause()
            assert row_text(status).split() == line.split(), width


async def test_no_width_breaks_the_line() -> None:
    status = running()
    status.set_notice("memory only: nothing is kept")
    async with ControlsApp(status).run_test(size=(130, 3)) as pilot:
        for width in range(1, 130, 7):
            await pilot.resize_terminal(width, 3)
            await pilot.pause()
            assert len(row_text(status)) == max(0, width - 2)


async def test_a_model_that_is_gone_is_not_named() -> None:
    status = StatusLine()
    status.set_model("smollm2", "cpu int4")
    status.set_state("empty")
    assert (await shown(status, 80)).strip() == "ttchat   ○ no model"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("empty", "○ no model"),
        ("ready", "● ready"),
        ("generating", "● generating"),
        ("unloading", "○ unloading"),
        ("failed", "✗ failed"),
    ],
)
async def test_every_state_has_a_word_and_a_sign(state: EngineState, words: str) -> None:
    status = StatusLine()
    status.set_state(state, "prefill")
    assert (await shown(status, 80)).strip() == f"ttchat   {words} prefill"


async def test_states_differ_in_colour() -> None:
    colours = set()
    status = StatusLine()
    async with ControlsApp(status).run_test(size=(60, 3)) as pilot:
        for state in ("loading", "ready", "generating", "failed"):
            status.set_state(state)
            await pilot.pause()
            (segment,) = [part for part in status.render_line(0) if part.text.startswith(("●", "✗"))]
            assert segment.style is not None
            colours.add(segment.style.color)
    assert len(colours) == 4


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (LoadProgress("read", 43, 100, "tensors"), "● reading ━━━─────  43 %  43 / 100 tensors"),
        (
            LoadProgress("download", 12_000_000, 98_000_000, "bytes"),
            "● downloading ━───────  12 % 12 / 98 MB",
        ),
        (
            LoadProgress("download", 1_200_000_000, 16_000_000_000, "bytes"),
            "● downloading ━───────   7 %  1.2 / 16.0 GB",
        ),
        (LoadProgress("download", 12_000_000, 0, "bytes"), "● downloading 12 MB"),
        (LoadProgress("convert", 12, 30, "layers"), "● preparing ━━━─────  40 % 12 / 30 layers"),
        (LoadProgress("warm up"), "● warming up"),
        (LoadProgress("verify", detail="model.gguf"), "● verifying model.gguf"),
        (LoadProgress("read", 100, 100, "tensors"), "● reading ━━━━━━━━ 100 % 100 / 100 tensors"),
    ],
)
async def test_progress_is_shown_while_loading(progress: LoadProgress, words: str) -> None:
    status = StatusLine()
    status.set_state("loading")
    status.set_progress(progress)
    assert words in await shown(status, 100)


@pytest.mark.parametrize(
    "wanted", ["qwen3-0.6b", "~/models/qwen3-0.6b", "cpu:/srv/qwen3-0.6b/", "org/qwen3-0.6b"]
)
async def test_the_model_that_is_being_loaded_is_named(wanted: str) -> None:
    status = running()
    status.set_state("loading", wanted)
    status.set_progress(LoadProgress("convert", 12, 30, "layers"))
    assert (await shown(status, 110)).startswith("ttchat   qwen3-0.6b · ● preparing ━━━─────  40 %")


async def test_progress_ends_with_the_loading() -> None:
    status = StatusLine()
    status.set_state("loading")
    status.set_progress(LoadProgress("read", 1, 2, "tensors"))
    status.set_state("ready")
    status.set_state("loading")
    assert "read" not in await shown(status, 100)


async def test_progress_shrinks_to_its_percentage() -> None:
    status = StatusLine()
    status.set_model(MODEL, "cpu int4")
    status.set_state("loading", MODEL)
    status.set_progress(LoadProgress("read", 43, 100, "tensors", "a-file-with-a-long-name.gguf"))
    assert (await shown(status, 60)).strip() == f"{MODEL} · ● reading  43 %"


async def test_the_meter_turns_warm_as_the_context_fills() -> None:
    colours = []
    status = StatusLine()
    async with ControlsApp(status).run_test(size=(80, 3)) as pilot:
        for used in (100, 850, 990):
            status.set_context(used, 1000)
            await pilot.pause()
            (segment,) = [part for part in status.render_line(0) if "━" in part.text]
            assert segment.style is not None
            colours.append(segment.style.color)
    assert len(set(colours)) == 3


async def test_no_context_no_meter() -> None:
    status = running()
    status.set_context(0, 0)
    assert "context" not in await shown(status, 120)


async def test_the_notice_outlives_everything_else() -> None:
    status = running()
    status.set_notice("nothing is kept")
    assert "nothing is kept" in await shown(status, 60)


async def test_names_and_notices_are_never_markup_or_control_characters() -> None:
    status = StatusLine()
    status.set_model("[red]m[/]\x1b]0;x\x07", "[b]")
    status.set_state("ready", "\x9b[x]\n")
    status.set_notice("[link]\u202e")
    line = await shown(status, 100)
    assert line.strip() == "ttchat   [red]m[/]␛]0;x␇ · [b] · ● ready �[x] · [link]↤"


async def test_setting_the_same_values_again_repaints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    status = running()
    async with ControlsApp(status).run_test(size=(100, 3)) as pilot:
        await pilot.pause()
        renders: list[None] = []
        drawn = status.render
        monkeypatch.setattr(status, "render", lambda: (renders.append(None), drawn())[1])
        status.set_model(MODEL, "cpu int4")
        status.set_state("generating")
        status.set_context(612, 8192)
        status.set_notice("")
        status.set_progress(None)
        await pilot.pause()
        assert renders == []
        status.set_context(613, 8192)
        await pilot.pause()
        assert renders
