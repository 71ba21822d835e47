"""Settings and system prompt that are typed as commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.session.notices import SENT_WITH_ITS_SETTINGS


async def test_settings_are_changed_by_a_command_and_act_on_the_running_reply(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat, (140, 40)) as pilot:
        before = chat.session.sampling
        await pilot.press(*"/set temperature=1.25 top-k=7", "enter")
        await settle(pilot, chat)
        assert chat.session.sampling == replace(before, temperature=1.25, top_k=7)
        assert chat.screen.sampling_panel is not None
        assert chat.screen.sampling_panel.params == chat.session.sampling
        assert "Temperature 1.25, top-k 7." in chat.toasts()
        await pilot.press(*"/set seed=random", "enter")
        assert "A new seed for each reply." in chat.toasts()
        await pilot.press(*"/set stop=none top-k=8", "enter")
        assert "Top-k 8, no stop texts." in chat.toasts()
        await pilot.press(*"Hello", "enter")
        await reply_ended(pilot, chat)
        assert chat.engine.requests[-1].sampling.temperature == 1.25


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("temperature=9", "temperature: give a number from 0 to 2."),
        ("temperatures=1", "'temperatures=1' is no setting.\nDid you mean temperature?"),
        ("top-k", "'top-k' has no value.\nWrite top-k=VALUE."),
        ("model=other", "/set takes no model.\n/model loads one."),
        ("temperature=1 constraint='regex [0-9]'", "/set takes no constraint.\n/constrain sets one."),
        ("logit-bias=' the=5'", "/set takes no logit-bias.\n/ban and /boost set it for a token."),
    ],
)
async def test_what_cannot_be_set_changes_nothing(tmp_path: Path, typed: str, said: str) -> None:
    chat = ChatApp(tmp_path, Script())
    async with running(chat) as pilot:
        before = chat.session.sampling
        chat.screen.prompt.text = f"/set {typed}"
        await pilot.press("enter")
        await settle(pilot, chat)
        assert said in chat.toasts()
        assert chat.session.sampling == before


@pytest.mark.parametrize("endpoint", ["", "lab"])
async def test_a_reply_that_runs_on_a_server_keeps_its_settings_and_this_is_said(
    tmp_path: Path, endpoint: str
) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat, (140, 40)) as pilot:
        assert chat.session.info is not None
        chat.host._loads.info = replace(chat.session.info, endpoint=endpoint)
        said = SENT_WITH_ITS_SETTINGS.message
        await pilot.press("f5", "down", "right")
        await settle(pilot, chat)
        assert said not in chat.toasts(), "no reply runs"
        chat.screen.show_updates(chat.session.submit("count"))
        gate.release()
        await pilot.press("right")
        await settle(pilot, chat)
        assert (said in chat.toasts()) == bool(endpoint)
        gate.open()
        await reply_ended(pilot, chat)
        await until(pilot, lambda: said not in chat.toasts())


async def test_what_the_engine_does_not_take_is_said(tmp_path: Path) -> None:
    honours = Capabilities().sampling - {"min_p"}
    chat = ChatApp(tmp_path, Script(honours=honours))
    async with running(chat) as pilot:
        chat.screen.prompt.text = "/set min-p=0.1 thinking=off"
        await pilot.press("enter")
        await settle(pilot, chat)
        assert "Min-p 0.1, thinking off. scripted takes no min-p." in chat.toasts()


async def test_the_system_prompt_is_set_taken_back_and_removed(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat, (140, 40)) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        for typed, expected in (("You are terse.", "You are terse."), ('"Be kind."', "Be kind.")):
            chat.screen.prompt.text = f"/system {typed}"
            await pilot.press("enter")
            await settle(pilot, chat)
            assert (chat.session.system_prompt, panel.system_prompt) == (expected, expected)
        chat.screen.prompt.text = "/undo"
        await pilot.press("enter")
        await settle(pilot, chat)
        assert (chat.session.system_prompt, panel.system_prompt) == ("You are terse.", "You are terse.")
        chat.screen.prompt.text = '/system ""'
        await pilot.press("enter")
        await settle(pilot, chat)
        assert (chat.session.system_prompt, panel.system_prompt) == ("", "")
        chat.screen.prompt.text = "/system"
        await pilot.press("enter")
        await settle(pilot, chat)
        await pilot.press(*"Short.")
        await settle(pilot, chat)
        assert panel.system_prompt == "Short."
