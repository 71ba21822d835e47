"""The one base of all errors that a person reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttchat_tui
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.engine.base import EngineDied, EngineError
from ttchat_tui.models.errors import ModelNameError
from ttchat_tui.storage.errors import StorageError

INFO = ErrorInfo(kind="disk_full", message="The disk is full.", cure="Free some space.")


@pytest.mark.parametrize(
    ("error", "info"),
    [
        (EngineError("It broke.", "Load again."), ErrorInfo(kind="engine_error", message="It broke.", cure="Load again.")),
        (EngineError("It broke.", kind="native"), ErrorInfo(kind="native", message="It broke.")),
        (EngineDied("It ended."), ErrorInfo(kind="engine_died", message="It ended.")),
        (ModelNameError("No x.", kind="model_unknown").at("--model"), ErrorInfo(kind="model_unknown", message="--model: No x.")),
        (StorageError(INFO), INFO),
    ],
    ids=["of a class", "of another kind", "of a subclass", "at a place", "from an info"],
)  # fmt: skip
def test_every_error_has_a_message_a_cure_and_a_kind(error: AppError, info: ErrorInfo) -> None:
    assert error.info == info
    assert str(error) == info.message


def test_an_error_in_the_settings_is_one_line_with_its_cure() -> None:
    error = ConfigError("config.toml", "Expected `int`\nhere", setting="$.top.k", cure="Write a number.")
    assert str(error) == "config.toml: top.k: Expected `int` here; Write a number."
    assert error.info.kind == "config"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("lab wants a key (401): bad key", "lab wants a key (401): bad key."),
        ("lab failed (500): boom.", "lab failed (500): boom."),
        ("lab failed: really?", "lab failed: really?"),
        ("lab failed: no, really", "lab failed: no, really."),
        ("The file cannot be read: it is broken..", "The file cannot be read: it is broken."),
        ("lab failed: and then...", "lab failed: and then..."),
        ("lab failed: 请稍后再试。", "lab failed: 请稍后再试。"),
        ("lab failed: try (code 3)", "lab failed: try (code 3)."),
        ('lab failed: it said "no."', 'lab failed: it said "no."'),
        ("lab failed: Error: ", "lab failed: Error."),
        ("lab failed: {'code': 1}", "lab failed: {'code': 1}."),
        ("It broke.", "It broke."),
        ("", ""),
    ],
)
def test_a_cure_follows_a_whole_sentence_whatever_the_message_ends_with(message: str, sentence: str) -> None:
    error = ErrorInfo(kind="endpoint_error", message=message, cure="Wait, then send again.")
    assert error.line == f"{sentence} Wait, then send again.".strip()
    assert error.lines == f"{sentence}\nWait, then send again.".strip()
    alone = ErrorInfo(kind="endpoint_error", message=message)
    assert alone.line == alone.lines == sentence


@given(st.text(st.one_of(st.sampled_from(".,:;!?)\"' a…。"), st.characters(codec="utf-8")), max_size=12))
def test_foreign_text_ends_as_a_sentence_does_and_is_kept(foreign: str) -> None:
    error = ErrorInfo(kind="endpoint_error", message=f"lab failed: {foreign}", cure="Wait.")
    ended = error.sentence
    assert error.line == f"{ended} Wait."
    assert re.search(r"[.!?…。！？][^\w\s]*\Z", ended)
    assert ended.rstrip(".") == error.message.rstrip(" ,:;").rstrip("."), "no more than its end differs"
    assert not re.search(r"(?<!\.)\.\.\Z", ended)
    assert ErrorInfo(kind="endpoint_error", message=ended).sentence == ended


def test_message_and_cure_are_joined_in_one_place() -> None:
    """By hand, a message that ends with foreign text and its cure are one sentence."""
    by_hand = re.compile(
        r"""\{[\w.]*\b(?:message|info|error|problem)(?:\.message)?\}(?: |\\n)\{[\w.]*cure|\.message\} \S"""
    )
    package = Path(ttchat_tui.__file__).parent
    found = [
        f"{file.relative_to(package)}: {line.strip()}"
        for file in package.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if by_hand.search(line)
    ]
    assert found == []
