"""A refused command comes back: typing corrects it, and what is written below it is not a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import UNFOLLOWED, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from ttchat_tui.config.schema import Config, EditingStyle, UiSettings
from ttchat_tui.domain.model_spec import Capabilities

REFUSED = [
    "/theme no-such-theme",
    "/constrain json-schema /no/such/file",
    "/constrain nonsense",
    "/boost x abc",
    "/open no such title",
    "/nonsense",
    "/quit now",
    f"/constrain regex {UNFOLLOWED}",
    "/ban foo bar baz",
    "/boost foo bar 3",
]
"""The last three are refused by the engine."""


ABLE = Script(replies=("Hi.",), honours=Capabilities().sampling | {"constraint"})


def able(path: Path) -> ChatApp:
    return ChatApp(path, ABLE)


async def refused(pilot: object, chat: ChatApp, command: str) -> None:
    prompt = chat.screen.prompt
    prompt.write(command)
    chat.screen.close_completions()
    prompt.action_send()
    await until(pilot, lambda: bool(chat.toasts()))  # type: ignore[arg-type]
    await until(pilot, lambda: prompt.text.endswith(command) and chat.screen._has_failed)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", REFUSED)
@pytest.mark.parametrize("above", ["", "a message that came back"])
async def test_what_is_typed_below_a_refused_command_is_sent_without_it(
    tmp_path: Path, command: str, above: str
) -> None:
    chat = able(tmp_path)
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        prompt.give_back(above)
        await refused(pilot, chat, command)
        if above and not prompt.text.startswith(above):
            raise AssertionError(prompt.text)
        await pilot.press("ctrl+j", *"hello", "enter")
        await reply_ended(pilot, chat)
        assert chat.session.path[0].content == "\n\n".join(filter(None, [above, "hello"]))
        assert prompt.text == ""
        assert chat.session.biasing.all == {}
        await pilot.press("up")
        assert prompt.text == chat.session.path[0].content
        await pilot.press("home", "up")
        assert prompt.text == command


@pytest.mark.parametrize("above", ["", "a message that came back"])
@pytest.mark.parametrize(
    ("editing", "command"),
    [*(("default", each) for each in REFUSED), *((each, REFUSED[0]) for each in ("emacs", "vi"))],
)
async def test_typing_at_the_end_of_a_refused_command_corrects_it(
    tmp_path: Path, command: str, above: str, editing: EditingStyle
) -> None:
    chat = ChatApp(tmp_path, ABLE, config=Config(ui=UiSettings(editing=editing)))
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        prompt.give_back(above)
        await refused(pilot, chat, command)
        for keys, typed in (
            (["x"], "x"),
            (["x", "backspace"], ""),
            (["left", "right", "y"], "y"),
            (["space", "z"], " z"),
        ):
            await pilot.press(*keys)
            command += typed
            assert prompt.text == "\n\n".join(filter(None, [above, command]))
        prompt.paste(" /a/path")
        assert prompt.parted(prompt.text) == (above, f"{command} /a/path")


async def test_a_command_below_a_refused_one_runs_and_takes_its_place(tmp_path: Path) -> None:
    chat = able(tmp_path)
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        await refused(pilot, chat, "/ban foo bar baz")
        said = chat.toasts()
        assert not any("in this conversation" in each for each in said), "it is not said to be set"
        assert any("Nothing is set." in each for each in said)
        await pilot.press("ctrl+j", *"/ban x")
        await pilot.press("enter")
        await settle(pilot, chat)
        assert (prompt.text, chat.session.biasing.all) == ("", {"x": -100.0})


async def test_a_refusal_that_comes_late_leaves_what_was_typed_since(tmp_path: Path) -> None:
    chat = able(tmp_path)
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        prompt.write("/ban foo bar")
        await pilot.press("enter")
        prompt.write("since then")
        await until(pilot, lambda: not chat.session.biasing.all)
        assert prompt.text.endswith("since then")
        chat.screen._last_command = ("ban", "/ban foo bar")
        chat.screen.return_command("ban")
        assert prompt.text.endswith("since then")
