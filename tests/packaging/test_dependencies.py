"""What the package imports is what pyproject.toml declares: nothing is installed by luck, nothing is unused."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

import re

ROOT = Path(__file__).parents[2]
MODULES = {
    "jinja2": "jinja2",
    "markdown_it": "markdown-it-py",
    "tomli_w": "tomli-w",
    "textual_serve": "textual-serve",
}
"""Import names that differ from the name on the package index."""
TOOLS = ("dev", "bench")
"""Extras for working on the package, which it does not import."""
NOT_IMPORTED_BY_STATEMENT = {
    "gguf": "by name, when a GGUF file has quantised tensors",
    "aiohttp": "textual-serve's own framework: its version is textual-serve's to choose",
    "llguidance": "by name, when a reply has a constraint",
    "safetensors": "transformers reads folders with it",
    "ttnn": "the Tenstorrent engine's",
    "ziglang": "a C compiler, run as `python -m ziglang cc`",
}


def imported() -> Iterator[str]:
    for file in (ROOT / "ttchat_tui").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            yield from (name.partition(".")[0] for name in names)


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    every = [
        *project["dependencies"],
        *(line for name in extras if name not in TOOLS for line in extras[name]),
    ]
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in every}


def test_imports_and_dependencies_agree() -> None:
    used = {name for name in imported() if name not in sys.stdlib_module_names} - {"ttchat_tui", "tomllib"}
    names = {MODULES.get(name, name).lower() for name in used}
    assert names - NOT_IMPORTED_BY_STATEMENT.keys() <= declared(), "imported and not declared"
    assert declared() - NOT_IMPORTED_BY_STATEMENT.keys() <= names, "declared and not imported"
