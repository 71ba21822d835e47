"""Space and the full stop: they pause and step a reply where they would begin a draft, and are characters elsewhere."""

from __future__ import annotations

from pathlib import Path

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, running, settle, until
from tests.ui.test_elsewhere import shown
from ttchat_tui.config.schema import Config, UiSettings
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.ui.widgets.key_line import KeyLine

REPLY = "one two three four five six"


def key_line(chat: ChatApp) -> str:
    return chat.screen.query_one(KeyLine).render().plain


def words(chat: ChatApp) -> int:
    return len(chat.session.running.text.split()) if chat.session.running else -1


async def test_a_reply_is_paused_stepped_and_resumed_by_keys_that_else_are_typed(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=(REPLY,), stepped=True), gate)
    async with running(chat, (80, 24)) as pilot:
        prompt = chat.screen.prompt
        await pilot.press("space", "full_stop")
        assert prompt.text == " .", "no reply runs"
        await pilot.press("ctrl+u", *"go", "enter")
        gate.release()
        await until(pilot, lambda: words(chat) == 1)
        await settle(pilot, chat)
        assert key_line(chat).startswith(" esc stop  space pause  . one token ")
        await pilot.press("space")
        assert chat.session.pausing.is_paused
        assert prompt.text == ""
        assert "● paused" in shown(chat)
        assert "Paused: space resumes" in shown(chat)
        assert any(view.note == "paused" for view in chat.screen.transcript._views), "under the reply"
        assert "space resume" in key_line(chat)
        assert chat.screen.metrics.sample().phase == "paused"
        assert chat.screen.metrics.sample().decode_now_tps is None

        gate.open()
        await pilot.press("f5", "full_stop")
        await until(pilot, lambda: words(chat) == 2)
        await settle(pilot, chat)
        assert "● paused" in shown(chat), "also after a token"

        await pilot.press("a", "space", "full_stop")
        assert prompt.text == "a ."
        assert words(chat) == 2
        assert "space" not in key_line(chat)
        await pilot.press("ctrl+u")
        await pilot.pause()
        assert "space resume" in key_line(chat)

        await pilot.press(*"/step", "enter")
        await until(pilot, lambda: words(chat) == 3)
        home = chat.session.conversation
        assert home is not None
        await pilot.press("ctrl+n")
        await settle(pilot, chat)
        await pilot.press("space")
        assert prompt.text == " ", "the reply is not on screen"
        assert "● paused in" in shown(chat)
        assert "Paused" not in shown(chat)
        await pilot.press("ctrl+u")
        chat.screen.open_conversation(home.id)
        await settle(pilot, chat)
        assert "Paused: space resumes" in shown(chat)
        await pilot.press("space")
        await until(pilot, lambda: not chat.session.is_busy)
        await settle(pilot, chat)
        assert chat.session.path[-1].content == REPLY
        assert "paused for" in shown(chat)
        assert "Write a message" in shown(chat)
        assert "space" not in key_line(chat)


async def test_in_normal_mode_the_keys_are_those_of_vi(tmp_path: Path) -> None:
    gate = Gate()
    config = Config(ui=UiSettings(editing="vi"))
    chat = ChatApp(tmp_path, Script(replies=(REPLY,), stepped=True), gate, config=config)
    async with running(chat, (80, 24)) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "space pause" in key_line(chat))
        await pilot.press("escape", "space", "full_stop")
        assert not chat.session.pausing.is_paused
        assert (chat.screen.prompt.text, chat.screen.prompt.is_writing) == ("", False)
        assert "space" not in key_line(chat)
        await pilot.press("i", "ctrl+u", "space")
        assert chat.session.pausing.is_paused


async def test_where_the_engine_cannot_pause_the_keys_are_greyed_and_typed(tmp_path: Path) -> None:
    script = Script(replies=(REPLY,), stepped=True, refuses=("No seed.", Capabilities(pause=False)))
    chat = ChatApp(tmp_path, script, Gate())
    async with running(chat, (80, 24)) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: chat.session.running is not None and chat.session.running.has_started)
        await settle(pilot, chat)
        assert {key.action: key.is_enabled for key in chat.screen.pace_keys()} == {
            "pause": False,
            "step": False,
        }
        assert "cannot pause" in chat.screen.pace_keys()[0].tooltip
        await pilot.press("space")
        assert chat.screen.prompt.text == " "
        await pilot.press("ctrl+u", *"/pause", "enter")
        assert "cannot pause" in chat.toasts()[-1]
