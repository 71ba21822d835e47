"""The session is the whole facade: the screen reaches store and engine through it only."""

from __future__ import annotations

import ast
from pathlib import Path

import ttchat_tui.ui
from ttchat_tui.session import ChatSession

UI = Path(ttchat_tui.ui.__file__).parent


def test_no_module_of_the_screen_reaches_the_store_or_the_engine_behind_the_session() -> None:
    reached = [
        f"{file.relative_to(UI)}:{node.lineno} .{node.attr}"
        for file in UI.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"store", "_store", "host", "_host"}
    ]
    assert reached == []


def test_the_session_shows_neither() -> None:
    assert not {"store", "host"} & set(dir(ChatSession))
