"""Completion in the prompt: which commands, arguments and files are offered, and what taking one does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from ttchat_tui.domain.text import visible_line
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import TABLE, Action
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.slash import BY_SLASH
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.prompt.typed import Offer, Typed, completes, file_offer, part_of

if TYPE_CHECKING:
    from ttchat_tui.session.file_finder import FileFinder
    from ttchat_tui.ui.setting_choices import SettingValues
    from ttchat_tui.ui.widgets.prompt.completion_list import CompletionList

MOST_OFFERED = 50

Choice: TypeAlias = tuple[str, str | Callable[[], str]]
"""An argument, and a few words about it, which are made when it is offered."""

_THEN_A_FILE: Final = re.compile(r"(?:json-schema|grammar)[ \t]+(.*)", re.IGNORECASE)

COMMANDS = [action for action in TABLE if action.slash]


class Choices(msgspec.Struct, frozen=True):
    """What one argument, or one part of it, can be."""

    of: tuple[str, str]
    """The name of the action, and the setting that this is the value of."""
    found: Sequence[Choice]
    """What can be typed, and a few words about each."""
    folded: Sequence[str]
    """The same in casefolded form."""
    allowed: str
    """What else may be typed, in words; empty: nothing else."""
    is_open: bool
    """Enter completes nothing: something else may be meant."""


class Completing(ChatActions):
    """A command whose argument can be completed has a method `choices_<name>`, which lists the choices: the argument, and a
    sentence about it. An argument called `file` is completed as a path, without a method, and so is what begins as one in place of a model. A
    choice that ends in a blank is typed on. See also `Action.parts`."""

    _list: CompletionList | None = None
    """Mounted on first use."""
    _typed: Typed | None = None
    """What the list completes."""
    _dismissed: tuple[str, int] | None = None
    """Kind and start of what escape was pressed on: the list stays closed while that is typed on."""
    _taken: str | None = None
    """What was taken last. The list stays closed until something else is typed."""
    _choices: Choices | None = None
    """Of the argument that is being typed."""
    _finder: FileFinder | None = None

    # --- what is offered

    @property
    def is_completing(self) -> bool:
        return self._list is not None and self._list.is_open

    async def on_prompt_completable(self, event: Prompt.Completable) -> None:
        await self.complete(event.typed)

    async def complete(self, typed: Typed | None) -> None:
        """Offer completions of what is typed; None closes the list."""
        action = BY_SLASH.get(typed.command) if typed is not None else None
        if typed is not None and action is not None:
            typed = part_of(typed, action.parts)
            typed = typed and self._as_path(action, typed)
        place = (typed.kind, typed.start) if typed is not None else None
        if typed is None or place == self._dismissed or typed.text == self._taken:
            self._dismissed = place if place == self._dismissed else None
            self.close_completions()
            return
        self._taken = None
        if typed.kind == "command":
            offers, word = self._commands(typed.text), typed.text.lower()
            # Enter runs a whole command: it is the first offer, and has no argument yet. A guess is not taken.
            is_guess = not offers or not offers[0].value.startswith(word)
            await self.offer_for(typed, offers, enter_takes=not is_guess and word not in BY_SLASH)
        elif typed.kind == "argument" and action is None:
            self.close_completions()
        elif action is None or typed.kind == "path":
            (await self._mounted_list()).expect()
            self._typed, self._dismissed = typed, None
            self.run_worker(partial(self._offer_files, typed), group="completion", exclusive=True)
        else:
            offers = self._arguments(action, typed)
            # Enter runs a command without an argument, saves to a new file, and takes no guess.
            is_begun = bool(offers) and completes(offers[0].title, typed.text)
            takes = is_begun and not self._choices_of(action, typed.setting).is_open
            await self.offer_for(typed, offers, enter_takes=takes, is_seen_first=True)

    def _as_path(self, action: Action, typed: Typed) -> Typed:
        """If a path is typed in the argument, that path: of a `file`, of the file of a form, of a model on this machine."""
        named = {action.name, typed.setting.lower()}
        if named & {"constrain", "constraint"} and (form := _THEN_A_FILE.fullmatch(typed.text)):
            start = typed.start + len(typed.quote) + form.start(1)
            return msgspec.structs.replace(typed, kind="path", text=form[1], start=start)
        is_begun = typed.text.startswith(("/", "~", "./", "../"))
        is_file = action.argument == "file" and (is_begun or not hasattr(self, f"choices_{action.name}"))
        if is_file or (is_begun and "model" in named):
            return msgspec.structs.replace(typed, kind="path")
        return typed

    async def offer_for(
        self,
        typed: Typed,
        offers: Sequence[Offer],
        *,
        enter_takes: bool = False,
        is_seen_first: bool = False,
        hint: str = "",
    ) -> None:
        """Show `offers` for what is typed; none closes the list. For the rest see `CompletionList.show`."""
        self._typed, self._dismissed = typed, None
        shown = await self._mounted_list()
        was_open = shown.is_open
        shown.show(
            offers,
            above=self.prompt.region,
            enter_takes=enter_takes,
            is_seen_first=is_seen_first,
            hint=hint,
        )
        if shown.is_open != was_open:
            self.on_message_selection_selection_changed()

    async def _mounted_list(self) -> CompletionList:
        if self._list is None:
            self._list = self.prompt.completions = deferred.completion_list.CompletionList()
            await self.query_one("#chat").mount(self._list, before="#writing")
        return self._list

    def close_completions(self) -> None:
        self._typed = self._choices = None
        self.workers.cancel_group(self, "completion")
        if self._list is not None:
            was_open = self._list.is_open
            self._list.close()
            if was_open:
                self.on_message_selection_selection_changed()

    def _commands(self, typed: str) -> list[Offer]:
        """The command that is typed, those that begin so, those with a word that does; without any, similar ones."""
        wanted = typed[1:].casefold()
        found = [action for action in COMMANDS if action.slash.startswith(f"/{wanted}")]
        found.sort(key=lambda action: action.slash != f"/{wanted}")
        if wanted:
            words = {
                each.name: f"{each.slash[1:]} {each.alias[1:]} {each.title}".casefold().replace("-", " ")
                for each in COMMANDS
            }
            found += [
                action
                for action in COMMANDS
                if action not in found and f" {wanted}" in f" {words[action.name]}"
            ]
        if not found:
            names = [action.slash[1:] for action in COMMANDS]
            found = [COMMANDS[at] for at in deferred.fuzzy.ranked(wanted, names, MOST_OFFERED)]
        return [
            Offer(
                f"{action.slash} " if action.argument else action.slash,
                action.usage,
                action.help,
                action.title,
                is_unfinished=bool(action.argument),
            )
            for action in found
        ]

    def _arguments(self, action: Action, typed: Typed) -> list[Offer]:
        """The matching choices for the part of the argument that is typed."""
        choices = self._choices_of(action, typed.setting)
        if typed.text.casefold() in choices.folded:
            return []
        if choices.allowed and typed.text:  # a number: no other one is meant
            fitting = [at for at, name in enumerate(choices.folded) if name.startswith(typed.text.casefold())]
            if not fitting:
                return [Offer(typed.text, typed.text, choices.allowed)]
        else:
            fitting = deferred.fuzzy.ranked(typed.text, choices.folded, MOST_OFFERED)
        # What a terminal would not show as it is cannot be typed either: titles and names come from others.
        matching = [
            (name, about if isinstance(about, str) else about())
            for name, about in map(choices.found.__getitem__, fitting)
            if visible_line(name) == name
        ]
        if action.parts == "whole":
            return [Offer(name, name, about, is_unfinished=name.endswith(" ")) for name, about in matching]
        given = {
            word.partition("=")[0].lstrip("#").casefold() for word in (typed.before + typed.after).split()
        }
        ending = "=" if action.parts == "settings" and not typed.setting else "" if typed.after else " "
        return [
            Offer(f"{shlex.quote(name)}{ending}", name, about, is_unfinished=bool(ending))
            for name, about in matching
            if typed.setting or name == "stop" or name.casefold() not in given
        ]

    def _choices_of(self, action: Action, setting: str) -> Choices:
        """They are read once for each argument that is typed."""
        if self._choices is None or self._choices.of != (action.name, setting):
            found, allowed = self._read_choices(action, setting)
            folded = [name.casefold() for name, _ in found]
            self._choices = Choices(
                (action.name, setting), found, folded, allowed, action.is_new or bool(allowed)
            )
        return self._choices

    def _read_choices(self, action: Action, setting: str) -> tuple[Sequence[Choice], str]:
        """The choices, and what else is allowed."""
        try:
            if setting:
                values: SettingValues = getattr(self, f"values_{action.name}")(setting)
                return values.offered, values.allowed
            choices: Callable[[], Sequence[Choice]] | None = getattr(self, f"choices_{action.name}", None)
            return (choices() if choices is not None else ()), ""
        except StorageError as error:
            self.show_error(error.info)
            return (), ""

    async def _offer_files(self, typed: Typed) -> None:
        """Offer what is found, again and again until the folder is walked."""
        if self._finder is None:
            self._finder = deferred.file_finder.FileFinder()
        action = BY_SLASH.get(typed.command)
        is_mention, is_new = typed.kind == "file", action is not None and action.is_new
        is_complete = False
        while not is_complete:
            found = await in_daemon_thread(self._finder.find, typed.text)
            is_complete = found.is_complete
            if typed != self._typed:
                return
            offers = [
                file_offer(path, is_mention=is_mention, quote=typed.quote)
                for path in found.paths
                if path != typed.text
            ]
            hint = "" if is_complete else "looking for more files"
            if found.is_cut:
                hint = f"only the first {self._finder.most:,} names are searched"
            is_begun = bool(offers) and completes(offers[0].title, typed.text)
            takes = is_begun and not found.is_exact and not is_new
            await self.offer_for(typed, offers, enter_takes=takes, hint=hint)

    # --- what happens then

    def on_completion_list_taken(self, event: CompletionList.Taken) -> None:
        typed, offer = self._typed, event.offer
        if typed is None:
            return
        self._taken = None if offer.is_unfinished else offer.value
        self.close_completions()
        self.prompt.complete(typed, offer.value)
        action = BY_SLASH.get(typed.command) if typed.kind == "argument" else None
        if event.is_meant and action is not None and action.parts == "whole" and not offer.is_unfinished:
            self.prompt.action_send()

    def on_completion_list_dismissed(self) -> None:
        if self._typed is not None:
            self._dismissed = (self._typed.kind, self._typed.start)
        self.close_completions()  # more files may have been found since escape
        self.on_message_selection_selection_changed()

    def on_screen_suspend(self) -> None:
        """A dialog takes the keys, and the prompt keeps its focus below it."""
        self.close_completions()

    def escape_does(self) -> str:
        return "close" if self.is_completing else super().escape_does()

    on_message_selection_selection_changed: Callable[[], None]
