"""The wheel holds all that the app needs, and starts from an empty environment in another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.terminal.pty_app import App

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300), pytest.mark.xdist_group("packaging")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and its core dependencies, nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python.parent / "ttchat-tui"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_wheel_carries_themes_styles_migrations_and_catalog_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    themes = sorted(path.name for path in (ROOT / "themes").glob("*.toml"))
    assert sorted(Path(name).name for name in names if name.startswith("ttchat_tui/themes/")) == themes
    for folder, ending in (("ui/styles", "tcss"), ("storage/migrations", "sql"), ("models", "toml")):
        there = {str(path.relative_to(ROOT)) for path in (ROOT / "ttchat_tui" / folder).glob(f"*.{ending}")}
        assert there
        assert there <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]


def test_the_core_brings_none_of_what_an_existing_environment_has_its_own_of(installed: Path) -> None:
    listed = subprocess.run(
        [str(installed), "-m", "pip", "list", "--format", "json"], capture_output=True, check=True
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert names.isdisjoint({"torch", "transformers", "numpy", "pydantic", "ttnn", "tokenizers"})


def test_it_starts_from_another_folder_and_says_what_is_missing(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "--version").stdout.startswith("ttchat-tui ")
    assert "smollm2-135m-instruct" in run(installed, tmp_path, "models", "list").stdout
    doctor = run(installed, tmp_path, "doctor")
    assert doctor.returncode == 1
    assert "pip install 'ttchat-tui[cpu]'" in doctor.stdout


def test_without_torch_the_app_opens_and_says_what_to_run(
    installed: Path, tmp_path: Path, default_model_path: Path
) -> None:
    app = App(tmp_path, "--model", str(default_model_path), python=str(installed), cwd=str(tmp_path))
    try:
        app.until("ttchat-tui[cpu]")
        app.type("\x11")
        assert app.until_end() == 0
    finally:
        app.close()
    assert os.listdir(tmp_path / "data") != []
