"""What is being typed at the cursor, if it can be completed: a command, a command's argument, or a file's name."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from ttchat_tui.domain.attachments import mention_of
from ttchat_tui.ui.commands import Parts

_COMMAND: Final = re.compile(r"(/[A-Za-z-]*)(?:[ \t]+(.*))?")
_MENTION: Final = re.compile(r'(?<![A-Za-z0-9_.+%@/\\-])@(?:"((?:[^"\\]|\\.)*)|([^\s@`"\'<>|]*))$')
_SETTING: Final = re.compile(r"""(?:[^\s"']|"[^"]*(?:"|$)|'[^']*(?:'|$))+""")
"""As `shlex.split` sees it; the last quotation mark may have no partner yet."""
_ESCAPED: Final = re.compile(r"\\(.)")


class Typed(msgspec.Struct, frozen=True):
    """Something that ends at the cursor."""

    kind: Literal["command", "argument", "file", "path", "pasted path"]
    text: str
    """The command with its slash, the argument, or the path without `@` and quotes. A `file` is mentioned with an `@`, a
    `path` is in a command's argument."""
    start: int
    """The column in which it begins, with `@` and quotes. Only a paste may have begun in the line before, if it ends with a
    line end."""
    command: str = ""
    """The command that the argument belongs to."""
    setting: str = ""
    """The name of the setting that it is a value of."""
    quote: str = ""
    """The quotation mark with which this part of an argument begins."""
    before: str = ""
    """Of an argument, what is before this part of it."""
    after: str = ""
    """Of an argument, what is after the cursor."""


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
    """What ends at `column` of `line`. Commands have only one line; the cursor is at its end, or between two words."""
    before, after = line[:column], line[column:]
    command = _COMMAND.fullmatch(before) if is_only_line and after[:1] in ("", " ") else None
    if command is not None and command[2] is not None:
        return Typed("argument", command[2], command.start(2), command[1].lower(), after=after)
    if command is not None and not after:
        return Typed("command", command[1], 0)
    mention = _MENTION.search(before)
    if mention is None:
        return None
    path = mention[2] if mention[1] is None else _ESCAPED.sub(r"\1", mention[1])
    return Typed("file", path, mention.start())


def part_of(argument: Typed, parts: Parts) -> Typed | None:
    """The part of an argument that ends at the cursor; None if there is none to complete."""
    text = argument.text
    if parts == "whole":
        return None if argument.after else argument
    if parts == "words":
        start = max(text.rfind(" "), text.rfind(","), text.rfind("\t")) + 1
    else:
        last = [each.start() for each in _SETTING.finditer(text) if each.end() == len(text)]
        start = last[0] if last else len(text)
    word, setting = text[start:], ""
    if parts == "settings" and "=" in word:
        setting, _, word = word.partition("=")
    quote = word[:1] if parts == "settings" and word[:1] in ("'", '"') else ""
    return msgspec.structs.replace(
        argument,
        text=word.lstrip("#") if parts == "words" else word.removeprefix(quote),
        quote=quote,
        start=argument.start + len(text) - len(word),
        setting=setting,
        before=text[:start],
    )


def completes(candidate: str, typed: str) -> bool:
    """Whether `candidate` is longer than `typed`, which begins it or one of its words. Case does not matter."""
    wanted, whole = typed.casefold(), candidate.casefold()
    begins_word = re.search(rf"(?<![^\W_]){re.escape(wanted)}", whole)
    return bool(wanted) and len(wanted) < len(whole) and begins_word is not None


def file_offer(path: str, *, is_mention: bool, quote: str = "") -> Offer:
    """A file or a folder in place of what is typed of it. A folder's name can be typed on. `quote`: the mark that is open
    before it."""
    is_folder = path.endswith("/")
    shown = mention_of(path) if is_mention else path
    if is_folder and shown.endswith('"'):
        shown = shown[:-1]  # typed on inside the quotes
    elif not is_folder:
        shown += " " if is_mention else quote
    return Offer(shown, path, is_unfinished=is_folder)
