"""What is being typed at the cursor, if it can be completed: a command, a command's argument, or a file's name."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from ttchat_tui.domain.attachments import mention_of

_COMMAND: Final = re.compile(r"(/[A-Za-z-]*)(?:[ \t]+(.*))?")
_MENTION: Final = re.compile(r'(?<![A-Za-z0-9_.+%@/\\-])@(?:"((?:[^"\\]|\\.)*)|([^\s@`"\'<>|]*))$')
_ESCAPED: Final = re.compile(r"\\(.)")


class Typed(msgspec.Struct, frozen=True):
    """Something that ends at the cursor."""

    kind: Literal["command", "argument", "file", "pasted path"]
    text: str
    """The command with its slash, the argument, or the path without `@` and quotes."""
    start: int
    """The column in which it begins, with `@` and quotes. Only a paste may have begun in the line before, if it ends with a
    line end."""
    command: str = ""
    """The command that the argument belongs to."""


class Offer(msgspec.Struct, frozen=True):
    """Something that can be taken in place of what is typed."""

    value: str
    """What is inserted."""
    title: str
    about: str = ""
    """One sentence."""
    short: str = ""
    """A few words, for a list in which the sentence does not fit; empty: the sentence is cut."""
    is_unfinished: bool = False
    """More is typed after it: the list stays open."""


def typed_before(line: str, column: int, *, is_only_line: bool) -> Typed | None:
    """What ends at `column` of `line`. Commands have only one line."""
    before, after = line[:column], line[column:]
    command = _COMMAND.fullmatch(before) if is_only_line and not after else None
    if command is not None:
        if command[2] is None:
            return Typed("command", command[1], 0)
        return Typed("argument", command[2], command.start(2), command[1].lower())
    mention = _MENTION.search(before)
    if mention is None:
        return None
    path = mention[2] if mention[1] is None else _ESCAPED.sub(r"\1", mention[1])
    return Typed("file", path, mention.start())


def file_offer(path: str, *, is_mention: bool) -> Offer:
    """A file or a folder in place of what is typed of it. A folder's name can be typed on."""
    is_folder = path.endswith("/")
    shown = mention_of(path) if is_mention else path
    if is_folder and shown.endswith('"'):
        shown = shown[:-1]  # typed on inside the quotes
    elif is_mention and not is_folder:
        shown += " "
    return Offer(shown, path, is_unfinished=is_folder)
