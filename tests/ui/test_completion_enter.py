"""Enter takes only an offer that completes what is typed. What is typed whole runs as it is typed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, reply_ended, running, until
from ttchat_tui.ui.widgets.prompt.completion_list import CompletionList
from ttchat_tui.ui.widgets.prompt.typed import completes

FILE = "talk.json"
WHOLE = ["talk.jsonl", "talk.jso", "TALK.JSON", "tlk.json", "tak", "alk"]
"""Neighbours of a file's name. None is that file."""


def is_open(chat: ChatApp) -> bool:
    lists = chat.screen.query(CompletionList)
    return bool(lists) and lists.first().is_open


async def test_save_writes_the_name_that_is_typed_beside_a_similar_file(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / FILE).write_text("mine")
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hello", "enter")
        await reply_ended(pilot, chat)
        prompt = chat.screen.prompt
        for name in ("talk.jsonl", "talk.md", "alk.json"):
            prompt.clear_draft()
            prompt.write(f"/save {folder}/{name}")
            await until(pilot, lambda name=name: is_open(chat) or name == "talk.md")
            await pilot.press("enter")
            await until(pilot, lambda name=name: (folder / name).exists())
            assert prompt.text == ""
        assert (folder / FILE).read_text() == "mine"


@pytest.mark.parametrize("typed", WHOLE)
@pytest.mark.parametrize("before", ["/import {}/", "@{}/"])
async def test_enter_changes_no_name_that_is_not_the_beginning_of_a_word(
    tmp_path: Path, typed: str, before: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / FILE).write_text("{}")
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        text = before.format(folder) + typed
        prompt.write(text)
        await until(pilot, lambda: is_open(chat))
        await pilot.press("enter")
        await pilot.pause()
        completed = f"{before.format(folder)}{FILE}"
        assert (prompt.text.strip() == completed) == FILE.startswith(typed)
        assert prompt.text.strip() in ("", text, completed)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_typed_begins_a_word_of_what_completes_it(seed: int) -> None:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abAB1", k=draw.randint(1, 4))) for _ in range(draw.randint(1, 3))]
    whole = draw.choice(" -._/").join(words)
    typed = draw.choice([str.upper, str.lower])(whole[: draw.randint(1, len(whole))])
    assert completes(whole, typed) == (len(typed) < len(whole))
    assert not any(completes(whole, each) for each in ("", whole, whole.swapcase(), f"{whole}x", f"~{whole}"))
    assert completes(f"first {whole}x", whole)
    assert not completes(f"first{whole}x", whole) or f" {whole}" in f"first{whole}x"
