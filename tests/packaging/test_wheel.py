"""The wheel alone, in an empty environment and another folder: it has everything, and says what else a chat needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.pty_app import PtyApp, is_restored
from ttchat_tui import __version__

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300), pytest.mark.xdist_group("packaging")]

ROOT = Path(__file__).parents[2]
LEFT_ALONE = ("torch", "transformers", "tokenizers", "numpy", "pydantic")
"""An environment that runs models has these in versions of its own: the core must not ask for them."""


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """The stdout of a command that ends with `code`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    run(*build, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel and its core dependencies, in the locked versions."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    lock = ROOT / "requirements.lock"
    pip = (programs / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-qq", "--constraint", lock, wheel, cwd=folder)
    return programs


def test_the_wheel_carries_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "ttchat_tui").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    themes = {f"ttchat_tui/themes/{file.name}" for file in (ROOT / "themes").glob("*.toml")}
    assert names == package | themes | {"ttchat_tui/config.example.toml"}
    assert len(themes) >= 6
    assert {"ttchat_tui/models/catalog.toml", "ttchat_tui/storage/migrations/001.sql"} <= names
    assert any(name.startswith("ttchat_tui/ui/styles/") for name in names)


def test_the_core_asks_for_nothing_that_a_model_environment_pins(installed: Path, tmp_path: Path) -> None:
    listed = run(installed / "python", "-m", "pip", "list", "--format=json", cwd=tmp_path)
    assert not {each["name"].lower() for each in json.loads(listed)} & set(LEFT_ALONE)
    run(installed / "python", "-m", "pip", "check", cwd=tmp_path)


def test_the_installed_commands_work_from_another_folder(installed: Path, tmp_path: Path) -> None:
    program = installed / "ttchat-tui"
    assert run(program, "--version", cwd=tmp_path) == f"ttchat-tui {__version__}\n"
    assert "smollm2-135m-instruct" in run(program, "models", "list", cwd=tmp_path)
    assert "state" in run(program, "paths", cwd=tmp_path)


def test_doctor_says_that_torch_is_missing_and_what_to_run(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "ttchat-tui", "doctor", cwd=tmp_path, code=1)
    assert "not installed: torch" in said
    assert "pip install 'ttchat-tui[cpu]'" in said


@pytest.fixture
def app(installed: Path, tmp_path: Path, default_model_path: Path) -> Iterator[PtyApp]:
    started = PtyApp(
        tmp_path,
        "--model",
        str(default_model_path),
        python=str(installed / "python"),
        cwd=str(tmp_path),
    )
    yield started
    started.close()


@pytest.mark.model
@pytest.mark.terminal
def test_without_the_extra_the_screen_comes_up_and_says_what_to_install(app: PtyApp) -> None:
    app.until("Write a message")
    # Between them the lines may break anywhere.
    shown = app.until(lambda text: "needs the package" in text and "[cpu]" in text)
    assert "Traceback" not in shown
    app.type("\x11")
    assert app.until_end() == 0
    assert is_restored(bytes(app.received))
