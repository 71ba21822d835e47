"""Actions on prompt templates, system prompts and presets: choose one, save the current one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.text import visible_line
from ttchat_tui.domain.updates import Update
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft

if TYPE_CHECKING:
    from ttchat_tui.config.prompt_library import PromptLibrary
    from ttchat_tui.domain.prompt_template import PromptTemplate
    from ttchat_tui.ui.screens.prompt_picker import PromptEntry
    from ttchat_tui.ui.screens.save_prompt import SavedPrompt
    from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel

log = logging.getLogger(__name__)

_WAY_BACK = "/undo brings the settings before it back."

_DRAFT, _MESSAGE, _SYSTEM = "The draft", "Your last message", "The system prompt"

_EXAMPLE = """A template is a Markdown file in that folder, such as review.md:

+++
description = "Review code"
[variables.code]
[variables.tone]
choices = ["kind", "harsh"]
+++
Review this in a {{tone}} tone: {{code}}"""


class PromptActions(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    _refresh_settings: Callable[[], None]
    _known_faults: Sequence[str] = ()

    # --- the files

    @cached_property
    def library(self) -> PromptLibrary:
        """The user's templates and presets; empty until `read_prompts` has read them, soon after the first frame."""
        return deferred.prompt_library.PromptLibrary(self.services.paths)

    def read_prompts(self) -> None:
        """Read templates and presets in the background, now and whenever their files change."""
        self.run_worker(self._follow_files(), group="prompts", exclusive=True)

    async def _follow_files(self) -> None:
        await asyncio.to_thread(self.library.read)
        self._show_library()
        # `Path.is_dir` raises if a folder above them may not be searched.
        folders = list(filter(os.path.isdir, (self.library.prompts_dir, self.library.presets_dir)))
        if not folders:  # the next picker looks again
            return
        try:
            async for _ in deferred.file_watch.changes(*folders):
                await asyncio.to_thread(self.library.read)
                self._show_library()
        except (OSError, RuntimeError) as error:
            # The system has no watches left, or watchfiles failed. Each picker reads the files all the same.
            log.warning("changes of prompt templates and presets are not seen: %s", error)

    def _show_library(self) -> None:
        """Show what was read: in the panel, in an open picker, and new faults in a toast."""
        if self.sampling_panel is not None:
            self.sampling_panel.set_presets(self.library.presets)
        if isinstance(self.app.screen, deferred.prompt_picker.PromptPicker):
            self.app.screen.refresh_entries()
        templates, presets = self.library.template_faults, self.library.preset_faults
        faults = {name: str(error) for name, error in (*templates.items(), *presets.items())}
        if new := [name for name, fault in faults.items() if fault not in self._known_faults]:
            places = [each for each, its in (("/template", templates), ("/preset", presets)) if its]
            self.notify(faulty(new, places), severity="warning", markup=False)
        self._known_faults = list(faults.values())

    # --- templates

    def action_template(self) -> None:
        self.read_prompts()
        picker = deferred.prompt_picker.PromptPicker(
            "Prompt templates",
            self._template_entries,
            self.library.prompts_dir,
            self.action_save_template,
            _EXAMPLE,
        )
        self.app.push_screen(picker, lambda name: self.command_template(name) if name else None)

    def command_template(self, name: str) -> None:
        """`/template name`: its form, or its text where it has no variables."""
        try:
            template = self.library.template(name)
        except ConfigError as error:
            self.show_error(error.info)
            return
        if not template.variables:
            self._use_text(template, template.text)
            return
        ui = self.services.config.ui
        form = deferred.template_form.TemplateForm(
            template, submit_keys=ui.submit_keys, newline_keys=ui.newline_keys
        )
        self.app.push_screen(form, lambda text: self._use_text(template, text) if text is not None else None)

    def choices_template(self) -> list[tuple[str, str]]:
        """The names that complete `/template`, and what is said beside them."""
        return [(name, each.description) for name, each in self.library.templates.items()]

    def _use_text(self, template: PromptTemplate, text: str) -> None:
        """Put the text below the draft, or make it the system prompt."""
        if template.kind == "prompt":
            draft = self.prompt.text
            self.prompt.set_draft(f"{draft.rstrip()}\n\n{text}" if draft.strip() else text)
            self.prompt.focus()
            self.keep_draft()
        else:
            self._apply(Preset(name=template.name, system_prompt=as_draft(text)))
            words = f"The system prompt is now the text of {visible_line(template.name)}."
            self.notify(f"{words}\n{_WAY_BACK}", markup=False)
        self.count()

    def _apply(self, preset: Preset) -> None:
        """Apply a preset without its model, and show the settings."""
        self.apply_typed_settings()
        self.attempt(lambda: self.session.presets.apply(preset))
        self._show_settings()

    def _show_settings(self) -> None:
        """Show the settings that were just changed. ctrl+z in the system prompt's field brings the one before back."""
        if self.sampling_panel is not None:
            self.sampling_panel.replace_system_prompt(self.session.system_prompt)
        self._refresh_settings()

    def take_back_preset(self) -> bool:
        """Undo the last preset, if its settings are still in use here. Returns whether they were."""
        name = ""

        def take_back() -> list[Update]:
            nonlocal name
            name, updates = self.session.presets.take_back()
            return updates

        self.apply_typed_settings()
        self.attempt(take_back)
        if name:
            self._show_settings()
            self.count()
            self.notify(f"The settings before {visible_line(name)} are back.", markup=False)
        return bool(name)

    def _template_entries(self) -> list[PromptEntry]:
        entry = deferred.prompt_picker.PromptEntry
        found = [
            entry(
                each.name,
                f"system · {each.description}".rstrip(" ·") if each.kind == "system" else each.description,
                each.text,
            )
            for each in self.library.templates.values()
        ]
        return found + self._faulty(self.library.template_faults)

    def action_save_template(self) -> None:
        self.command_save_template("")

    def command_save_template(self, name: str) -> None:
        """`/save-template name`: the dialog, with the name in it."""
        self.apply_typed_settings()
        said = [message.content for message in self.session.path if message.role == "user"]
        texts = {
            _DRAFT: self.prompt.text,
            _MESSAGE: said[-1] if said else "",
            _SYSTEM: self.session.system_prompt,
        }
        parts = {part: text.strip("\n") for part, text in texts.items() if text.strip()}
        if not parts:
            self.notify("There is nothing to save: draft and system prompt are empty.", markup=False)
            return
        files, folder = deferred.prompt_files, self.library.prompts_dir

        def save(chosen: SavedPrompt | None) -> None:
            if chosen is not None:
                kind, text = "system" if chosen.part == _SYSTEM else "prompt", parts[chosen.part]
                self._save_prompt_file(
                    lambda: files.save_template(folder, chosen.name, chosen.description, kind, text)
                )

        problem = partial(files.name_problem, folder, files.TEMPLATE_SUFFIX)
        self.app.push_screen(
            deferred.save_prompt.SavePrompt("Save as a template", parts, problem, name), save
        )

    # --- presets

    def action_preset(self) -> None:
        self.read_prompts()
        picker = deferred.prompt_picker.PromptPicker(
            "Presets",
            self._preset_entries,
            self.library.presets_dir,
            self.action_save_preset,
            saves="save these settings as a preset",
        )
        self.app.push_screen(picker, lambda name: self.command_preset(name) if name else None)

    def command_preset(self, name: str) -> None:
        """`/preset name`: for the conversation on screen."""
        if (preset := self._usable_preset(name)) is not None:
            self._use_preset(preset)

    def choices_preset(self) -> list[tuple[str, str]]:
        """The names that complete `/preset` and `/new`, and what is said beside them."""
        return [(name, each.description or each.gives) for name, each in self.library.presets.items()]

    choices_new = choices_preset

    def command_new(self, name: str) -> None:
        """`/new preset`: a new conversation with this preset."""
        if (preset := self._usable_preset(name)) is not None:
            self.action_new()
            self._use_preset(preset)

    def _usable_preset(self, name: str) -> Preset | None:
        """The preset of this name, or None and an error on screen."""
        try:
            preset = self.library.preset(name)
        except ConfigError as error:
            self.show_error(error.info)
            return None
        fault = self.model_fault(preset.model) if preset.model else None
        if fault is None:
            return preset
        self.show_error(
            msgspec.structs.replace(fault, message=f"Preset {visible_line(name)}: {fault.message}")
        )
        return None

    def _use_preset(self, preset: Preset) -> None:
        self._apply(preset)
        if self.sampling_panel is not None:
            self.sampling_panel.set_preset(preset.name)
        self.count()
        if preset.model and not (preset.model == self.session.model and self.session.has_model):
            self.show_updates(self.session.load(preset.model))
        if self.session.constraining.is_on_trial:  # another update names the constraint, if it can be used
            preset = preset.unconstrained
        words = f"{preset.name}: {preset.gives}" if preset.gives else preset.name
        self.notify(f"{visible_line(words)}\n{_WAY_BACK}", title="Preset", markup=False)

    def _preset_entries(self) -> list[PromptEntry]:
        entry = deferred.prompt_picker.PromptEntry
        found = [
            entry(each.name, each.description or each.gives, deferred.prompt_files.preset_text(each))
            for each in self.library.presets.values()
        ]
        return found + self._faulty(self.library.preset_faults)

    def action_save_preset(self) -> None:
        self.command_save_preset("")

    def command_save_preset(self, name: str) -> None:
        """`/save-preset name`: the dialog, with the name in it."""
        self.apply_typed_settings()
        files, folder = deferred.prompt_files, self.library.presets_dir
        preset = self.session.presets.current()
        preset = msgspec.structs.replace(preset, model=deferred.local.lasting_name(preset.model))

        def save(chosen: SavedPrompt | None) -> None:
            if chosen is not None:
                self._save_prompt_file(
                    lambda: files.save_preset(folder, chosen.name, chosen.description, preset)
                )

        parts = {"settings": files.preset_text(preset)}
        problem = partial(files.name_problem, folder, files.PRESET_SUFFIX)
        self.app.push_screen(deferred.save_prompt.SavePrompt("Save as a preset", parts, problem, name), save)

    def on_sampling_panel_preset_chosen(self, event: SamplingPanel.PresetChosen) -> None:
        self.command_preset(event.name)
        self._refresh_settings()  # where it could not be used, the menu shows the old one again

    # --- both

    def _faulty(self, faults: dict[str, ConfigError]) -> list[PromptEntry]:
        entry = deferred.prompt_picker.PromptEntry
        return [entry(name, "cannot be used", str(error), is_usable=False) for name, error in faults.items()]

    def _save_prompt_file(self, write: Callable[[], object]) -> None:
        try:
            file = write()
        except ConfigError as error:
            self.show_error(error.info)
        else:
            self.notify(f"Saved to {file}", markup=False)
            self.read_prompts()


def faulty(names: Sequence[str], places: Sequence[str]) -> str:
    """A sentence for a toast about prompt files that cannot be used. `places`: the commands that show why."""
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    show = "shows" if len(places) == 1 else "show"
    return f"{visible_line(names[0])}{more} cannot be used: {' and '.join(places)} {show} why."
