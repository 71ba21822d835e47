"""How much a model thinks: chosen by command and in the panel, sent with the next message, kept with the conversation."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, reply_ended, running, until
from ttchat_tui.ui.screens.save import SaveTranscript
from ttchat_tui.ui.widgets.choice_row import MarkedButton
from ttchat_tui.ui.widgets.sampling.preset_select import PresetField

REPLY = "<think>\nHm.\n</think>\n\nYes."


async def test_thinking_is_chosen_by_command_and_in_the_panel_and_kept(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=(REPLY,), thinking=("off", "low")))
    async with running(chat) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        field = next(each for each in panel.query(PresetField) if each is not panel._presets)
        assert not field.disabled
        assert field.names == ("auto", "off", "low")
        chat.screen.command_think("high")
        await pilot.pause()
        assert chat.session.sampling.thinking == "auto"
        await pilot.press(*"/think low", "enter")
        await pilot.press(*"go", "enter")
        await reply_ended(pilot, chat)
        assert chat.engine.requests[-1].sampling.thinking == "low"
        field._menu.action_choose(-1)
        await until(pilot, lambda: chat.engine.counted.thinking == "off")
        await pilot.press(*"go on", "enter")
        await reply_ended(pilot, chat)
        request = chat.engine.requests[-1]
        assert request.sampling.thinking == "off"
        assert [message.reasoning_content for message in request.messages] == ["", "Hm.", ""]
        assert chat.session.conversation is not None
        stored = chat.store.conversation(chat.session.conversation.id)
        assert stored.sampling is not None
        assert stored.sampling.thinking == "off"
        reply = chat.session.path[-1].reply
        assert reply is not None
        assert reply.stats is not None
        assert len(reply.stats.thoughts) == 1, "a reload shows the figures"
        await pilot.press("alt+o")
        assert chat.screen.transcript.folding.is_open(chat.session.path[-1].id, 0)
        await pilot.press("ctrl+up", "ctrl+up", "ctrl+up", "enter")
        selected = chat.screen.transcript.selected
        assert selected is not None
        assert selected == chat.session.path[1].id
        assert chat.screen.transcript.folding.is_open(selected, 0)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(chat.app.screen, SaveTranscript))
        without = next(each for each in chat.app.screen.query(MarkedButton) if each.name == "without")
        without.toggle()
        await pilot.pause()
        chat.app.screen.query_one(Input).value = str(tmp_path / "talk.txt")
        await pilot.pause()
        await pilot.click("#save")
        await until(pilot, (tmp_path / "talk.txt").exists)
        text = (tmp_path / "talk.txt").read_text()
        assert "Yes." in text
        assert "Hm." not in text


async def test_a_template_without_thinking_offers_no_choice(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        assert panel._thinking.disabled
        await pilot.press(*"/think low", "enter")
        await pilot.press("alt+o")
        assert chat.toasts() == [
            "A choice about thinking has no effect: the chat template of scripted does not understand it.",
            "The last reply has no thoughts.",
        ]
        assert chat.session.sampling.thinking == "auto"
