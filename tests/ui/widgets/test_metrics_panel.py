"""MetricsPanel: aligned figures, dashes for unknown ones, repaints on changes only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.widgets import Static

from tests.ui.chat_app import until
from tests.ui.widgets.controls_app import ControlsApp, row_text
from ttchat_tui.ui.widgets.metrics.panel import Metrics, MetricsPanel, MetricsTable
from ttchat_tui.ui.widgets.metrics.rate_graph import RateGraph, bars

SOME = Metrics(
    phase="decode",
    ttft_s=0.14,
    prefill_tps=1210.4,
    decode_now_tps=94.23,
    decode_mean_tps=93.8,
    itl_p50_s=0.0104,
    itl_p95_s=0.0121,
    prompt_tokens=612,
    cached_tokens=580,
    completion_tokens=41,
    context_used=653,
    context_length=8192,
    rss_bytes=512_300_000,
    load_s=1.2,
    model="SmolLM2-135M-Instruct",
    engine_label="cpu f16",
    threads=2,
    history=(80.0, 94.2),
)


def rows(panel: MetricsPanel) -> list[str]:
    table = panel.query_one(MetricsTable)
    return [row_text(table, y) for y in range(table.size.height)]


async def test_every_figure_has_its_row_and_the_numbers_end_in_one_column() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(34, 40)) as pilot:
        panel.show(SOME)
        await pilot.pause()
        assert [line.rstrip() for line in rows(panel)] == [
            "decode             94.2 tok/s",
            "mean               93.8 tok/s",
            "TTFT               0.14 s",
            "prefill           1,210 tok/s",
            "step p50           10.4 ms",
            "step p95           12.1 ms",
            "prompt              612 tokens",
            "cached              580 tokens",
            "reply                41 tokens",
            "context  ━──────── 653 / 8,192",
            "memory              512 MB",
            "load               1.20 s",
            "model    SmolLM2-135M-Instruct",
            "engine 2T              cpu f16",
            "phase                   decode",
        ]


async def test_the_longest_label_of_the_cpu_engine_and_its_threads_are_whole() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(36, 40)) as pilot:
        panel.show(replace(SOME, engine_label="cpu q4_1 native kv-q8", threads=16))
        await pilot.pause()
        assert rows(panel)[13].rstrip() == "engine 16T cpu q4_1 native kv-q8"


async def test_unknown_figures_are_dashes() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(34, 40)) as pilot:
        await pilot.pause()
        for line in rows(panel):
            assert "–" in line
            assert not any(character.isdigit() for character in line.replace("p50", "").replace("p95", ""))


@pytest.mark.parametrize("width", [30, 34, 44])
async def test_no_row_changes_its_width_with_its_numbers(width: int) -> None:
    panel = MetricsPanel()
    large = replace(
        SOME, decode_now_tps=12_345.6, prompt_tokens=131_072, rss_bytes=123_456_000_000, ttft_s=123.4
    )
    async with ControlsApp(panel).run_test(size=(width, 40)) as pilot:
        for metrics in (SOME, large, Metrics()):
            panel.show(metrics)
            await pilot.pause()
            assert {len(line) for line in rows(panel)} == {width - 4}
            assert all(line[:8].strip() for line in rows(panel))


async def test_a_name_is_never_markup_and_never_a_control_character() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(44, 40)) as pilot:
        panel.show(replace(SOME, model="[red]x[/] \x1b[2J\n\ty"))
        await pilot.pause()
        (line,) = [line for line in rows(panel) if line.startswith("model")]
        assert line.endswith("[red]x[/] ␛[2J y")


async def test_a_long_name_is_cut() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(30, 40)) as pilot:
        panel.show(replace(SOME, model="模型" * 20))
        await pilot.pause()
        (line,) = [line for line in rows(panel) if line.startswith("model")]
        assert line.endswith("…")


async def test_figures_shown_before_it_is_mounted_are_there() -> None:
    panel = MetricsPanel()
    panel.show(SOME)
    async with ControlsApp(panel).run_test(size=(34, 40)) as pilot:
        await pilot.pause()
        assert rows(panel)[0].split() == ["decode", "94.2", "tok/s"]
        assert row_text(panel.query_one(RateGraph)).endswith("▁▇█")


async def test_nothing_is_repainted_when_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(34, 40)) as pilot:
        panel.show(SOME)
        await pilot.pause()
        table, graph = panel.query_one(MetricsTable), panel.query_one(RateGraph)
        renders: list[str] = []
        for widget, name in ((table, "table"), (graph, "graph")):
            drawn = widget.render
            monkeypatch.setattr(
                widget, "render", lambda drawn=drawn, name=name: (renders.append(name), drawn())[1]
            )
        panel.show(replace(SOME))
        await pilot.pause()
        assert renders == []
        panel.show(replace(SOME, history=(1.0, 2.0)))
        await pilot.pause()
        assert set(renders) == {"graph"}
        renders.clear()
        panel.show(replace(SOME, history=(1.0, 2.0), completion_tokens=42))
        await pilot.pause()
        assert set(renders) == {"table"}


async def test_new_figures_are_no_reason_for_a_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = MetricsPanel()
    app = ControlsApp(panel, Static("other"))
    async with app.run_test(size=(34, 40)) as pilot:
        await pilot.pause()
        layouts: list[object] = []
        refresh = app.screen._refresh_layout
        monkeypatch.setattr(
            app.screen, "_refresh_layout", lambda *args, **options: (layouts.append(args), refresh())[1]
        )
        panel.show(SOME)
        await pilot.pause()
        assert rows(panel)[0].split() == ["decode", "94.2", "tok/s"]
        assert layouts == []


async def test_a_low_panel_shows_the_first_figures_and_scrolls_to_the_rest() -> None:
    panel = MetricsPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=(34, 20)) as pilot:
        await pilot.pause()
        assert panel.size.height <= 10
        panel.focus()
        await pilot.press("end")
        await until(pilot, lambda: panel.scroll_offset.y == panel.max_scroll_y > 0)
        assert panel.has_focus


async def test_a_panel_that_shows_everything_is_not_focusable() -> None:
    panel = MetricsPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=(34, 50)) as pilot:
        await pilot.press("tab")
        assert app.focused is None


async def test_over_a_network_the_first_token_is_named_with_it_and_steps_are_gaps() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(34, 40)) as pilot:
        panel.show(replace(SOME, is_over_network=True))
        await pilot.pause()
        assert [line.split() for line in rows(panel)][2:6] == [
            ["TTFT+net", "0.14", "s"],
            ["prefill", "1,210", "tok/s"],
            ["gap", "p50", "10.4", "ms"],
            ["gap", "p95", "12.1", "ms"],
        ]


async def test_estimated_figures_are_marked() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(34, 40)) as pilot:
        panel.show(replace(SOME, is_estimate=True))
        await pilot.pause()
        marked = [line.split()[0] for line in rows(panel) if "~" in line]
        assert marked == ["decode", "mean", "prompt", "reply"]


@pytest.mark.parametrize(
    ("rates", "drawn"),
    [
        ((), "▁▁▁▁▁▁"),
        ((0.0, 0.0), "▁▁▁▁▁▁"),
        ((100.0,), "▁▁▁▁▁█"),
        ((98.0, 100.0, 99.0), "▁▁▁███"),
        ((50.0, 100.0, 1.0, 0.0), "▁▁▅█▂▁"),
        ((200.0, *[100.0] * 6), "▅▅▅▅▅▅"),
    ],
)
def test_the_rate_is_drawn_from_zero_and_aligned_right(rates: tuple[float, ...], drawn: str) -> None:
    assert bars(rates, 6) == drawn


def test_no_width_is_no_graph() -> None:
    assert bars((1.0, 2.0), 0) == ""


def test_what_the_labels_leave_open_is_explained_under_the_pointer() -> None:
    shown = str(MetricsTable().tooltip)
    for word in ("step: ", "Speculation", "cached: ", "2T: "):
        assert word in shown
