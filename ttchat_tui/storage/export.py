"""Transcript files: Markdown, HTML and text to read, JSON with everything, JSONL in the messages format, timelines as Chrome
trace or CSV. No file is overwritten that the caller does not name."""

from __future__ import annotations

import errno
import os
import re
import shlex
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import msgspec
from pygments.lexers import get_lexer_by_name  # pyright: ignore[reportUnknownVariableType]
from pygments.util import ClassNotFound

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo, ErrorKind
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.thoughts import extract_answer
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export_html import export_html
from ttchat_tui.storage.export_markdown import excerpt as excerpt
from ttchat_tui.storage.export_markdown import export_markdown, preview_markdown
from ttchat_tui.storage.export_recording import FileRecording, to_file
from ttchat_tui.storage.export_text import export_text
from ttchat_tui.storage.export_timeline import chrome_trace, timeline_csv
from ttchat_tui.storage.files import sync_folder

ExportFormat: TypeAlias = Literal["markdown", "json", "jsonl", "html", "text", "timeline", "csv"]

MayReplace: TypeAlias = Callable[[Path], bool]
"""Whether a file of that name may be replaced; otherwise the new one gets a number."""

FORMAT: Final = "ttchat-tui conversation"
VERSION: Final = 1


class ConversationFile(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON format: decode with this struct. Additions keep the version, other changes raise it."""

    format: Literal["ttchat-tui conversation"] = FORMAT
    version: Literal[1] = VERSION
    conversation: Conversation
    messages: tuple[Message, ...]
    """Parents before their children: the path on screen, or the whole tree (`conversation.head_id` names the path)."""
    recordings: tuple[FileRecording, ...] = ()
    """What was recorded of each token, of the messages that have a recording, if the export was to have it."""


def export_json(
    conversation: Conversation, messages: Sequence[Message], recordings: Sequence[FileRecording] = ()
) -> str:
    """Everything stored but the unsent draft, one message per line. `messages`: a path, or the whole tree."""
    head = msgspec.json.encode(msgspec.structs.replace(conversation, draft="")).decode()
    more = f',\n  "recordings": {_listed(recordings)}' if recordings else ""
    return (
        f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n'
        f'  "conversation": {head},\n  "messages": {_listed(messages)}{more}\n}}\n'
    )


def _listed(found: Sequence[msgspec.Struct]) -> str:
    lines = ",\n".join(f"    {msgspec.json.encode(each).decode()}" for each in found)
    return f"[\n{lines}\n  ]" if found else "[]"


def export_jsonl(conversation: Conversation, messages: Sequence[Message]) -> str:
    """A line for each branch, `{"messages": [{"role": …, "content": …}, …]}`: OpenAI's format. Empty messages are left out."""
    lines: list[str] = []
    for path in branches_of(messages) or [[]]:
        turns = [ChatMessage("system", conversation.system_prompt)]
        turns += [ChatMessage(message.role, message.content) for message in path]
        kept = [turn for turn in turns if turn.content.strip()]
        lines.append(msgspec.json.encode({"messages": kept}).decode() + "\n")
    return "".join(lines)


def branches_of(messages: Sequence[Message]) -> list[list[Message]]:
    """The path to each message that no other follows. `messages`: a path, or the whole tree."""
    known = {message.id: message for message in messages}
    parents = {message.parent_id for message in messages}
    found: list[list[Message]] = []
    for leaf in messages:
        if leaf.id in parents:
            continue
        path = [leaf]
        while (above := known.get(path[-1].parent_id or 0)) is not None and above.id < path[-1].id:
            path.append(above)
        found.append(path[::-1])
    return found


_WRITERS: Final[dict[str, tuple[str, Callable[[Conversation, Sequence[Message]], str]]]] = {
    "markdown": (".md", export_markdown),
    "json": (".json", export_json),
    "jsonl": (".jsonl", export_jsonl),
    "html": (".html", export_html),
    "text": (".txt", export_text),
    "timeline": (".trace", chrome_trace),
    "csv": (".csv", timeline_csv),
}

TIMELINES: Final = ("timeline", "csv")
"""Formats that show where the time of each token went; they have no text to leave thoughts out of."""


ENDINGS: Final[dict[str, ExportFormat]] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".jsonl": "jsonl",
    ".html": "html",
    ".txt": "text",
    ".trace": "timeline",
    ".csv": "csv",
}
"""The format by file suffix."""


def place_for(typed: str, folder: Path, conversation: Conversation) -> Path:
    """The file of a transcript for the path `typed`, relative to `folder`. If that is a folder or ends with a slash: a file
    in it, named after the title. Raises StorageError, as `file_path`."""
    target = folder / file_path(typed)
    is_folder = typed.endswith((os.sep, "/")) or os.path.isdir(target)
    return target / file_name(conversation) if is_folder else target


def format_of(target: Path) -> ExportFormat:
    """The format by suffix; Markdown without one.

    Raises:
        StorageError: kind `usage`: no format has that suffix.
    """
    if not target.suffix:
        return "markdown"
    try:
        return ENDINGS[target.suffix.lower()]
    except KeyError as error:
        raise _unknown_ending(target) from error


def missing_folder(target: Path) -> Path | None:
    """The folder that will be created for `target`; None if it exists."""
    folder = target.parent
    return None if os.path.lexists(folder) else folder


def export_messages(
    path: Sequence[Message],
    tree: Callable[[], Sequence[Message]],
    format: ExportFormat | str,
    *,
    has_branches: bool = False,
) -> Sequence[Message]:
    """The messages of an export: the path on screen; for JSON, and with `has_branches` for JSONL, the whole tree (`tree`
    reads it), including messages of other windows and other versions of replies."""
    if format != "json" and not (has_branches and format == "jsonl"):
        return path
    shown = {message.id: message for message in path}
    return [shown.get(message.id, message) for message in tree()]


def without_thoughts(messages: Sequence[Message]) -> list[Message]:
    """`messages` with the answers of replies only, for every format but JSON, which has everything."""
    return [
        msgspec.structs.replace(message, content=extract_answer(message.content))
        if message.role == "assistant"
        else message
        for message in messages
    ]


def render(
    format: ExportFormat | str,
    conversation: Conversation,
    messages: Sequence[Message],
    recordings: Mapping[int, Recording] = MappingProxyType({}),
) -> str:
    """The text of a transcript; only JSON and timelines have `recordings`, by message. Raises StorageError, kind `export_failed`, for an unknown
    format."""
    if format not in _WRITERS:
        raise _failed(f"There is no export format {format!r}.", f"Choose one of: {', '.join(_WRITERS)}.")
    if format == "timeline":
        return chrome_trace(conversation, messages, recordings)
    if format == "csv":
        return timeline_csv(conversation, messages, recordings)
    if recordings:
        files = [to_file(message_id, each) for message_id, each in recordings.items()]
        return export_json(conversation, messages, files)
    return _WRITERS[format][1](conversation, messages)


def suffix_of(format: ExportFormat | str) -> str:
    """The file suffix of a format: `.md`."""
    return _WRITERS[format][0]


def preview(
    format: ExportFormat | str, conversation: Conversation, messages: Sequence[Message], shown: int
) -> str:
    """What `render` gives, from the first words on: without what a page or a document has above them, and of the messages only
    the first `shown`."""
    if format == "markdown":
        return preview_markdown(conversation, messages, shown)
    text = render(format, conversation, messages[:shown])
    return text.partition("<body>\n")[2] if format == "html" else text


def code_suffix(language: str) -> str:
    """`.py` for python; `.txt` for a language that is not known."""
    try:
        pattern = next(iter(get_lexer_by_name(language).filenames), "")
    except ClassNotFound:
        pattern = ""
    suffix = pattern.removeprefix("*")
    return suffix if re.fullmatch(r"\.\w+", suffix) else ".txt"


def _never(file: Path) -> bool:
    return False


def write_text(target: Path, text: str, may_replace: MayReplace = _never) -> Path:
    """Write a text file (0600) and return its path: `target`, with a number if that name is taken.

    Raises:
        StorageError: `export_failed`.
    """
    try:
        return _write(target, text.encode("utf-8", "replace"), may_replace)
    except OSError as error:
        raise _unwritten(error, target) from error


def write_export(
    folder_or_file: Path,
    format: ExportFormat | str,
    conversation: Conversation,
    messages: Sequence[Message],
    may_replace: MayReplace = _never,
    recordings: Mapping[int, Recording] = MappingProxyType({}),
) -> Path:
    """Write a transcript (0600) and return its path.

    In a folder, the file is named after the title. A file name without a suffix gets the format's. Missing folders are
    created. A name that is taken gets a number: `title-2.md`. The file is written completely or not at all.

    Raises:
        StorageError: `export_failed`; `usage` for a suffix that is not the format's.
    """
    text = render(format, conversation, messages, recordings)
    suffix = _WRITERS[format][0]
    target = file_path(str(folder_or_file))
    try:
        if os.path.isdir(target) or (not target.suffix and os.path.lexists(target)):
            target = target / f"{file_name(conversation)}{suffix}"
        elif not target.suffix:
            target = target.with_name(f"{target.name}{suffix}")
        elif ENDINGS.get(target.suffix.lower()) != format:
            raise _wrong_ending(target, format)
        return _write(target, text.encode("utf-8", "replace"), may_replace)
    except OSError as error:
        raise _unwritten(error, target) from error


def _unwritten(error: OSError, target: Path) -> StorageError:
    return _failed(
        f"{target} could not be written: {error.strerror or error}.",
        _cure(error.errno, target),
    )


_CURES: Final = {
    errno.ENOSPC: "Free some space (`df -h {quoted}`), or choose another folder.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or choose another folder.",
    errno.EROFS: "That disk is read-only: choose another folder.",
    errno.EACCES: "No permission to write there (`ls -ld {quoted}`): choose another folder.",
    errno.EPERM: "No permission to write there (`ls -ld {quoted}`): choose another folder.",
    errno.ENOTDIR: "{folder} is not a folder: choose a folder, or a file with a suffix ({suffix}).",
    errno.EEXIST: "{folder} is not a folder: choose a folder, or a file with a suffix ({suffix}).",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def _cure(number: int | None, target: Path) -> str:
    """The cure for that errno."""
    folder = target.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    cure = _CURES.get(number or 0, "Choose another folder.")
    return cure.format(folder=folder, quoted=shlex.quote(str(folder)), suffix=target.suffix)


def file_path(typed: str) -> Path:
    """The path `typed` with `~` and `~user` resolved.

    Raises:
        StorageError: kind `export_failed`: there is no such user, or the name is invalid.
    """
    if "\0" in typed:
        raise _failed(f"{typed} is not a valid file name.", "Remove the NUL character.")
    try:
        os.fsencode(typed)
        return Path(typed).expanduser()
    except ValueError as error:  # half a surrogate pair has no bytes
        raise _failed(f"{typed} is not a valid file name.", "Choose another name.") from error
    except RuntimeError as error:
        raise _failed(f"There is no home folder for {typed}.", "Write the path in full.") from error


def file_name(conversation: Conversation) -> str:
    """From the title: words of letters and digits, joined by hyphens; without a suffix, at most 120 bytes."""
    title = unicodedata.normalize("NFC", conversation.title).lower()
    name = "-".join(re.findall(r"\w+", title)).encode()[:120].decode(errors="ignore").strip("-_")
    return name or f"conversation-{conversation.id}"


def _write(target: Path, data: bytes, may_replace: MayReplace) -> Path:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        final = _reserve_name(target, may_replace)
        os.replace(partial, final)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return final


def _reserve_name(target: Path, may_replace: MayReplace) -> Path:
    """The first name that may be replaced, or a free one, reserved with an empty file to be replaced at once. Only a
    regular file is replaced."""
    name, number = target, 1
    while True:
        if os.path.isfile(name) and may_replace(name):
            return name
        try:
            name.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            number += 1
            name = target.with_name(f"{target.stem}-{number}{target.suffix}")
        else:
            return name


def _unknown_ending(target: Path) -> StorageError:
    return _failed(
        f"There is no export format with the suffix {target.suffix}.",
        f"Known suffixes: {', '.join(ENDINGS)}. For example: {target.with_suffix('.md').name}",
        "usage",
    )


def _wrong_ending(target: Path, format: str) -> StorageError:
    if target.suffix.lower() not in ENDINGS:
        return _unknown_ending(target)
    return _failed(
        f"{target.name} does not have the suffix of {format}.",
        f"Name it {target.with_suffix(_WRITERS[format][0]).name}, or choose another format.",
        "usage",
    )


def _failed(message: str, cure: str, kind: ErrorKind = "export_failed") -> StorageError:
    return StorageError(ErrorInfo(kind=kind, message=message, cure=cure))
