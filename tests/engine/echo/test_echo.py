"""One folder and one entry in the factory's table are enough for a new engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.engine.echo.declaration import ECHO, EchoOptions
from tests.fakes import EventRecorder
from ttchat_tui.cli import chat, engine_choice, model_choice
from ttchat_tui.cli.doctor.checks import all_checks
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import Paths
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished
from ttchat_tui.domain.generation import GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.factory import ENGINES, create_engine
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.switching import SwitchingEngine


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the entry to the factory's table: the only step besides the folder."""
    monkeypatch.setitem(ENGINES, ECHO.kind, ECHO)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(config_dir=tmp_path, data_dir=tmp_path, cache_dir=tmp_path, state_dir=tmp_path)


def test_its_section_of_the_config_is_read_and_checked(paths: Paths) -> None:
    paths.config_file.write_text('[model]\nengine = "echo"\n[echo]\npause_s = 0.5\n')
    config = load_config(paths, environ={})
    assert engine_choice.chosen_kind(config) == "echo"
    assert config.options_of("echo") == EchoOptions(pause_s=0.5)
    assert load_config(paths, environ={"TTCHAT_ECHO__PAUSE_S": "2"}).options_of("echo").pause_s == 2
    with pytest.raises(ConfigError, match=r"echo\.pause_s is too large; give a number from 0 to 10"):
        load_config(paths, environ={"TTCHAT_ECHO__PAUSE_S": "11"})
    with pytest.raises(ConfigError, match=r"echo\.pause: there is no such setting; did you mean `pause_s`"):
        load_config(paths, environ={"TTCHAT_ECHO__PAUSE": "1"})


def test_an_unknown_engine_is_refused_with_all_that_there_are(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"TTCHAT_ENGINE": "eccho"}
    with pytest.raises(
        ConfigError, match="'eccho', which is not among the choices; give one of auto, cpu, echo, remote, tt"
    ):
        load_config(paths, environ=environ)
    monkeypatch.delitem(ENGINES, "echo")
    with pytest.raises(ConfigError, match="give one of auto, cpu, remote, tt"):
        load_config(paths, environ={"TTCHAT_ENGINE": "echo"})


def test_its_name_before_a_models_name_chooses_it(paths: Paths) -> None:
    config = load_config(paths, environ={})
    assert model_choice.kind_of("echo:anything", config) == "echo"
    assert model_choice.kind_of("ecco:anything", config) == engine_choice.chosen_kind(config)


def test_doctor_has_its_line(paths: Paths) -> None:
    paths.config_file.write_text("[echo]\npause_s = 0.5\n")
    facts = {check.subject: check.fact for check in all_checks(paths, None)}
    assert facts["echo engine"] == "0.5 s before each token"


def test_doctor_has_its_line_with_the_defaults_if_the_config_is_wrong(paths: Paths) -> None:
    paths.config_file.write_text("[echo]\npause_s = 11\n")
    checks = {check.subject: check for check in all_checks(paths, None)}
    assert checks["config"].verdict == "wrong"
    assert checks["echo engine"].fact == "0 s before each token"


def test_the_host_loads_it_by_name_and_answers(paths: Paths) -> None:
    config = load_config(paths, environ={"TTCHAT_ECHO__PAUSE_S": "0.001"})
    no_screen = threading.Event()
    no_screen.set()
    host = EngineHost(SwitchingEngine(create_engine), chat._prepare_after(no_screen, config, paths))
    recorder = EventRecorder(host)
    host.start()
    try:
        host.load("echo:anything")
        info = recorder.until(EngineLoaded).info
        assert (info.model, info.engine) == ("anything", "echo")
        sampling = SamplingParams(max_tokens=3)
        host.generate(
            GenerationRequest(
                id=1, messages=(ChatMessage("user", "one two three"),), sampling=sampling, seed=1
            )
        )
        assert recorder.until(GenerationFinished).reason == "length"
        assert recorder.text(1) == "one two three"
    finally:
        host.shutdown()


def test_the_command_line_has_its_flag_and_runs_it(tmp_path: Path) -> None:
    help_text = run_program(tmp_path, "--help")
    assert "--engine <auto|cpu|tt|remote|echo>" in help_text
    assert "--pause-s <float>" in help_text
    answer = run_program(
        tmp_path,
        *("--engine", "echo", "--pause-s", "0.01", "--isolation", "thread"),
        *("--max-tokens", "2", "-p", "Hello echo"),
    )
    assert answer == "Hello echo\n"


def run_program(folder: Path, *arguments: str) -> str:
    """Run the whole program in a process with the entry, and return its stdout."""
    code = "import tests.engine.echo.registered; from ttchat_tui.cli.main import app; app()"
    places = {f"XDG_{name}_HOME": str(folder) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **places, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
