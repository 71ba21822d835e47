"""Transcripts as files: Markdown to read, JSON with everything, JSONL in the messages format. Never over another."""

from __future__ import annotations

import errno
import os
import re
import shlex
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export_markdown import export_markdown
from ttchat_tui.storage.files import sync_folder

ExportFormat: TypeAlias = Literal["markdown", "json", "jsonl"]

FORMAT: Final = "ttchat-tui conversation"
VERSION: Final = 1


class ConversationFile(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON format: decode with this struct. Additions keep the version, other changes raise it."""

    format: Literal["ttchat-tui conversation"] = FORMAT
    version: Literal[1] = VERSION
    conversation: Conversation
    messages: tuple[Message, ...]
    """Parents before their children: the path on screen, or the whole tree (`conversation.head_id` names the path)."""


def export_json(conversation: Conversation, messages: Sequence[Message]) -> str:
    """All that is stored, a message a line, but for the unsent draft. `messages`: a path, or the whole tree."""
    head = msgspec.json.encode(msgspec.structs.replace(conversation, draft="")).decode()
    lines = ",\n".join(f"    {msgspec.json.encode(message).decode()}" for message in messages)
    body = f"[\n{lines}\n  ]" if messages else "[]"
    return (
        f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n'
        f'  "conversation": {head},\n  "messages": {body}\n}}\n'
    )


def export_jsonl(conversation: Conversation, messages: Sequence[Message]) -> str:
    """One line, `{"messages": [{"role": …, "content": …}, …]}`: OpenAI's format. Empty messages are left out."""
    turns = [ChatMessage("system", conversation.system_prompt)]
    turns += [ChatMessage(message.role, message.content) for message in messages]
    kept = [turn for turn in turns if turn.content.strip()]
    return msgspec.json.encode({"messages": kept}).decode() + "\n"


_WRITERS: Final[dict[str, tuple[str, Callable[[Conversation, Sequence[Message]], str]]]] = {
    "markdown": (".md", export_markdown),
    "json": (".json", export_json),
    "jsonl": (".jsonl", export_jsonl),
}


ENDINGS: Final[dict[str, ExportFormat]] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".jsonl": "jsonl",
}
"""What a file's ending says of its format."""


def place_for(typed: str, folder: Path, conversation: Conversation) -> Path:
    """Where a transcript goes that somebody wants at `typed`, relative to `folder`: to that file; or, where there is such
    a folder or it ends with a slash, to a file in it with the title as its name. Raises StorageError, as `file_path`."""
    target = folder / file_path(typed)
    is_folder = typed.endswith((os.sep, "/")) or os.path.isdir(target)
    return target / file_name(conversation) if is_folder else target


def format_of(target: Path) -> ExportFormat:
    """By the ending; Markdown where there is none.

    Raises:
        StorageError: kind `export_failed`: no format has that ending.
    """
    if not target.suffix:
        return "markdown"
    try:
        return ENDINGS[target.suffix.lower()]
    except KeyError as error:
        raise _unknown_ending(target) from error


def missing_folder(target: Path) -> Path | None:
    """The folder that will be made for the file `target`; None where it is there."""
    folder = target.parent
    return None if os.path.lexists(folder) else folder


def export_messages(
    path: Sequence[Message], tree: Callable[[], Sequence[Message]], format: ExportFormat | str
) -> Sequence[Message]:
    """What an export in `format` has: the path on screen, as it is there; in JSON the whole tree (`tree` reads it), with
    what was said in another window or at another try."""
    if format != "json":
        return path
    shown = {message.id: message for message in path}
    return [shown.get(message.id, message) for message in tree()]


def write_export(
    folder_or_file: Path, format: ExportFormat | str, conversation: Conversation, messages: Sequence[Message]
) -> Path:
    """Write a transcript, 0600, and return where it is.

    In a folder the title gives the name; else it is the file, and gets the format's ending where it has none. Folders
    above it are made. A name that is taken gets a number: `title-2.md`. The file is there whole or not at all.

    Raises:
        StorageError: `export_failed`; also for an ending that is not the format's.
    """
    if format not in _WRITERS:
        raise _failed(f"There is no export format {format!r}.", f"Choose one of: {', '.join(_WRITERS)}.")
    suffix, write = _WRITERS[format]
    target = file_path(str(folder_or_file))
    try:
        if os.path.isdir(target) or (not target.suffix and os.path.lexists(target)):
            target = target / f"{file_name(conversation)}{suffix}"
        elif not target.suffix:
            target = target.with_name(f"{target.name}{suffix}")
        elif ENDINGS.get(target.suffix.lower()) != format:
            raise _wrong_ending(target, format)
        return _write_new(target, write(conversation, messages).encode("utf-8", "replace"))
    except OSError as error:
        raise _failed(
            f"The transcript could not be written to {target}: {error.strerror or error}.",
            _cure(error.errno, target),
        ) from error


_CURES: Final = {
    errno.ENOSPC: "Free some space (`df -h {quoted}`), or choose another folder.",
    errno.EDQUOT: "Your share of the disk is used up: remove something, or choose another folder.",
    errno.EROFS: "That disk is read-only: choose another folder.",
    errno.EACCES: "You may not write there (`ls -ld {quoted}`): choose another folder.",
    errno.EPERM: "You may not write there (`ls -ld {quoted}`): choose another folder.",
    errno.ENOTDIR: "{folder} is no folder: choose a folder, or a file with an ending ({ending}).",
    errno.EEXIST: "{folder} is no folder: choose a folder, or a file with an ending ({ending}).",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def _cure(number: int | None, target: Path) -> str:
    """What helps against that errno."""
    folder = target.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    cure = _CURES.get(number or 0, "Choose another folder.")
    return cure.format(folder=folder, quoted=shlex.quote(str(folder)), ending=target.suffix)


def file_path(typed: str) -> Path:
    """The path that somebody typed, `~` and `~user` resolved.

    Raises:
        StorageError: kind `export_failed`: there is no such user, or no file can be called so.
    """
    if "\0" in typed:
        raise _failed(f"No file can be called {typed}.", "Write the path without the character NUL.")
    try:
        os.fsencode(typed)
        return Path(typed).expanduser()
    except ValueError as error:  # half a surrogate pair has no bytes
        raise _failed(f"No file can be called {typed}.", "Choose another name.") from error
    except RuntimeError as error:
        raise _failed(f"There is no home folder for {typed}.", "Write the path in full.") from error


def file_name(conversation: Conversation) -> str:
    """From the title: words of letters and digits, joined by hyphens; without a suffix, at most 120 bytes."""
    title = unicodedata.normalize("NFC", conversation.title).lower()
    name = "-".join(re.findall(r"\w+", title)).encode()[:120].decode(errors="ignore").strip("-_")
    return name or f"conversation-{conversation.id}"


def _write_new(target: Path, data: bytes) -> Path:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        final = _claimed(target)
        os.replace(partial, final)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return final


def _claimed(target: Path) -> Path:
    """The first free name, taken: an empty file that nobody else can have made, to be replaced at once."""
    name, number = target, 1
    while True:
        try:
            name.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            number += 1
            name = target.with_name(f"{target.stem}-{number}{target.suffix}")
        else:
            return name


def _unknown_ending(target: Path) -> StorageError:
    return _failed(
        f"There is no export format with the ending {target.suffix}.",
        f"Known are {', '.join(ENDINGS)}. With one of them behind it any name will do: {target.name}.md",
    )


def _wrong_ending(target: Path, format: str) -> StorageError:
    if target.suffix.lower() not in ENDINGS:
        return _unknown_ending(target)
    return _failed(
        f"{target.name} has not the ending of {format}.",
        f"Name it {target.with_suffix(_WRITERS[format][0]).name}, or choose another format.",
    )


def _failed(message: str, cure: str) -> StorageError:
    return StorageError(ErrorInfo(kind="export_failed", message=message, cure=cure))
