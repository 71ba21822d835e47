"""Files in a message: mentions (`@src/a.py`) in the draft, and the labelled fenced block that is sent for each.

A sent message is the draft, unchanged, and the blocks below it. Nothing here touches a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.text import visible_line

_MENTION: Final = re.compile(
    # Not in an address (me@example.org), not after a backslash.
    r'(?<![A-Za-z0-9_.+%@/\\-])@(?:"(?P<quoted>(?:[^"\\\n]|\\.)+)"'
    r"|(?P<bare>(?:[^\s@`\"'<>|]|(?<=[A-Za-z0-9_.+%/-])@)+))"
    # Inline code has none. What begins first counts: a quoted path may have backticks, and code may have quotes.
    r"|(?<!`)(?P<ticks>`+)(?!`).{1,1000}?(?<!`)(?P=ticks)(?!`)"
)
LONGEST_PATH: Final = 4096
"""Characters; Linux's limit."""
TRAILING: Final = ".,;:!?)]}"
"""What may follow a mention in a sentence."""

_ESCAPED: Final = re.compile(r"\\(.)")
_NEEDS_QUOTES: Final = re.compile(r"""[\s@`"'<>|\\]|[.,;:!?)\]}]$""")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_TICKS: Final = re.compile(r"`{3,}")
_LABEL: Final = re.compile(r"^Attached (file|folder) (.+):\n(`{3,})[^\n`]*(?=\n)", re.MULTILINE)

Kind = Literal["file", "folder"]


class AttachmentError(AppError):
    """A file that was named cannot be attached."""

    kind = "not_a_file"


class Mention(msgspec.Struct, frozen=True):
    """`@path` or `@"a path"` in a draft; there may be no such file."""

    start: int
    end: int
    """Offsets of the mention in the draft, with its `@`."""
    path: str
    is_quoted: bool


class Block(msgspec.Struct, frozen=True):
    """A file's or a folder's block in a message."""

    start: int
    end: int
    """Offsets in the message, from the label to the closing fence."""
    name: str
    content: str


def mention_of(path: str) -> str:
    """The mention of `path`, in quotes where it needs them."""
    if _NEEDS_QUOTES.search(path) is None:
        return f"@{path}"
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'@"{escaped}"'


def find_mentions(text: str) -> list[Mention]:
    """The mentions in `text`, but for those in code: in fences, and between backticks."""
    if "@" not in text:
        return []
    return [
        Mention(
            start + match.start(),
            start + match.end(),
            match["bare"] or _ESCAPED.sub(r"\1", match["quoted"]),
            match["bare"] is None,
        )
        for start, line in _prose(text)
        for match in _MENTION.finditer(line)
        if match["ticks"] is None
    ]


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside fences that have an `@`, with their offsets."""
    fence, at = "", 0
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark and not (mark[1][0] == "`" and "`" in line[mark.end() :]):
            fence = mark[1]
        elif "@" in line:
            yield at, line
        at += len(line)


def block_of(name: str, content: str, *, language: str = "", kind: Kind = "file") -> str:
    """The block that is sent. Its fence is longer than any in `content`; control characters in `name` become symbols."""
    fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(content)), default=0))
    end = "" if content.endswith("\n") or not content else "\n"
    return f"Attached {kind} {visible_line(name)}:\n{fence}{language}\n{content}{end}{fence}"


def with_blocks(text: str, blocks: list[str]) -> str:
    """`text` with `blocks` below it."""
    return "\n\n".join((text.rstrip("\n"), *blocks)) if blocks else text


def find_blocks(text: str) -> list[Block]:
    """The blocks of a message in order."""
    found: list[Block] = []
    if "Attached " not in text:  # most messages, and a search line by line is slow
        return found
    at = 0
    while (label := _LABEL.search(text, at)) is not None:
        closing = re.compile(rf"\n{label[3]}(?=\n|$(?!\n))").search(text, label.end())
        if closing is None:
            at = label.end()
            continue
        content = text[label.end() + 1 : closing.start() + 1]
        found.append(Block(label.start(), closing.end(), label[2], content))
        at = closing.end()
    return found


def _may_mean(path: str, name: str) -> bool:
    """Whether the mention of `path` may be that of the file `name`: punctuation or a second `@` may follow it."""
    rest = path.removeprefix(name)
    return path.startswith(name) and (not rest.strip(TRAILING) or rest.startswith("@"))


def without_mentioned_blocks(text: str, is_there: Callable[[str], bool] = lambda name: True) -> str:
    """A sent message as the draft that it was: blocks whose file is mentioned are left out, since sending adds them again;
    not those of a file that is gone."""
    blocks = find_blocks(text)
    if not blocks:
        return text
    mentioned = _mentioned_beside(text, blocks)
    kept: list[str] = []
    at = 0
    for block in blocks:
        if any(_may_mean(path, block.name) for path in mentioned) and is_there(block.name):
            kept.append(text[at : block.start].rstrip("\n"))
            at = block.end
    return "".join((*kept, text[at:]))


def with_blocks_of(message: str, draft: str) -> str:
    """`draft` with the blocks of `message`, of which it is the changed draft, whose files it still mentions: as they were
    read then. The draft as it was gives the message as it was."""
    if draft == without_mentioned_blocks(message):
        return message
    there = find_blocks(draft)
    mentioned, names = _mentioned_beside(draft, there), {block.name for block in there}
    blocks = [
        message[block.start : block.end]
        for block in find_blocks(message)
        if block.name not in names and any(_may_mean(path, block.name) for path in mentioned)
    ]
    return with_blocks(draft, blocks)


def _mentioned_beside(text: str, blocks: list[Block]) -> list[str]:
    """What `text` mentions outside its blocks, as blocks name it."""
    starts, ends = (block.start for block in blocks), (0, *(block.end for block in blocks))
    draft = "\n".join(text[end:start] for end, start in zip(ends, (*starts, len(text)), strict=True))
    return [visible_line(mention.path) for mention in find_mentions(draft)]
