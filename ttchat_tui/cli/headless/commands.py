"""The slash commands of the plain chat: those of the screen that make sense as lines, and what a screen shows without being asked."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterable
from itertools import starmap
from typing import Final, NamedTuple

from ttchat_tui.cli.errors import DONE, USAGE_ERROR
from ttchat_tui.cli.headless.answers import NO_MODEL, Answers
from ttchat_tui.cli.headless.listing import PlainListing, UsageError
from ttchat_tui.cli.headless.sampling_words import changed, described, with_constraint
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.prompt_library import PromptLibrary
from ttchat_tui.domain.candidates import parse_candidates
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.domain.imports import ImportReport
from ttchat_tui.domain.logit_bias import BAN, bias_words, typed_boost, typed_text
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.prompt_template import PromptTemplate
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.reply_settings import ReplySettings, command_near, parse_reply_settings
from ttchat_tui.domain.text import counted, visible_line
from ttchat_tui.domain.updates import NOTE, Notice, Update
from ttchat_tui.domain.user_paths import current_folder, expanded, unquoted
from ttchat_tui.session import name_of
from ttchat_tui.storage.export import (
    TIMELINES,
    export_messages,
    format_of,
    missing_folder,
    place_for,
    write_export,
)

NOTHING_TO_SAVE: Final = ErrorInfo(kind="nothing_to_do", message="There is nothing to save yet.")
NOTHING_OPEN: Final = ErrorInfo(kind="nothing_to_do", message="The conversation is empty.")

ABOUT_LINES: Final = (
    "A line that ends with \\ continues on the next one. A line that begins with // is sent with one /.",
    '@FILE in a line attaches the file, @"MY FILE" one with spaces, @FOLDER/ the names in a folder.',
    "ctrl+c stops a reply and keeps its text so far.",
)
_USAGE_CELLS: Final = 22
"""For the commands in the help, with two blanks after them."""


class Commands:
    """One method for each command; each takes what follows it."""

    def __init__(self, answers: Answers, paths: Paths) -> None:
        self._answers = answers
        self._say = answers.say
        self._session = answers.session
        self._listing = PlainListing(answers.session, answers.say)
        self._paths = paths
        self._library = PromptLibrary(paths)

    def run(self, line: str) -> int | None:
        """Run a line without its slash. Returns the exit code if the program ends."""
        name, _, argument = (line.strip() or "help").partition(" ")
        command = COMMANDS.get(name.lower())
        if command is None:
            hint = f"{command_near(name, COMMANDS)} ".lstrip()
            self._answers.refuse(
                f"There is no command /{name}. {hint}/help lists all commands; a line that starts with // is sent with one slash."
            )
            return None
        if argument.strip() and not command.argument:
            self._answers.refuse(
                f"/{name} takes no argument. A line that starts with // is sent with one slash."
            )
            return None
        try:
            return command.run(self, argument.strip())
        except UsageError as error:
            self._answers.refuse(f"{error} Usage: /{name} {command.argument}")
        except AppError as error:
            self._answers.fail(error.info)
        except KeyboardInterrupt:
            self._say("\n(stopped)")
            return None
        # What is piped next is meant for the conversation that could not be opened.
        return USAGE_ERROR if name.lower() in ("open", "new") and not self._answers.is_on_terminal else None

    def _show(self, updates: list[Update]) -> None:
        for update in updates:
            if isinstance(update, Notice):
                self._answers.fail(update.error)

    # --- replies

    def help(self, _: str) -> None:
        self._say(help_text(shutil.get_terminal_size().columns))

    def retry(self, typed: str) -> int | None:
        settings = parse_reply_settings(typed)
        if isinstance(settings, ErrorInfo):
            self._answers.fail(settings)
            return None
        if settings.model:
            ended = self.model(settings.model)
            if ended is not None or self._session.loaded_model != settings.model:
                return ended  # no other model answers for it
        return self._answers.regenerate(ReplySettings(sampling=settings.sampling))

    def continue_reply(self, _: str) -> int | None:
        return self._answers.continue_reply()

    def candidates(self, typed: str) -> int | None:
        order = parse_candidates(typed)
        if isinstance(order, ErrorInfo):
            self._answers.fail(order)
            return None
        return self._answers.compare(order, self._library.preset)

    def set_sampling(self, words: str) -> None:
        if words:
            self._session.set_sampling(changed(self._session.sampling, words))
            self._answers.check_settings()
        self._say(described(self._session.sampling))

    def constrain(self, typed: str) -> None:
        if typed:
            self._session.set_sampling(with_constraint(self._session.sampling, typed))
            self._answers.check_settings()
        constraint = self._session.sampling.constraint
        self._say(f"Constraint: {constraint.summary if constraint else 'off'}.")

    def ban(self, text: str) -> None:
        self._set_bias(text, lambda: (typed_text(text), BAN))

    def boost(self, text: str) -> None:
        self._set_bias(text, lambda: typed_boost(text))

    def unban(self, text: str) -> None:
        if not text:
            self._session.biasing.clear()
        self._set_bias(text, lambda: (typed_text(text), 0.0))

    def _set_bias(self, text: str, typed: Callable[[], tuple[str, float]]) -> None:
        """Set what is typed, if there is a `text`, and say what is set then."""
        try:
            refusal = self._session.biasing.set(*typed()) if text else None
        except ValueError as error:
            raise UsageError(f"{error}.") from error
        if refusal is not None:
            self._answers.fail(refusal)
            return
        self._answers.check_settings()
        words = starmap(bias_words, self._session.biasing.all.items())
        self._say(", ".join(words) or "No token is banned or boosted.")

    def system(self, text: str) -> None:
        if text:
            self._session.set_system_prompt("" if text in ('""', "''") else unquoted(text))
        self._say(self._session.system_prompt or 'There is no system prompt. /system "" removes one.')

    def template(self, words: str) -> int | None:
        name, *assignments = _split(words) or [""]
        if not name:
            self._library.read()
            self._list(self._library.templates.values(), self._library.template_faults.values())
            return None
        template = self._library.template(name)
        given = dict(each.split("=", 1) for each in assignments if "=" in each)
        text = template.filled(template.values(given))
        if template.kind == "prompt":
            return self._answers.send(text)
        self._session.set_system_prompt(text)
        self._say(text)
        return None

    def preset(self, name: str) -> int | None:
        if name:
            return self._use(self._library.preset(name))
        self._library.read()
        self._list(self._library.presets.values(), self._library.preset_faults.values())
        return None

    def _use(self, preset: Preset) -> int | None:
        self._session.presets.apply(preset)
        if preset.model and not (preset.model == self._session.model and self._session.has_model):
            self._say(f"{preset.name}: {preset.gives}")
            return self._answers.load(preset.model)  # which checks the settings
        self._answers.check_settings()
        if self._session.sampling.constraint != preset.sampling.constraint:
            preset = preset.unconstrained
        self._say(f"{preset.name}: {preset.gives}")
        return None

    def _list(self, entries: Iterable[Preset | PromptTemplate], faults: Iterable[AppError]) -> None:
        for each in entries:
            about = each.description or (each.gives if isinstance(each, Preset) else each.kind)
            variables = "" if isinstance(each, Preset) else "".join(f" {name}=" for name in each.variables)
            self._say(visible_line(f"{each.name}{variables}: {about}"))
        for fault in faults:
            self._answers.fail(fault.info)
        if not entries:
            self._say("There are none.")

    # --- conversations

    def new(self, preset: str) -> int | None:
        chosen = self._library.preset(preset) if preset else None
        self._session.new_conversation()
        self._say("A new conversation.")
        return self._use(chosen) if chosen is not None else None

    def open(self, wanted: str) -> None:
        conversation, _, message = wanted.partition(".")
        if conversation.isdecimal() and message.isdecimal():
            self._show(self._session.open_at(int(message)))
        else:
            number = int(wanted) if wanted.isdecimal() else self._listing.number_of(wanted)
            self._show(self._session.open(number))
        if self._session.conversation is not None:
            count = len(self._session.path)
            self._say(
                f"{name_of(self._session.conversation)}, {counted(count, 'message')}. /show reads them."
            )

    def rename(self, title: str) -> None:
        self._show(self._session.rename(self._open_id(), title))
        self._say(f"The title is {title}" if title else "The title is the first message's.")

    def delete(self, _: str) -> None:
        self._show(self._session.delete(self._open_id()))
        self._say("Deleted. /undo brings it back.")

    def undo(self, _: str) -> None:
        updates = self._session.branching.undo()
        notices = [update.error for update in updates if isinstance(update, Notice)]
        for each in notices:
            if each.kind == NOTE:  # what is back
                self._say(each.message)
            else:
                self._answers.fail(each)
        if not updates:
            self._say("Nothing is deleted.")

    def _open_id(self) -> int:
        """Raises AppError: the conversation has no message yet."""
        if self._session.conversation is None:
            raise AppError(NOTHING_OPEN.message, NOTHING_OPEN.cure, NOTHING_OPEN.kind)
        return self._session.conversation.id

    def show(self, count: str) -> None:
        self._listing.messages(count)

    def context(self, _: str) -> None:
        self._answers.driver.wait_for_count()
        self._listing.context()

    def branch(self, numbers: str) -> None:
        self._listing.versions(numbers)

    def find(self, words: str) -> None:
        self._listing.titles(words)

    def find_here(self, words: str) -> None:
        self._listing.hits_here(words)

    def search(self, words: str) -> None:
        self._listing.hits(words)

    # --- files

    def save(self, where: str) -> None:
        conversation = self._session.conversation
        if conversation is None:
            self._answers.fail(NOTHING_TO_SAVE)
            return
        typed = unquoted(where) or f"{self._paths.exports_dir}/"
        target = place_for(typed, current_folder(), conversation)
        format = format_of(target)
        messages = export_messages(self._session.path, self._session.tree, format)
        if (made := missing_folder(target)) is not None:
            self._say(f"In a new folder: {made}")
        recordings: dict[int, Recording] = {}
        if format in TIMELINES:
            found = ((message.id, self._session.recordings.reader(message.id)()) for message in messages)
            recordings = {message_id: each for message_id, each in found if each.tokens}
        self._say(f"Saved: {write_export(target, format, conversation, messages, recordings=recordings)}")

    def import_file(self, file: str) -> None:
        # ijson and zipfile, which few chats need
        from ttchat_tui.storage.imports.importing import import_files  # noqa: PLC0415

        if not file:
            raise UsageError("Give a file.")
        if self._session.storage_mode != "read-write":
            raise AppError("Nothing can be imported: the conversations of this session are not kept.")
        report: ImportReport = import_files(
            self._paths.database, [expanded(unquoted(file))], lambda progress: None
        )
        for line in (*report.notes, *(f"Skipped {each}" for each in report.problems), f"{report}."):
            self._say(line)

    # --- the model

    def model(self, name: str) -> int | None:
        if name:
            return self._answers.load(name)
        info = self._session.info
        if info is None:
            self._answers.fail(NO_MODEL)
        else:
            self._say(f"{info.model}, {info.label}, context of {info.context_length:,} tokens")
        return None

    def reload(self, _: str) -> int | None:
        return self._answers.load(self._session.model)

    def unload(self, _: str) -> None:
        self._show(self._session.unload())
        self._say("The model is unloaded. The next message loads it again.")

    def quit(self, _: str) -> int:
        return DONE


class _Command(NamedTuple):
    argument: str
    """Its argument in the help; empty: it takes none."""
    help: str
    """One sentence."""
    run: Callable[[Commands, str], int | None]


COMMANDS: Final[dict[str, _Command]] = {
    "help": _Command("", "List the commands.", Commands.help),
    "retry": _Command("[settings]", "Answer the last message again; the old reply stays as another version. /retry temperature=0.2 changes settings for this reply alone; model=NAME loads that model, which stays loaded.", Commands.retry),
    "continue": _Command("", "Resume the last reply where it was cut off or stopped.", Commands.continue_reply),
    "branch": _Command("[message] [n]", "List the versions of a message (the last reply), or show version n.", Commands.branch),
    "candidates": _Command("[N what text]", "Several replies to text or the last message: 4 temperature=0.2..1.4; they are versions of each other.", Commands.candidates),
    "set": _Command("[settings]", "Show the sampling, or change it: temperature=0.2 top-k=40 seed=none stop=END; stop=none removes all stop texts.", Commands.set_sampling),
    "constrain": _Command("[form]", "Show or set the form of replies: json-schema FILE, regex EXPRESSION, grammar FILE, choices TEXT,TEXT or off.", Commands.constrain),
    "ban": _Command("[text]", 'List bans and boosts, or ban a token in this conversation: /ban " the".', Commands.ban),
    "boost": _Command("[text] [amount]", "List bans and boosts, or add 2 or another amount to the logit of a token.", Commands.boost),
    "unban": _Command("[text]", "Remove the ban or boost of a token; without a text, all.", Commands.unban),
    "preset": _Command("[preset]", "List the presets, or use one's system prompt, sampling and model.", Commands.preset),
    "template": _Command("[template] [name=value ...]", "List the prompt templates, or fill one in and send it (or make it the system prompt).", Commands.template),
    "system": _Command("[text]", "Show the system prompt, or set it.", Commands.system),
    "show": _Command("[n]", "Read the conversation again, or its last n messages.", Commands.show),
    "context": _Command("", "Show what the next prompt holds: tokens, what is sent, and what falls out.", Commands.context),
    "new": _Command("[preset]", "Start an empty conversation, also with a preset; the current one is kept.", Commands.new),
    "find": _Command("[words]", "List the conversations, with these words in their title.", Commands.find),
    "search": _Command("words", "Search all messages and titles of all conversations.", Commands.search),
    "find-here": _Command("words", "List the messages of this conversation with these words.", Commands.find_here),
    "open": _Command("title", "Open the conversation of this title, the only one whose title contains it, or that of a number that /find and /search show.", Commands.open),
    "rename": _Command("[title]", "Give the conversation another title.", Commands.rename),
    "delete": _Command("", "Delete the conversation; /undo brings it back.", Commands.delete),
    "undo": _Command("", "Bring back the conversation or the messages that were deleted last.", Commands.undo),
    "save": _Command("[file]", "Write the conversation to a file (.md .json .jsonl .html .txt; .trace and .csv say where the time went) or a folder.", Commands.save),
    "import": _Command("[file]", "Read conversations of this and other programs from a file.", Commands.import_file),
    "model": _Command("[name]", "Show the model, or load another one: alias, hub id, folder or .gguf file.", Commands.model),
    "reload": _Command("", "Load the model again.", Commands.reload),
    "unload": _Command("", "Free the model's memory.", Commands.unload),
    "quit": _Command("", "Quit; so does ctrl+d.", Commands.quit),
}  # fmt: skip
"""By the word after the slash. Those that the screen has too are called as there (`ui.commands`)."""


def help_text(columns: int) -> str:
    """All commands, one below the other, in lines of at most `columns` cells."""
    width = max(columns, 2 * _USAGE_CELLS)
    parts: list[str] = []
    for name, command in COMMANDS.items():
        usage, indent = _usage(name), " " * _USAGE_CELLS
        begin = f"{usage:<{_USAGE_CELLS}}"
        if len(usage) > _USAGE_CELLS - 2:  # its sentence goes below
            parts.append(usage)
            begin = indent
        parts += textwrap.wrap(command.help, width, initial_indent=begin, subsequent_indent=indent)
    for line in ABOUT_LINES:
        parts += textwrap.wrap(line, width)
    return "\n".join(parts)


def _split(words: str) -> list[str]:
    """Raises UsageError."""
    try:
        return shlex.split(words)
    except ValueError as error:  # an open quote
        raise UsageError(f"{str(error).rstrip('.')}.") from error


def _usage(name: str) -> str:
    return f"/{name} {COMMANDS[name].argument}".rstrip()
