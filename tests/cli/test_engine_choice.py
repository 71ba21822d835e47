"""Which engine a start chooses, and its time-outs."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import threading
from pathlib import Path

import msgspec
import pytest

from ttchat_tui.cli import chat, engine_choice
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.schema import Config
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.runtime.child import Timeouts
from ttchat_tui.engine.runtime.timeouts import with_minimum
from ttchat_tui.engine.tenstorrent.declaration import TENSTORRENT

CARD = TENSTORRENT.min_timeouts


def configured(engine: str) -> Config:
    return msgspec.convert({"model": {"engine": engine}}, Config)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine with ttnn and no card."""
    monkeypatch.setenv(SYSTEM_ROOT, str(tmp_path))
    found = importlib.machinery.ModuleSpec("ttnn", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found if name == "ttnn" else None)
    return tmp_path


def seat_a_card(machine: Path) -> None:
    (machine / "dev/tenstorrent").mkdir(parents=True)
    (machine / "dev/tenstorrent/0").touch()


def test_auto_chooses_the_cpu_without_a_card(machine: Path) -> None:
    assert engine_choice.chosen_kind(configured("auto")) == "cpu"


def test_auto_chooses_a_card_where_ttnn_is_installed(machine: Path) -> None:
    seat_a_card(machine)
    assert engine_choice.chosen_kind(configured("auto")) == "tt"


def test_auto_ignores_a_card_without_ttnn(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seat_a_card(machine)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert engine_choice.chosen_kind(configured("auto")) == "cpu"


def test_a_named_engine_is_used_on_any_machine(machine: Path) -> None:
    assert engine_choice.chosen_kind(configured("tt")) == "tt"
    seat_a_card(machine)
    assert engine_choice.chosen_kind(configured("cpu")) == "cpu"


@pytest.mark.parametrize("has_card", [False, True])
@pytest.mark.parametrize("engine", ["auto", "remote", "cpu", "tt"])
def test_models_of_this_machine_run_here_beside_a_server(machine: Path, engine: str, has_card: bool) -> None:
    """`/model smollm2-135m-instruct` in a chat that began with `--base-url`."""
    if has_card:
        seat_a_card(machine)
    config, preferred = configured(engine), "tt" if has_card else "cpu"
    assert engine_choice.local_kind(config) == (preferred if engine in ("auto", "remote") else engine)
    (machine / "mine.gguf").write_bytes(b"GGUF")
    shown = threading.Event()
    shown.set()
    prepare = chat._prepare_after(shown, config, find_paths({"HOME": str(machine)}))
    spec = prepare(str(machine / "mine.gguf"), lambda *_: None)
    assert spec.engine == ("tt" if engine == "tt" else "cpu"), (
        "a card reads folders; only who asks for it gets its refusal"
    )
    assert prepare("remote:mine.gguf", lambda *_: None).engine == "remote"


def test_quitting_waits_for_a_card_to_close(machine: Path) -> None:
    card = configured("tt")
    assert engine_choice.timeouts(card).close_s >= 20
    assert engine_choice.shutdown_s(card) > engine_choice.timeouts(card).close_s
    assert engine_choice.shutdown_s(configured("cpu")) == engine_choice.SHUTDOWN_S
    assert engine_choice.timeouts(configured("cpu")).close_s < 5


def test_a_card_beside_a_server_has_its_time_and_its_advice_too(machine: Path) -> None:
    """A model of the card may be loaded in a chat that began with `--base-url`."""
    seat_a_card(machine)
    served, card = configured("remote"), configured("tt")
    assert engine_choice.timeouts(served) == engine_choice.timeouts(card)
    assert engine_choice.shutdown_s(served) == engine_choice.shutdown_s(card)
    assert "tt-smi -r" in engine_choice.advice(served)("Segmentation fault")


def test_a_card_has_time_to_report_itself_that_it_hangs() -> None:
    """ttnn's time-out (60 s unless it is changed) names the cure; our kill would leave a card to be reset."""
    timeouts = with_minimum(Timeouts(min_step_s=8.0, silence_s=5.0, step_s=60.0), CARD)
    assert min(timeouts.min_step_s, timeouts.silence_s, timeouts.load_silence_s) > 60
    assert timeouts.step_s == 600


def test_longer_times_of_the_user_are_kept() -> None:
    assert with_minimum(Timeouts(silence_s=1000.0, step_s=None), CARD).silence_s == 1000.0
    assert with_minimum(Timeouts(step_s=None), CARD).step_s is None


def test_the_advice_after_a_crash_mentions_a_reset_of_the_card(machine: Path) -> None:
    assert "tt-smi -r" in engine_choice.advice(configured("tt"))("Segmentation fault")
    assert "tt-smi -r" not in engine_choice.advice(configured("cpu"))("Segmentation fault")
