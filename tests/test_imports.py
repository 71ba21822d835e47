"""What each process loads: the start-up times rest on it, and a library that slips in is found here, not by a user."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys

import pytest

import ttchat_tui

ENGINE_LIBRARIES = frozenset(
    {"torch", "transformers", "ttnn", "numpy", "tokenizers", "gguf", "safetensors", "accelerate"}
)
"""They belong to the engine's process: each costs between a tenth of a second and three."""

HEAVY = ENGINE_LIBRARIES | {"httpx"}


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after `statement`."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_command_line_loads_neither_a_screen_nor_an_engine() -> None:
    loaded = loaded_by("import ttchat_tui.cli.entry")
    assert "ttchat_tui" in loaded
    assert not loaded & (HEAVY | {"textual", "rich", "asyncio", "jinja2", "typer", "pydantic"})


def test_the_screen_loads_nothing_of_an_engine() -> None:
    loaded = loaded_by("import ttchat_tui.cli.entry, ttchat_tui.ui.launch")
    assert "textual" in loaded
    assert not loaded & HEAVY


def test_the_engines_process_loads_no_screen_and_no_transformers() -> None:
    loaded = loaded_by(
        "import ttchat_tui.engine.runtime.worker\n"
        "from ttchat_tui.engine.factory import ENGINES\n"
        "import importlib\n"
        "for name in ENGINES['cpu'].warm_modules: importlib.import_module(name)"
    )
    assert "torch" in loaded
    assert not loaded & {"textual", "rich", "transformers", "accelerate", "httpx", "typer", "sqlite3"}


@pytest.mark.parametrize(
    "room",
    [
        "ttchat_tui.engine.runtime.isolated",
        "ttchat_tui.engine.runtime.host",
        "ttchat_tui.engine.factory",
        "ttchat_tui.engine.runtime.switching",
    ],
)
def test_driving_an_engine_needs_none_of_its_libraries(room: str) -> None:
    assert not loaded_by(f"import {room}") & (HEAVY | {"textual", "jinja2"})


def test_every_module_can_be_imported_first() -> None:
    """A cycle shows only when its modules are imported in the wrong order: each one begins in a fresh process.

    They are forked from one that has the libraries, so that 150 of them take seconds.
    """
    names = sorted(
        module.name
        for module in pkgutil.walk_packages(ttchat_tui.__path__, "ttchat_tui.")
        if not module.name.endswith("__main__")
    )
    assert len(names) > 100
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_EACH, *names],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


_IMPORT_EACH = """
import importlib, os, sys, traceback
import asyncio, gguf, httpx, jinja2, numpy, sqlite3, textual.app, textual.widgets, tokenizers, torch, typer
for name in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            importlib.import_module(name)
            print(name, flush=True)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(status)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{name} cannot be imported first")
"""
