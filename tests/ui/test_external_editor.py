"""The external editor: it gets the draft on the terminal, its text comes back, and whatever fails changes nothing."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.app import SuspendNotSupported
from textual.pilot import Pilot

from tests.ui.widgets.test_prompt import with_prompt
from ttchat_tui.ui.external_editor import EditorError, editor_command
from ttchat_tui.ui.widgets.prompt.prompt import Prompt


def editor_script(folder: Path, body: str) -> str:
    script = folder / "my editor"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"'{script}' -w"


async def edited_with(setting: str, monkeypatch: pytest.MonkeyPatch, draft: str) -> tuple[str, list[str]]:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", setting)
    said: list[str] = []
    after = ""

    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        nonlocal after
        monkeypatch.setattr(pilot.app, "suspend", no_terminal)
        monkeypatch.setattr(prompt, "notify", lambda text, **_: said.append(text))
        prompt.set_draft(draft)
        await prompt.edit_externally()
        after = prompt.text

    await with_prompt(act)
    return after, said


@contextmanager
def no_terminal() -> Iterator[None]:
    """In place of `App.suspend`, which needs a terminal."""
    yield


async def test_the_editor_gets_the_draft_with_its_own_arguments_and_its_text_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = editor_script(
        tmp_path, '[ "$1" = -w ] && sed s/draft/text/ "$2" > "$2.new" && mv "$2.new" "$2"'
    )
    assert await edited_with(setting, monkeypatch, "my draft") == ("my text", [])


async def test_the_editor_gets_whole_lines_and_the_draft_is_not_left_with_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = editor_script(tmp_path, 'echo added >> "$2"')
    assert await edited_with(setting, monkeypatch, "one\ntwo") == ("one\ntwo\nadded", [])


async def test_a_failing_editor_is_reported_and_leaves_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = editor_script(tmp_path, 'echo lost > "$2"; exit 3')
    text, said = await edited_with(setting, monkeypatch, "my draft")
    assert text == "my draft"
    assert "ended with status 3" in said[0]


async def test_a_missing_editor_is_reported_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    text, said = await edited_with("/nowhere/ed", monkeypatch, "my draft")
    assert text == "my draft"
    assert "set $EDITOR" in said[0]


async def test_an_app_that_cannot_be_suspended_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        said: list[str] = []

        def refuse() -> None:
            raise SuspendNotSupported

        monkeypatch.setenv("EDITOR", "true")
        monkeypatch.setattr(pilot.app, "suspend", refuse)
        monkeypatch.setattr(prompt, "notify", lambda text, **_: said.append(text))
        await prompt.edit_externally()
        assert "cannot be opened here" in said[0]

    await with_prompt(act)


def test_visual_comes_before_editor_and_an_invalid_setting_is_reported() -> None:
    assert editor_command({"VISUAL": "code -w", "EDITOR": "nano"}) == ["code", "-w"]
    with pytest.raises(EditorError, match="cannot be parsed"):
        editor_command({"EDITOR": "nano 'unclosed"})
