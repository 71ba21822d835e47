"""The list of earlier prompts above the prompt."""

from __future__ import annotations

from pathlib import Path

from textual.events import AppBlur, AppFocus

from tests.ui.chat_app import ChatApp, running, settle, until
from tests.ui.test_elsewhere import shown


async def test_earlier_prompts_are_found_as_you_type_and_put_in_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    made = chat.store.create_conversation()
    for text in ("the oldest one", "  [b]old[/] words\nof a poem", "newest"):
        chat.store.add_user_message(made.id, None, text)
    async with running(chat) as pilot:
        await pilot.press(*"draft", "alt+r")
        await settle(pilot, chat)
        lines = shown(chat).splitlines()
        at = next(number for number, line in enumerate(lines) if "3 prompts ·" in line)
        assert [
            words in lines[at + 1 + place]
            for place, words in enumerate(("the oldest", "[b]old[/] words of", "newest"))
        ]
        await pilot.press(*"poe")
        await until(pilot, lambda: "1 prompt ·" in shown(chat))
        await pilot.press(*"x")
        await until(pilot, lambda: "No prompt has these words" in shown(chat))
        await pilot.press("backspace")
        await until(pilot, lambda: "1 prompt ·" in shown(chat))
        await pilot.press("enter")
        await settle(pilot, chat)
        prompt = chat.screen.prompt
        assert (prompt.text, prompt.has_focus) == ("  [b]old[/] words\nof a poem", True)
        assert "1 prompt" not in shown(chat)
        await pilot.press("ctrl+z")
        assert prompt.text == "draft"
        await pilot.press("alt+r", "up", "up", "enter")
        assert prompt.text == "the oldest one"
        await pilot.press("alt+r", "escape")
        assert (prompt.text, prompt.has_focus) == ("the oldest one", True)
        await pilot.press("alt+r", "ctrl+t")
        await settle(pilot, chat)
        assert "3 prompts ·" not in shown(chat), "it closes when the focus goes elsewhere"
        assert chat.screen.transcript.has_focus
        await pilot.press("alt+r", "f1", "escape")
        await settle(pilot, chat)
        assert "3 prompts ·" in shown(chat), "a dialog over it is not elsewhere"
        chat.app.post_message(AppBlur())
        await settle(pilot, chat)
        assert "3 prompts ·" in shown(chat), "nor is another window"
        chat.app.post_message(AppFocus())
        await settle(pilot, chat)
        await pilot.press("escape")
        chat.session._make_search = None  # nothing is kept on disk
        chat.session._search = None
        await pilot.press("alt+r", *"OLD poem", "enter")
        assert prompt.text == "  [b]old[/] words\nof a poem", "the last prompts are searched"


async def test_an_earlier_prompt_that_looks_like_a_command_is_a_message_again(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    made = chat.store.create_conversation()
    chat.store.add_user_message(made.id, None, "/undo is what?")
    async with running(chat) as pilot:
        await pilot.press("alt+r", *"undo")
        await until(pilot, lambda: "1 prompt ·" in shown(chat))
        await pilot.press("enter")
        assert chat.screen.prompt.text == "//undo is what?"
        chat.screen.prompt.set_draft("")
        await pilot.press("up")
        assert chat.screen.prompt.text == "//undo is what?"
