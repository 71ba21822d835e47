"""What each process loads: the start-up times rest on it, and a library that slips in is found here, not by a user."""

from __future__ import annotations

import os
import subprocess
import sys

import grimp

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
        "from ttchat_tui.domain.model_spec import CpuOptions\n"
        "import ttchat_tui.engine.cpu.native.build as build\n"
        "build.is_possible = lambda environ, is_asked_for: True\n"
        "for name in ENGINES['cpu'].warm_modules(CpuOptions()): importlib.import_module(name)"
    )
    assert "numpy" in loaded
    assert not loaded & {
        "torch",
        "textual",
        "rich",
        "transformers",
        "accelerate",
        "httpx",
        "typer",
        "sqlite3",
    }


def test_driving_an_engine_needs_none_of_its_libraries() -> None:
    rooms = [
        f"ttchat_tui.engine.{name}"
        for name in ("factory", "runtime.isolated", "runtime.host", "runtime.switching")
    ]
    assert not loaded_by(f"import {', '.join(rooms)}") & (HEAVY | {"textual", "jinja2"})


def test_every_module_can_be_imported_first() -> None:
    """A module in no circle of imports is imported like any other; one in a circle begins in a process without the others.

    What the circles need, and is in none, makes no difference: it is imported once, before the processes are forked.
    """
    needs = _imports()
    assert len(needs) > 100
    in_circles = sorted(name for name in needs if name in _reached(name, needs))
    print(f"{len(in_circles)} of {len(needs)} modules are in circles")
    below = {below for name in in_circles for below in _reached(name, needs) & needs.keys()}
    below = {name for name in below if not _reached(name, needs) & set(in_circles)} - set(in_circles)
    rest = needs.keys() - below - set(in_circles)
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_EACH, *sorted(below), "--", *in_circles, "--", *sorted(rest)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == in_circles


def _imports() -> dict[str, set[str]]:
    """What each module needs: those it imports, at any depth of its code, and their packages."""
    graph = grimp.build_graph("ttchat_tui", exclude_type_checking_imports=True, cache_dir=None)
    modules = {name for name in graph.modules if not name.endswith("__main__")}
    return {
        name: {
            package
            for needed in (name, *graph.find_modules_directly_imported_by(name))
            for package in _with_packages(needed)
        }
        - {name}
        for name in modules
    }


def _with_packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _reached(start: str, needs: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    left = [*needs[start]]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += needs[name]
    return seen


_IMPORT_EACH = """
import gc, importlib, os, sys, traceback
gc.disable()
first, second = (at for at, word in enumerate(sys.argv) if word == "--")
for name in sys.argv[1:first]:
    importlib.import_module(name)
for name in sys.argv[first + 1:second]:
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
for name in sys.argv[second + 1:]:
    importlib.import_module(name)
"""
