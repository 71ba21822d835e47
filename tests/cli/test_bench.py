"""`bench` gives the field's figures for any engine, and upstream's beside those of a card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.engine.tenstorrent.fake_system import FakeSystem
from tests.fakes import Script, ScriptedEngine
from ttchat_tui.cli import chat
from ttchat_tui.cli.bench.command import lines
from ttchat_tui.cli.bench.run import Workload, measure, measure_concurrently
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.main import app
from ttchat_tui.config.load import load_config
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import EngineKind, ModelSpec, TenstorrentOptions
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.base import BatchTooLarge, EngineError
from ttchat_tui.engine.tenstorrent.references import device_name, references_for

LONG = " ".join(f"word{number}" for number in range(300))
KEYS = {"load_s", "compile_prefill_s", "ttft_ms", "prefill_tps", "decode_tps_user", "decode_tps", "token_ms"}


class Clockwork(ScriptedEngine):
    """The first prefill takes 2 s, later ones 0.5 s; the first step takes 1 s, later ones 0.01 s."""

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.requests.append(request)
        tokens = request.sampling.max_tokens
        prefill = 2.0 if len(self.requests) == 1 else 0.5
        steps = [prefill, *(prefill + 1 + 0.01 * step for step in range(tokens - 1))]
        for at in steps:
            for row in range(request.rows):
                yield TokenEvent(request.id, (1,), "x", (at,), row=row)
        stats = GenerationStats(
            prompt_tokens=100, prefill_s=prefill, prefill_tps=100 * request.rows / prefill, ttft_s=9
        )
        yield GenerationFinished(request.id, "length", stats)


def nothing(_progress: object) -> None:
    """A reporter that does nothing."""


def clockwork() -> Clockwork:
    return Clockwork(Script(context_length=4096, batch_sizes=(1, 2, 4), replies=(LONG,)))


SPEC = ModelSpec(name="scripted")


def test_the_first_prefill_and_the_first_step_are_kept_apart() -> None:
    figures = measure(clockwork(), SPEC, Workload(tokens=130), nothing)
    assert figures.compile_prefill_s == 2.0
    assert figures.ttft_ms == pytest.approx(500)
    assert figures.decode_tps_user == pytest.approx(100)
    assert figures.decode_tps == pytest.approx(100)
    assert figures.tokens == 130
    assert figures.token_ms == pytest.approx({"1": 10, "128": 10})


def test_a_batch_divides_the_ttft_and_multiplies_the_rate() -> None:
    figures = measure(clockwork(), SPEC, Workload(tokens=20, batch=4), nothing)
    assert figures.ttft_ms == pytest.approx(125)
    assert figures.decode_tps_user == pytest.approx(100)
    assert figures.decode_tps == pytest.approx(400)


def test_concurrent_requests_have_figures_of_their_own() -> None:
    engines = [clockwork(), clockwork(), clockwork()]
    figures = measure_concurrently(engines, SPEC, Workload(tokens=20), nothing)
    assert (figures.concurrency, figures.decode_tps) == (3, None)
    assert [each.ttft_ms for each in figures.streams] == pytest.approx([500, 2000, 2000]), "the first is warm"
    assert [each.tokens for each in figures.streams] == [20] * 3
    assert [each.decode_tps for each in figures.streams] == [pytest.approx(100)] * 3


def test_the_total_rate_is_by_the_clock_and_not_the_sum_of_rates() -> None:
    figures = measure_concurrently([clockwork(), clockwork()], SPEC, Workload(tokens=20), nothing)
    last_token_s = 2 + 1 + 0.01 * 18
    assert figures.total_tps == pytest.approx(2 * 20 / last_token_s, rel=0.1)


def test_concurrent_requests_are_reported_one_by_one_and_together() -> None:
    shown = "\n".join(
        lines(measure_concurrently([clockwork(), clockwork()], SPEC, Workload(tokens=20), nothing), ())
    )
    assert "stream 2         TTFT 2,000.0 ms, 100.0 tok/s  (20 tokens)" in shown
    assert "2 at once, first request to last token" in shown
    assert "decode, all" not in shown


@pytest.mark.parametrize("wanted", [60, 128, 333])
def test_the_prompt_has_the_length_that_was_asked_for(wanted: int) -> None:
    figures = measure(
        ScriptedEngine(Script(context_length=4096, replies=(LONG,))),
        SPEC,
        Workload(prompt_tokens=wanted, tokens=8),
        nothing,
    )
    assert figures.prompt_tokens == wanted


def test_the_measured_prompt_shares_no_head_with_the_first() -> None:
    engine = clockwork()
    measure(engine, SPEC, Workload(tokens=8), nothing)
    first, second = engine.requests
    assert first.messages[0].content[0] != second.messages[0].content[0]
    assert first.messages[1] == second.messages[1]


def test_more_rows_than_the_engine_takes_are_refused() -> None:
    with pytest.raises(BatchTooLarge, match="8 candidates"):
        measure(clockwork(), SPEC, Workload(batch=8), nothing)


def test_an_error_of_the_engine_is_the_benchs() -> None:
    engine = ScriptedEngine(Script(context_length=4096, fault="raise"))
    with pytest.raises(EngineError):
        measure(engine, SPEC, Workload(tokens=8), nothing)


@pytest.fixture
def scripted_command(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def alone(_invocation: object, kind: EngineKind = "tt"):
        spec = ModelSpec(name="meta-llama/Llama-3.1-8B-Instruct", engine=kind)
        return clockwork(), lambda _report: spec

    monkeypatch.setattr(chat, "engine_alone", alone)
    monkeypatch.setenv("MESH_DEVICE", "N150")
    return monkeypatch


def test_json_has_the_keys_of_the_figures_and_the_references(scripted_command: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["bench", "--tokens", "20", "--output", "json"])
    assert result.exit_code == 0, result.output
    decoded = msgspec.json.decode(result.stdout)
    assert decoded.keys() >= KEYS
    assert {(each["device"], each["decode_tps_user"]) for each in decoded["references"]} == {
        ("N150", 28.3),
        ("N150", 25.2),
        ("N150", 22.3),
    }


def test_upstreams_figures_are_below_those_of_a_card_with_their_source(
    scripted_command: pytest.MonkeyPatch,
) -> None:
    result = CliRunner().invoke(app, ["bench", "--tokens", "20"])
    assert "28.3 tok/s/user, TTFT 104 ms" in result.stdout
    assert "PERF.md" in result.stdout


@pytest.mark.parametrize(("rows", "at_load"), [("2", 2), ("3", 4), ("17", 32)])
def test_a_card_is_loaded_with_as_many_rows_as_the_batch_wants(
    scripted_command: pytest.MonkeyPatch, rows: str, at_load: int
) -> None:
    """Whichever way the engine was chosen: the number is fixed at load, and a power of two."""
    seen: list[int] = []
    alone = chat.engine_alone

    def look(invocation: Invocation):
        config = load_config(invocation.paths, environ={}, flags=invocation.flags)
        seen.append(config.tt.max_batch_size)
        return alone(invocation)

    scripted_command.setattr(chat, "engine_alone", look)
    CliRunner().invoke(app, ["bench", "--tokens", "20", "--batch", rows])
    assert seen == [at_load]


def test_concurrency_is_refused_for_an_engine_of_this_machine(scripted_command: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["bench", "--concurrency", "2"])
    assert result.exit_code == 2
    assert "--engine remote" in result.output


@pytest.mark.parametrize("file", ["", "."])
def test_a_trace_needs_the_name_of_a_file(scripted_command: pytest.MonkeyPatch, file: str) -> None:
    result = CliRunner().invoke(app, ["bench", "--trace", file])
    assert result.exit_code == 2
    assert "--trace" in result.output


def test_references_are_found_by_the_base_name_of_the_model() -> None:
    assert [each.device for each in references_for("/models/Llama-3.2-1B-Instruct")] == [
        "N150",
        "N300",
        "T3K",
    ]
    assert references_for("SmolLM2-135M-Instruct") == ()


@pytest.mark.parametrize(
    ("cards", "device"),
    [
        (["n150"], "N150"),
        (["n300"], "N300"),
        (["n300", "n300"], "N150"),
        (["p150a"], "P150"),
        (["p300c", "p300c"], "P300"),
        (["n150", "p150b"], "N150"),
        (["", ""], ""),
        ([], ""),
    ],
)
def test_figures_are_compared_with_those_of_the_mesh_that_a_load_uses(
    tmp_path: Path, cards: list[str], device: str
) -> None:
    machine = FakeSystem(tmp_path)
    for number, card_type in enumerate(cards):
        machine.add_card(number, {"tt_card_type": card_type}, {})
    environ = {SYSTEM_ROOT: str(tmp_path)}
    assert device_name(TenstorrentOptions(), environ) == device
    named = {**environ, "MESH_DEVICE": "T3K"}
    assert device_name(TenstorrentOptions(), named) == "T3K"
    assert device_name(TenstorrentOptions(mesh_device="N300"), named) == "N300"


@pytest.mark.parametrize(("flags", "setting"), [((), "off"), (("--speculation", "auto"), "auto")])
def test_speculation_is_off_unless_it_is_asked_for(
    scripted_command: pytest.MonkeyPatch, flags: tuple[str, ...], setting: str
) -> None:
    seen: list[str] = []
    alone = chat.engine_alone

    def look(invocation: Invocation):
        seen.append(load_config(invocation.paths, environ={}, flags=invocation.flags).cpu.speculation)
        return alone(invocation)

    scripted_command.setattr(chat, "engine_alone", look)
    assert CliRunner().invoke(app, ["bench", "--tokens", "20", *flags]).exit_code == 0
    assert seen == [setting]


@pytest.mark.parametrize(
    ("engine", "is_speculating", "each", "words"),
    [
        ("cpu", True, 2.125, "(20 tokens, 2.1 a forward by prompt lookup)"),
        ("cpu", True, None, "(20 tokens)"),
        ("cpu", False, None, "(20 tokens, without speculation)"),
        ("tt", False, None, "(20 tokens)"),
    ],
)
def test_the_decode_rate_says_whether_speculation_is_in_it(
    engine: str, is_speculating: bool, each: float | None, words: str
) -> None:
    figures = measure(clockwork(), SPEC, Workload(tokens=20), nothing)
    figures = msgspec.structs.replace(
        figures, engine=engine, is_speculating=is_speculating, tokens_per_forward=each
    )
    (decode,) = (line for line in lines(figures, ()) if line.startswith("decode  "))
    assert decode.endswith(words)
