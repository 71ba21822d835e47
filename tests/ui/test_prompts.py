"""Prompt templates and presets in the app: chosen, filled in, saved, and read again when their files change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select

from tests.ui.chat_app import ChatApp, running, until
from tests.ui.shell_app import screen_text
from ttchat_tui.config.prompt_files import read_preset, read_template
from ttchat_tui.domain.preset import BUILT_IN
from ttchat_tui.domain.prompt_template import Variable
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.ui import file_watch
from ttchat_tui.ui.screens import prompt_picker
from ttchat_tui.ui.screens.prompt_picker import PromptPicker
from ttchat_tui.ui.screens.template_form import TemplateForm, ValueField
from ttchat_tui.ui.widgets.sampling.preset_select import PresetMenu
from ttchat_tui.ui.widgets.sampling.system_prompt import SystemPrompt

REVIEW = """+++
[variables.code]
[variables.tone]
choices = ["[b]kind[/b]", "harsh"]
[variables.extra]
default = ""
+++
In a {{tone}} tone:
{{code}}{{extra}}"""
PIRATE = '+++\nkind = "system"\ndescription = "[b]arr"\n+++\nYou are a pirate.\x1b[31m'
TERSE = 'system_prompt = "Be brief."\n[sampling]\ntemperature = 0.1\n'


def app_with(folder: Path, files: Mapping[str, str]) -> ChatApp:
    for name, text in files.items():
        (folder / "config" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "config" / name).write_text(text)
    return ChatApp(folder)


async def command(pilot: Pilot[None], chat: ChatApp, text: str) -> None:
    chat.screen.prompt.set_draft(text)
    await pilot.press("enter")
    await pilot.pause()


async def test_a_filled_template_joins_the_draft_and_a_system_one_becomes_the_system_prompt(
    tmp_path: Path,
) -> None:
    files = {"prompts/review.md": REVIEW, "prompts/pirate.md": PIRATE, "prompts/bad.md": "+++\n"}
    chat = app_with(tmp_path, files)
    async with running(chat) as pilot:
        await until(pilot, lambda: len(chat.screen.library.templates) == 2)
        (said,) = chat.toasts()
        assert said == "bad.md cannot be used: /template shows why."
        assert chat.screen.choices_template() == [("pirate", "[b]arr"), ("review", "")]
        assert chat.screen.choices_new()[0] == ("precise", BUILT_IN["precise"].gives)
        chat.screen.prompt.set_draft("Look:")
        await pilot.press("alt+m", *"bad", "enter")
        await pilot.pause()
        assert isinstance(chat.app.screen, PromptPicker)  # it cannot be chosen; its fault is the preview
        assert "has no end" in "\n".join(screen_text(chat.app))
        await pilot.press("ctrl+u", *"rev", "enter")
        await pilot.pause()
        form = chat.app.screen
        assert isinstance(form, TemplateForm)
        assert "\n".join(screen_text(chat.app)).count("[b]kind[/b]") == 2  # in its menu and in the preview
        await pilot.press("ctrl+s")
        assert "code is empty." in "\n".join(screen_text(chat.app))
        assert form.focused is form.query(ValueField).first()
        await pilot.press("a", "ctrl+j", *"{{tone}}")
        form.query_one(Select).value = "harsh"
        await pilot.press("enter")
        assert form.focused is form.query_one(Select)
        await pilot.press("space", "up", "enter")
        await pilot.pause()
        assert chat.app.screen is form, "enter in the open list chooses"
        form.query_one(Select).value = "harsh"
        await pilot.pause()
        await pilot.press("enter", "enter")
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert chat.screen.prompt.text == "Look:\n\nIn a harsh tone:\na\n{{tone}}"
        assert chat.session.path == []
        await command(pilot, chat, "/template pirate")
        assert chat.session.system_prompt == "You are a pirate."
        assert chat.screen.sampling_panel is not None
        assert chat.screen.sampling_panel.system_prompt == "You are a pirate."
        await command(pilot, chat, "/template pirat")
        assert chat.toasts()[-1].endswith("there is no template pirat.\nDid you mean pirate?")


async def test_the_draft_and_the_system_prompt_are_saved_as_new_templates(tmp_path: Path) -> None:
    chat = app_with(tmp_path, {})
    folder = chat.paths.prompts_dir
    async with running(chat) as pilot:
        await command(pilot, chat, "/save-template")
        assert chat.toasts()[-1] == "There is nothing to save: draft and system prompt are empty."
        chat.screen.prompt.set_draft("Hi {{who}}, {{ not one }}")
        await pilot.press("alt+m")
        await pilot.pause()
        assert "such as review.md" in "\n".join(screen_text(chat.app))
        await pilot.press("ctrl+s")
        await pilot.pause()
        await pilot.press(*"hi", "tab", *"A word", "enter")
        await until(pilot, lambda: "hi" in chat.screen.library.templates)
        saved = read_template(folder / "hi.md")
        assert (saved.text, saved.description) == ("Hi {{who}}, {{ not one }}", "A word")
        assert saved.variables == {"who": Variable()}
        chat.session.set_system_prompt("Be kind.")
        chat.screen._refresh_settings()
        await command(pilot, chat, "/save-template hi")
        await pilot.press("enter")
        await pilot.pause()
        assert "hi.md exists, and is not replaced" in "\n".join(screen_text(chat.app))
        await pilot.press("end", "2", "enter")
        await until(pilot, lambda: (folder / "hi2.md").exists())
        saved = read_template(folder / "hi2.md")
        assert (saved.kind, saved.text) == ("system", "Be kind.")
        assert read_template(folder / "hi.md").description == "A word"


async def test_a_preset_sets_system_prompt_sampling_and_model_also_in_a_new_conversation(
    tmp_path: Path,
) -> None:
    lost = 'model = "no such model"\n[sampling]\ntemperature = 2'
    chat = app_with(
        tmp_path,
        {
            "presets/[b]terse.toml": TERSE,
            "presets/lost.toml": lost,
            "presets/bare.toml": 'system_prompt = "x"',
        },
    )
    async with running(chat) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        menu = panel.query_one(PresetMenu)
        await until(pilot, lambda: "[b]terse" in menu.names)
        default = chat.session.sampling
        await command(pilot, chat, "/preset lost")
        assert chat.toasts()[-1].startswith("Preset lost: No model is called 'no such model'.")
        assert (chat.session.sampling, chat.session.model) == (default, "scripted")
        menu.value = "[b]terse"
        await pilot.pause()
        assert (chat.session.system_prompt, chat.session.sampling.temperature) == ("Be brief.", 0.1)
        assert "[b]terse" in "\n".join(screen_text(chat.app))
        await command(pilot, chat, "/save-preset")
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: "mine" in chat.screen.library.presets)
        saved = read_preset(chat.paths.presets_dir / "mine.toml")
        assert (saved.model, saved.system_prompt) == ("scripted", "Be brief.")
        assert saved.sampling_over(SamplingParams(), SamplingParams()) == chat.session.sampling
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert (chat.session.system_prompt, menu.value == "mine") == ("", False)
        chat.session.set_system_prompt("Mine")
        chat.screen._refresh_settings()
        await command(pilot, chat, "/preset bare")
        assert chat.toasts()[-1].endswith("\n/undo brings the settings before it back.")
        await until(pilot, lambda: panel.system_prompt == "x")
        field = panel.query_one(SystemPrompt)
        field.undo()
        await pilot.pause()
        field.report()
        await pilot.pause()
        assert chat.session.system_prompt == "Mine"
        await command(pilot, chat, "/preset bare")
        assert (chat.session.system_prompt, chat.session._opened.sampling) == (
            "x",
            None,
        )  # the model's own applies
        await command(pilot, chat, "/preset precise")
        assert chat.session.sampling == BUILT_IN["precise"].sampling_over(default, default)
        await command(pilot, chat, "/undo")
        assert chat.toasts()[-1] == "The settings before precise are back."
        assert (chat.session._opened.sampling, panel.system_prompt) == (None, "x")
        await command(pilot, chat, "/undo")
        assert chat.toasts()[-1].startswith("There is no deleted"), "one step"
        await command(pilot, chat, "/preset precise")
        chat.session.set_system_prompt("changed since")
        chat.screen._refresh_settings()
        await command(pilot, chat, "/undo")
        assert chat.session.system_prompt == "changed since"
        for _ in range(2):
            await command(pilot, chat, "/preset bare")
        await command(pilot, chat, "/undo")
        assert chat.toasts()[-1] == "The settings before bare are back."
        await command(pilot, chat, "/undo")
        assert chat.toasts()[-1].startswith("There is no deleted"), "also if it changed nothing"
        other = chat.store.create_conversation(title="other")
        chat.store.add_user_message(other.id, None, "Hi")
        await command(pilot, chat, "/preset bare")
        chat.screen.delete_conversations(other.id)
        await command(pilot, chat, "/undo")
        assert chat.session.conversation is not None, "what was done last"
        chat.screen.action_new()
        await command(pilot, chat, "/new [b]terse")
        assert (chat.session.path, chat.session.system_prompt, menu.value) == ([], "Be brief.", "[b]terse")


async def test_files_are_read_again_when_they_change_also_in_an_open_picker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: asyncio.Queue[None] = asyncio.Queue()

    async def awatch(*folders: Path, recursive: bool) -> AsyncIterator[set[Path]]:
        while True:
            await saved.get()
            yield {*folders}

    monkeypatch.setattr(file_watch.watchfiles, "awatch", awatch)
    monkeypatch.setattr(prompt_picker, "MOST_LISTED", 2)
    chat = app_with(tmp_path, {"prompts/one.md": "One."})
    async with running(chat) as pilot:
        await until(pilot, lambda: "one" in chat.screen.library.templates)
        chat.screen.action_template()
        chat.screen._show_library()  # the files are read before the picker is drawn
        await pilot.pause()
        for name, text in {"two": "Two.", "bad": "+++\n"}.items():
            (chat.paths.prompts_dir / f"{name}.md").write_text(text)
        saved.put_nowait(None)
        picker = chat.app.screen
        await until(pilot, lambda: picker.query_one(OptionList).option_count == 2)
        picker.query_one(OptionList).highlighted = 0
        await pilot.click(OptionList, offset=(3, 1))
        assert (picker.query_one(OptionList).highlighted, chat.app.screen is picker) == (1, True)
        assert "1 more match" in "\n".join(screen_text(chat.app))
        assert len(chat.toasts()) == 1
        chat.app.clear_notifications()
        (chat.paths.prompts_dir / "one.md").write_text("Another one.")
        saved.put_nowait(None)
        await until(pilot, lambda: chat.screen.library.templates["one"].text == "Another one.")
        await pilot.pause()
        assert chat.toasts() == []  # the fault was said once
        picker.query_one(Input).value = "two"
        await pilot.press("enter")
        await pilot.pause()
        assert chat.screen.prompt.text == "Two."
