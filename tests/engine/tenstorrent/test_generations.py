"""The engine over each generation of tt_transformers: the same text from all, and a card left as it should be."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.tenstorrent.fakes import card, s1, s5, s7
from tests.engine.tenstorrent.fakes.card import EVENTS, TRACE_BYTES, lasting, misuses
from tests.engine.tenstorrent.fakes.generator import ModelArgs
from tests.engine.tenstorrent.fakes.installation import GENERATIONS, Installation
from tests.engine.tenstorrent.talk import DRAWN, FIRST, GREEDY, SECOND, expected, load, reply
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.tenstorrent.adapter import identify
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
from ttchat_tui.engine.tenstorrent.environment import GENERATOR, Checkout
from ttchat_tui.engine.tenstorrent.source_profile import MODEL_CONFIG


@pytest.fixture(params=GENERATIONS)
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with Installation(request.param, tmp_path) as installation:
        yield installation


def test_each_generation_gives_the_text_of_a_full_prefill_for_each_token(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    wanted = [expected(installed, messages) for messages in (FIRST, SECOND)]
    load(engine, installed)
    said = [reply(engine, messages)[0] for messages in (FIRST, SECOND, FIRST)]
    assert said == [*wanted, wanted[0]]


def test_without_a_trace_the_text_is_the_same(engine: TenstorrentEngine, installed: Installation) -> None:
    load(engine, installed)
    traced = reply(engine)
    assert "trace" in lasting()
    engine.unload()
    EVENTS.clear()
    load(engine, installed, trace=False)
    assert reply(engine) == traced
    assert not {"trace", "release"} & set(lasting())


def test_each_row_of_a_batch_is_the_reply_of_its_own_seed(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    """Three rows of four: one is idle, and the rows end one after the other."""
    load(engine, installed)
    short = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=5)
    rows = reply(engine, FIRST, DRAWN, 7, Candidate(seed=8, sampling=short), Candidate(seed=9))
    alone = [reply(engine, FIRST, DRAWN, seed)[0] for seed in (7, 8, 9)]
    assert rows == [alone[0], alone[1][:5], alone[2]]
    assert [len(row) for row in rows] == [12, 5, 12]
    assert len({tuple(row[:5]) for row in rows}) == 3


def test_nothing_is_swallowed_misused_or_left_on_the_card(
    engine: TenstorrentEngine, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    generators: list[Any] = []
    if installed.api == "generator":
        module: Any = importlib.import_module(f"tests.engine.tenstorrent.fakes.{_name(installed)}")
        first = module.Generator.__init__

        def keep(self: Any, *args: Any, **settings: Any) -> None:
            first(self, *args, **settings)
            generators.append(self.swallowed)

        monkeypatch.setattr(module.Generator, "__init__", keep)
    load(engine, installed)
    reply(engine)
    reply(engine, SECOND, DRAWN, 1, Candidate(seed=2), Candidate(seed=3))
    engine.unload()
    assert not any(generators)
    assert not misuses()
    end = ["cleanup"] if installed.api == "package" else []
    assert lasting() == ["open", "trace", *end, "release", "synchronize", "close"]


def _name(installed: Installation) -> str:
    library = Checkout(Path(installed.variables["TT_METAL_HOME"]), "TT_METAL_HOME").library
    return (library / GENERATOR).read_text().split(".fakes.")[1].split()[0]


def test_a_trace_region_that_is_too_small_is_enlarged_after_closing_the_mesh(
    engine: TenstorrentEngine, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACE_BYTES, "60817408")
    load(engine, installed, trace_region_bytes=50_000_000)
    first, _, second = "\n".join(lasting()).rpartition("open")
    assert second == "\ntrace"
    assert first.startswith("open")
    assert "close" in first
    assert not misuses()
    assert len(reply(engine)[0]) == 24


def test_a_load_that_fails_half_way_leaves_the_mesh_closed(
    engine: TenstorrentEngine, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("TT_FATAL @ x.cpp:1: no\ninfo:\nOut of luck\nbacktrace:\n --- native")

    monkeypatch.setattr(card.Transformer, "decode", fail)
    with pytest.raises(EngineError, match="Out of luck") as caught:
        load(engine, installed)
    assert "backtrace" not in str(caught.value)
    assert EVENTS[-1] == "close"
    assert not misuses()
    monkeypatch.undo()
    with Installation(GENERATIONS[0], Path(installed.site.parent, "again")) as again:
        load(engine, again)
        assert reply(engine)


def test_an_error_in_mid_reply_is_reported_and_the_next_reply_is_whole(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed)
    whole = reply(engine)
    control = GenerationControl(GREEDY)
    events = []
    with pytest.MonkeyPatch.context() as patch:
        for event in engine.generate(
            GenerationRequest(id=2, messages=FIRST, sampling=GREEDY, seed=1), control
        ):
            events.append(event)
            if len([e for e in events if isinstance(e, TokenEvent)]) == 3:
                patch.setattr(card.Transformer, "_logits", lambda *_: 1 / 0)
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason == "error"
    assert events[-1].stats.completion_tokens >= 3
    assert reply(engine) == whole


@pytest.mark.parametrize(
    ("generation", "profile"),
    [("s1", "S1"), ("s2", "S1"), ("s3", "S3"), ("s4", "S4"), ("s5", "S5"), ("s6", "S6"), ("compat", "S6")],
)
def test_a_generation_is_identified_by_its_signatures(generation: str, profile: str) -> None:
    module: Any = importlib.import_module(f"tests.engine.tenstorrent.fakes.{generation}")
    found = identify(module.Generator)
    assert found.name == profile
    assert found.has_start_pos == (profile == "S6")
    assert ("warmup_prefill" in found.prefill_keywords) == (profile in ("S5", "S6"))
    assert ("enable_trace" in found.prefill_keywords) == (profile in ("S4", "S5", "S6"))


@pytest.mark.parametrize(
    ("device", "rows", "is_noted"), [("P150", 7, False), ("P100", 1, False), ("P100", 7, True)]
)
def test_a_p100_has_a_note_if_the_checkout_garbles_its_short_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, rows: int, is_noted: bool
) -> None:
    monkeypatch.setattr(ModelArgs, "device_name", device)
    with Installation("s5", tmp_path) as installed:
        config = Path(installed.variables["TT_METAL_HOME"], "models/tt_transformers", MODEL_CONFIG)
        config.write_text(
            f"{config.read_text()}\ndef program(self):\n    return dict(per_core_M={rows}\n"
            '    if self.device_name == "P100"\n    else 1)\n'
        )
        engine = TenstorrentEngine()
        notes = load(engine, installed).notes
        engine.close()
    assert ["50656" in note and str(config) in note for note in notes] == [True] * is_noted


def test_a_generator_whose_only_decode_is_the_vision_models_is_refused_with_what_was_found() -> None:
    class Vision(s1.Generator):
        decode_forward_text = None  # type: ignore[assignment]

    with pytest.raises(EngineError, match="start_pos, tokens") as caught:
        identify(Vision)
    assert caught.value.info.kind == "unknown_generation"
    assert "tt-metal" in caught.value.info.cure


def test_a_contract_with_other_flags_is_refused() -> None:
    class Newer(s5.PrefillsInWaves):
        def decode_forward(
            self, tokens: Any, start_pos: Any, *, reload_inputs: bool, reload_all: bool
        ) -> None:
            """Half of the contract."""

    with pytest.raises(EngineError, match="reload_all"):
        identify(Newer)


def test_the_packages_older_executor_gives_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s7, "ReloadingExecutor", s7.Executor)
    with Installation("s7", tmp_path) as installed:
        engine = TenstorrentEngine()
        load(engine, installed)
        assert reply(engine)[0] == expected(installed)
        engine.close()


@pytest.mark.parametrize("chunk", ["4096", "131072"])
def test_the_package_answers_prompts_beyond_4k_with_a_trace(tmp_path: Path, chunk: str) -> None:
    with Installation("s7", tmp_path, {card.CHUNK: chunk}) as installed:
        config = installed.checkpoint / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 8192}))
        engine = TenstorrentEngine()
        engine.load(installed.spec(8192), lambda progress: None)
        long = (ChatMessage("user", " ".join(["word"] * 5000)),)
        assert len(reply(engine, long, msgspec.structs.replace(GREEDY, max_tokens=3))[0]) == 3
        engine.close()


def test_a_package_without_executors_is_refused_with_a_cure(tmp_path: Path) -> None:
    with Installation("s7", tmp_path) as installed:
        (installed.site / "tt_transformers" / "models" / "llama32_1b" / "hf_generator.py").unlink()
        with pytest.raises(ModelLoadError, match="hf_generator") as caught:
            load(TenstorrentEngine(), installed)
    assert "Update" in caught.value.info.cure
