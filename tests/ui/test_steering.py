"""Bans, boosts, another token for a paused reply, and the end of a thought, by keys and commands."""

from __future__ import annotations

from pathlib import Path

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.test_elsewhere import shown
from tests.ui.test_inspector import on_screen, shows, text
from tests.ui.test_pausing import key_line
from ttchat_tui.ui.widgets.sampling.bias_list import BiasRow


async def test_tokens_are_banned_boosted_and_chosen(tmp_path: Path) -> None:
    gate = Gate()
    reply = "one two three four five"
    chat = ChatApp(tmp_path, Script(replies=(reply,), stepped=True, logprobs=True), gate)
    async with running(chat, (120, 36)) as pilot:
        biasing, session = chat.session.biasing, chat.session
        chat.screen.command_ban('" five"')
        chat.screen.command_boost('" ok" -3')
        chat.screen.command_boost("x")
        chat.screen.command_boost("x 500")
        assert biasing.all == {" five": -100.0, " ok": -3.0, "x": 2.0}
        await settle(pilot, chat)
        assert any("an amount from -100 to 100" in toast for toast in chat.toasts())
        await pilot.press(*"/unban x", "enter")
        chat.screen.command_unban("x")
        await settle(pilot, chat)
        assert any('"x" is neither banned nor boosted.' in toast for toast in chat.toasts())
        await settle(pilot, chat)
        assert '"␣five"' in shown(chat)
        assert [(row.text, row.shown(row.value)) for row in chat.screen.query(BiasRow)] == [
            (" five", "ban"),
            (" ok", "-3"),
        ]
        chat.screen.query(BiasRow).last().focus()
        await pilot.press("delete")
        await settle(pilot, chat)
        assert biasing.all == {" five": -100.0}
        assert len(chat.screen.query(BiasRow)) == 1
        chat.screen.prompt.focus()

        await pilot.press(*"go", "enter")
        gate.release(2)
        await until(pilot, lambda: session.running is not None and session.running.tokens == 2)
        await pilot.press("space", "f6")
        await until(pilot, lambda: bool(chat.app.screen.query("TokenText")) and text(chat).shown == 2)
        await pilot.press("home")
        await shows(pilot, chat, "space resume  . one token  x/X ban")
        await pilot.press("end")
        await shows(pilot, chat, "enter choose  x ban")
        gate.open()
        await pilot.press("enter", "down", "enter")
        await shows(pilot, chat, "one other1")
        await shows(pilot, chat, "chosen by you")
        assert session.pausing.is_paused
        await pilot.press("x")
        await shows(pilot, chat, 'from now on: ban "␣other1"')
        await pilot.press("x", "X", "plus", "minus")
        assert biasing.all == {" five": -100.0}, "a boost begins where the ban was not"
        await pilot.press("full_stop")
        await shows(pilot, chat, "token 3 of 3")
        await pilot.press("space")
        await until(pilot, lambda: session.running is None)
        await pilot.press("escape")
        await reply_ended(pilot, chat)
        assert session.path[-1].content == "one other1 three four instead"
        assert biasing.all == {" five": -100.0}
        chat.screen.action_unban()
        chat.screen.action_ban()
        await settle(pilot, chat)
        assert biasing.all == {}
        assert any("No token is banned or boosted. " in toast for toast in chat.toasts())


async def test_a_thought_ends_by_a_key_that_is_shown_while_there_is_one(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("<think> hm what well",), stepped=True), gate)
    async with running(chat, (100, 24)) as pilot:
        await pilot.press("alt+full_stop")
        assert "No reply on screen is thinking." in chat.toasts()
        await pilot.press(*"go", "enter")
        gate.release(2)
        await until(pilot, lambda: chat.session.running is not None and chat.session.running.tokens == 2)
        await settle(pilot, chat)
        assert "alt+. answer now" in key_line(chat)
        await pilot.press("alt+full_stop")
        gate.open()
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].content == "<think>\n hm\n</think>\n\nSo what well"
        assert "answer now" not in key_line(chat)
        assert "answer now" not in on_screen(chat)
