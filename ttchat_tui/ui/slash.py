"""Slash commands in the prompt: `/save notes.md`. They come from the action table."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from ttchat_tui.domain.conversation import joined
from ttchat_tui.domain.reply_settings import command_near
from ttchat_tui.ui.commands import TABLE, Action

_COMMAND: Final = re.compile(r"/([a-z][a-z-]*)(?:[ \t]+(.*))?\s*", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"//+[^\s/].*")
"""A line of text that begins with a slash. Code that begins with a comment is none."""

BY_SLASH: Final[dict[str, Action]] = {
    slash: action for action in TABLE for slash in (action.slash, action.alias) if slash
}


class PlainText(msgspec.Struct, frozen=True):
    """Text to send. The `//` of a line that begins with it has become `/`."""

    text: str


class SlashCommand(msgspec.Struct, frozen=True):
    action: Action
    argument: str
    """The text after the command, stripped."""


class SlashError(msgspec.Struct, frozen=True):
    """An unknown or malformed command. The draft should stay."""

    sentence: str


Submission: TypeAlias = PlainText | SlashCommand | SlashError


def parse_submission(text: str) -> Submission:
    """Parse a submitted text.

    Only a single line of a slash, a word and an argument is a command: `/usr/bin/env is …` and pasted code are text.
    """
    stripped = text.strip()
    if _ESCAPED.fullmatch(stripped):
        return PlainText(text.replace("//", "/", 1))
    match = _COMMAND.fullmatch(stripped)
    if match is None:
        return PlainText(text)
    word, argument = f"/{match[1].lower()}", (match[2] or "").strip()
    action = BY_SLASH.get(word)
    if action is None:
        near = command_near(word.removeprefix("/"), [each.removeprefix("/") for each in BY_SLASH])
        hint = near or "F1 lists the commands."
        return SlashError(f"There is no command {word}. {hint} To send it as text, start with //.")
    if argument and not action.argument:
        return SlashError(f"{word} takes no argument. To send this as text, start with //.")
    return SlashCommand(action, argument)


def parse_below(returned: str, typed: str) -> Submission:
    """Parse what was typed below a message that came back, which may be empty: a command alone, or the text of both."""
    submission = parse_submission(typed)
    if not returned or not isinstance(submission, PlainText):
        return submission
    above = parse_submission(returned)
    return PlainText(joined(above.text if isinstance(above, PlainText) else returned, submission.text))


def as_typed(text: str) -> str:
    """How the text of a message is typed: with one slash more where it would be a command."""
    return text if parse_submission(text) == PlainText(text) else text.replace("/", "//", 1)
