"""Reading of the files that a draft mentions, or a command line names. Reads nothing else, and may block: not for the UI's
thread."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast
from urllib.parse import unquote, urlsplit

import msgspec
from pygments.lexers import find_lexer_class_for_filename

from ttchat_tui.domain.attachments import (
    LONGEST_PATH,
    TRAILING,
    AttachmentError,
    Mention,
    block_of,
    find_blocks,
    find_mentions,
    with_blocks,
)
from ttchat_tui.domain.errors import ErrorKind
from ttchat_tui.domain.special_files import special_file
from ttchat_tui.domain.text import visible_line, why_no_text
from ttchat_tui.domain.user_paths import expanded, shortened

MOST_BYTES: Final = 1 << 20
"""Of all files of a message together: about 300,000 tokens, more than most contexts hold."""
MOST_LISTED: Final = 1000
"""Names in the list of a folder."""

AS_TEXT: Final = "To send the words as they are, put them in `backticks`."

_LIKE_PATH: Final = re.compile(r"/|\w\.\w")
"""`notes.md` and `src/a`, not `property`."""


class Attached(msgspec.Struct, frozen=True):
    """A message to send."""

    text: str
    """The draft, and a block for each file."""
    names: tuple[str, ...]
    """The files and folders, as the draft names them."""
    unknown: tuple[str, ...] = ()
    """Mentions that look like paths and name no file: they are sent as they are."""


def attach_mentioned(draft: str) -> Attached:
    """`draft` with the files that it mentions. Mentions of no file are left alone, and so are files whose block is in the
    draft already.

    Raises:
        AttachmentError: a mentioned file cannot be attached.
    """
    try:
        attached = attach_named(draft, list(dict.fromkeys(_mentioned(draft))))
    except AttachmentError as error:
        cure = f"{error.info.cure} {AS_TEXT}".strip()
        raise AttachmentError(error.info.message, cure, error.info.kind) from error
    names = (mention.path.rstrip(TRAILING) for mention in find_mentions(draft) if not _name_in(mention))
    return msgspec.structs.replace(attached, unknown=tuple(dict.fromkeys(filter(_LIKE_PATH.search, names))))


def mentioned_file(text: str) -> str:
    """The first file or folder that `text` mentions and does not have the block of; empty if there is none. Opens nothing."""
    return next((name for name in _mentioned(text) if os.path.lexists(expanded(name))), "")


def _mentioned(text: str) -> Iterator[str]:
    """The names in the mentions of `text`, but for those of its blocks."""
    there = {block.name for block in find_blocks(text)}
    for mention in find_mentions(text):
        if (name := _name_in(mention)) and visible_line(name) not in there:
            yield name


def attach_named(text: str, names: Sequence[str]) -> Attached:
    """`text` with these files below it.

    Raises:
        AttachmentError: a file cannot be attached.
    """
    blocks: list[str] = []
    left = MOST_BYTES
    for name in names:
        block = _block(name, left)
        left = max(0, left - len(block.encode("utf-8", "replace")))
        blocks.append(block)
    return Attached(with_blocks(text, blocks), tuple(names))


def pasted_path(text: str) -> str | None:
    """The file or folder (with a slash) whose path is the whole of `text`, as file managers and terminals paste and drop it:
    in quotes, with escaped spaces, as a file:// address. A bare word is a path only if it names a file."""
    text = text.strip()
    for path in _spellings(text):
        if not ("/" in path or os.path.isfile(path)):
            continue
        with suppress(OSError, ValueError):  # too long, or a null character: no path
            found = os.stat(expanded(path))
            return f"{path.rstrip('/')}/" if stat.S_ISDIR(found.st_mode) else path
    return None


def _spellings(text: str) -> list[str]:
    """What `text` may mean as a path, the likeliest first."""
    if text.startswith("file://"):
        address = urlsplit(text)
        return [unquote(address.path)] if address.netloc in ("", "localhost") else []
    try:
        words = shlex.split(text)
    except ValueError:  # a quote without its partner
        words = []
    return [text, *words] if len(words) == 1 else [text]


def _name_in(mention: Mention) -> str:
    """The path that is meant, without the punctuation or the `@` that follows it; empty if it is no path.

    A path that does not exist is one if its first folder does: `@src/gone.py`, but not `@angular/core`. A folder is one
    if it has a slash: `@src/`.
    """
    if mention.is_quoted:
        return mention.path
    name = mention.path if len(mention.path) <= LONGEST_PATH else ""
    while name:
        path = expanded(name)
        if os.path.lexists(path) and ("/" in name or not os.path.isdir(path)):
            return name
        if name[-1] in TRAILING:
            name = name[:-1]
        else:
            name = name.rpartition("@")[0]
    name = mention.path.rstrip(TRAILING)
    first = name[: name.index("/", 1) + 1] if "/" in name[1:] else ""
    return name if first and os.path.isdir(expanded(first)) else ""


def _block(name: str, most: int) -> str:
    """The block of a file, or of a folder's list. `most`: the bytes that it may have."""
    path = expanded(name)
    if special := special_file(path):
        raise _refused(name, f"it is {special}", "Save what it contains as a file first.")
    try:
        if path.is_dir():
            return block_of(name, _listing(path), kind="folder")
        data = _read(path, most + 1)
    except FileNotFoundError as error:
        raise _refused(name, "there is no such file", kind="not_found") from error
    except PermissionError as error:
        raise _refused(name, "you may not read it", kind="permission_denied") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _refused(name, getattr(error, "strerror", None) or str(error)) from error
    if b"\0" in data and (why := why_no_text(data)):  # before its size: no cure would help
        raise _refused(name, *why)
    if len(data) > most:
        size = f"it has more than the {MOST_BYTES >> 20} MB that a message may attach"
        raise _refused(name, size, "Paste the part that matters.")
    return block_of(name, _text(name, data), language=_language(path.name))


def _read(path: Path, most: int) -> bytes:
    """At most `most` bytes. Does not wait: for a pipe that has taken the file's place, or for a log of the kernel's to go on."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        data = cast("bytes | None", file.read(most))
    if data is None:
        raise OSError("it has no text now")
    return data


def _text(name: str, data: bytes) -> str:
    """The text of a file, with `\\n` for every line end."""
    if why := why_no_text(data):
        raise _refused(name, *why)
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _listing(folder: Path) -> str:
    """A line for each entry, folders first."""
    with os.scandir(folder) as entries:
        found = sorted((not _is_folder(entry), entry.name) for entry in entries)
    lines = [visible_line(f"{name}{'' if is_file else '/'}") for is_file, name in found[:MOST_LISTED]]
    if len(found) > MOST_LISTED:
        lines.append(f"… and {len(found) - MOST_LISTED:,} more")
    return "".join(f"{line}\n" for line in lines)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a loop of links
        return entry.is_dir()
    return False


def _language(file_name: str) -> str:
    """The fence's language; empty for plain text and unknown suffixes."""
    lexer = None
    with suppress(ValueError):  # pygments takes the name apart with fnmatch
        lexer = find_lexer_class_for_filename(file_name)
    alias = next(iter(lexer.aliases), "") if lexer is not None else ""
    return "" if alias == "text" else alias


def _refused(name: str, reason: str, cure: str = "", kind: ErrorKind = "not_a_file") -> AttachmentError:
    return AttachmentError(f"{shortened(visible_line(name))} cannot be attached: {reason}.", cure, kind)
