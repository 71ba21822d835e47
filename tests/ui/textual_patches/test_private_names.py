"""Textual's private names are overridden and imported in `ui/textual_patches` only, which lists them."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import ttchat_tui.ui
from ttchat_tui.ui import textual_patches

UI = Path(ttchat_tui.ui.__file__).parent
PATCHES = sorted((UI / "textual_patches").glob("[!_]*.py"))
OTHERS = sorted(file for file in UI.rglob("*.py") if "textual_patches" not in file.parts)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def overridden_privates(module_name: str) -> set[str]:
    module = importlib.import_module(module_name)
    classes = [
        each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module_name
    ]
    return {
        f"{each.__name__}.{name}"
        for each in classes
        for name, value in vars(each).items()
        if is_private(name) and inspect.isroutine(value)
        for base in each.__mro__[1:]
        if base.__module__.startswith("textual.") and name in vars(base)
    }


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: str(file.relative_to(UI)))
def test_no_other_module_overrides_or_imports_a_private_name(file: Path) -> None:
    name = ".".join(["ttchat_tui", "ui", *file.relative_to(UI).with_suffix("").parts]).removesuffix(
        ".__init__"
    )
    imported = [
        node.module
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("textual")
        if any(map(is_private, [*node.module.split("."), *(each.name for each in node.names)]))
    ]
    assert imported == []
    assert overridden_privates(name) == set()


@pytest.mark.parametrize("file", PATCHES, ids=lambda file: file.stem)
def test_every_patch_is_in_the_table(file: Path) -> None:
    assert f"`{file.stem}`" in (textual_patches.__doc__ or "")
