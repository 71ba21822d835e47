"""Thinking blocks in replies: `<think>…</think>` before an answer.

Models use several kinds of tags, and many chat templates open the block in the prompt, so that the reply has only its
closing tag. `normalised` gives all blocks the one form in which replies are stored. Tags that code or prose only mention
are left alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

OPENING: Final = "<think>\n"
CLOSING: Final = "\n</think>\n"

DIALECTS: Final = (
    (r"<think(?:ing)?>", r"</think(?:ing)?>"),  # DeepSeek, Qwen, GLM and most others
    (r"<seed:think>", r"</seed:think>"),
    (r"<thought>", r"</thought>"),
    (r"<reasoning>", r"</reasoning>"),
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    (r"◁think▷", r"◁/think▷"),  # Kimi
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>(?:\s*<\|START_RESPONSE\|>)?"),  # Command A
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>(?:\s*<\|begin_of_solution\|>)?"),  # OpenThinker
    (r"<\|channel>thought", r"<channel\|>"),  # Gemma 4
    (  # gpt-oss
        r"(?:(?:<\|start\|>assistant)?<\|channel\|>)?analysis<\|message\|>",
        r"<\|end\|>(?:<\|start\|>assistant)?<\|channel\|>(?:final<\|message\|>|(?=analysis))",
    ),
    # gpt-oss behind a server that removes its control tokens.
    (r"\Aanalysis(?=.*assistantfinal)", r"assistantfinal"),
)
"""Opening and closing tags as regular expressions. `OPENING` and `CLOSING` are of the first dialect."""
_THINK: Final = 1
"""The number of the first dialect: dialects are numbered from 1, like the groups of a match."""
_FLAGS: Final = re.IGNORECASE | re.DOTALL
_OPENERS: Final = "|".join(f"({opener})" for opener, _ in DIALECTS)
_OPENER: Final = re.compile(rf"\s*(?:{_OPENERS})", _FLAGS)
_LINE_OPENER: Final = re.compile(rf"^[ \t]*(?:{_OPENERS})", _FLAGS | re.MULTILINE)
_CLOSERS: Final = tuple(re.compile(closer, _FLAGS) for _, closer in DIALECTS)
_CLOSER: Final = re.compile("|".join(f"({closer})" for _, closer in DIALECTS), _FLAGS)
TAG: Final = re.compile("|".join(f"{opener}|{closer}" for opener, closer in DIALECTS), _FLAGS)
"""Any opening or closing tag, wherever it is."""
LONGEST_TAG: Final = 80
"""Characters of a tag with what after it decides whether it is one."""
_OPEN_END: Final = re.compile(rf"(?:{_OPENERS})\s*\Z", _FLAGS)
_ANSWER_HEAD: Final = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>")
"""The beginning of an answer of gpt-oss without a thought."""
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_LINE_INDENT: Final = 4
"""Spaces before a line of indented code in Markdown."""


class Part(NamedTuple):
    """A thought, or a part of the answer."""

    is_thought: bool
    text: str
    is_open: bool = False
    """A thought without a closing tag."""


def opens_thought(prompt: str) -> bool:
    """Whether `prompt` ends with an opening tag, so that the reply begins with a thought."""
    return _OPEN_END.search(prompt) is not None


def starts_with_thought(text: str) -> bool:
    """Whether a reply begins with an opening tag."""
    return _OPENER.match(text) is not None


def find_unopened_end(text: str) -> re.Match[str] | None:
    """The closing tag of a thought that the template opened in the prompt."""
    return None if starts_with_thought(text) else _lone_closer(text)


def thought_tag(token: str) -> str:
    """The tag that replaces a control token in a reply: `OPENING`, `CLOSING`, or empty if it is no tag of a thought."""
    if _OPENER.fullmatch(token):
        return OPENING
    return CLOSING if _CLOSER.fullmatch(token) else ""


def split_thoughts(text: str, *, is_growing: bool = False) -> list[Part]:
    """Split a reply into thoughts and parts of the answer, in order. Only tags and the space around them are lost.

    A later thought has a closing tag, unless the text `is_growing`.
    """
    # Each tag has one of these. Most replies have none, and the search for tags is slow.
    if not ("<" in text or "[" in text or "◁" in text or "assistantfinal" in text.lower()):
        return [Part(False, text)] if text else []
    head = _ANSWER_HEAD.match(text)
    position = head.end() if head else 0
    found: list[Part] = []
    dialect: int | None = None
    if (opener := _OPENER.match(text, position)) is not None:
        dialect = opener.lastindex
    elif (closer := _lone_closer(text)) is not None:
        found.append(Part(True, text[: closer.start()]))
        position = closer.end()
    elif _later_opener(text, position, _THINK) is not None:
        dialect = _THINK
    else:
        return [Part(False, text[position:])] if text else []
    while position < len(text):
        opener = _next_opener(text, position, dialect, is_growing)
        answer = text[position : opener.start() if opener else len(text)]
        if answer.strip():
            found.append(Part(False, answer))
        if opener is None:
            break
        dialect = opener.lastindex
        position = opener.end()
        while again := _OPENER.match(text, position):  # opened by the template and again by the model
            position = again.end()
        closer = _closer(text, position, dialect)
        if closer is None:
            found.append(Part(True, text[position:], is_open=True))
            break
        found.append(Part(True, text[position : closer.start()]))
        position = closer.end()
    return found


def normalised(text: str) -> str:
    """`text` in the stored form: tags on lines of their own, and a blank line between a thought and the answer."""
    found = split_thoughts(text)
    if not any(part.is_thought for part in found):
        return "".join(part.text for part in found)
    blocks: list[str] = []
    for part in found:
        if not part.is_thought:
            blocks.append(part.text.lstrip("\n") if blocks else part.text)
        elif part.is_open:
            blocks.append(OPENING + part.text.lstrip("\n"))
        else:
            blocks.append(f"{OPENING}{part.text.strip(chr(10))}{CLOSING}")
    pieces = blocks[:1]
    for before, block in zip(found, blocks[1:], strict=False):
        if not before.is_thought:
            pieces[-1] = pieces[-1].rstrip("\n")
        pieces += ["\n" if before.is_thought else "\n\n", block]
    return "".join(pieces)


@lru_cache(maxsize=20_000)  # by each count of a prompt, for each of its replies
def extract_answer(text: str) -> str:
    """The answer alone, which is what models expect of their earlier replies. Empty if a reply is only a thought."""
    found = split_thoughts(text)
    if not any(part.is_thought for part in found):
        return "".join(part.text for part in found)
    return "\n\n".join(answer for part in found if not part.is_thought and (answer := part.text.strip()))


def extract_thoughts(text: str) -> str:
    """The thoughts alone, without tags."""
    thoughts = (part.text.strip() for part in split_thoughts(text) if part.is_thought)
    return "\n\n".join(filter(None, thoughts))


def _next_opener(text: str, start: int, dialect: int | None, is_growing: bool) -> re.Match[str] | None:
    """The next opening tag at or after `start`, in the dialect of the thought before it if that is known."""
    match = _OPENER.match(text, start)
    if match is None or dialect not in (None, match.lastindex):
        return _later_opener(text, start, dialect, is_growing=is_growing)
    return match


def _closer(text: str, start: int, dialect: int | None) -> re.Match[str] | None:
    """The closing tag of an open thought: the first one that is not only mentioned."""
    own = _first_closer(_CLOSERS[dialect - 1], text, start) if dialect is not None else None
    return own or _first_closer(_closers_of(dialect), text, start)


def _closers_of(dialect: int | None) -> re.Pattern[str]:
    """Closing tags for a thought: any of them if the dialect is unknown or the opening tag may be a template's `OPENING`."""
    return _CLOSER if dialect in (None, _THINK) else _CLOSERS[dialect - 1]


def _first_closer(pattern: re.Pattern[str], text: str, start: int) -> re.Match[str] | None:
    code = _code(text)
    first: re.Match[str] | None = None
    alone: re.Match[str] | None = None
    has_code = False
    for match in pattern.finditer(text, start):
        is_code = _is_code(text, match, code)
        if not is_code and not _is_mentioned(text, match):
            return match
        first, has_code = first or match, has_code or is_code
        alone = alone or (match if _is_alone(text, match) else None)
    # A fence that opens in the thought and closes in the answer would hide the tag between them as code.
    return alone if has_code else first


def _lone_closer(text: str) -> re.Match[str] | None:
    """The closing tag of a thought that the prompt opened. It must be placed as models place it."""
    code = _code(text)
    opened: dict[int | None, int] = {}
    for match in _LINE_OPENER.finditer(text):
        if not _is_code(text, match, code):
            opened.setdefault(match.lastindex, match.start())
    for match in _CLOSER.finditer(text):
        is_lone = match.start() < opened.get(match.lastindex, len(text))
        if is_lone and not _is_code(text, match, code) and _is_at_an_edge(text, match):
            return match
    return None


def _later_opener(
    text: str, start: int, dialect: int | None, *, is_growing: bool = False
) -> re.Match[str] | None:
    """The opening tag of a later thought: at the beginning of a line, and with a closing tag, which may follow if the text
    is growing and the tag is alone on its line."""
    code = _code(text)
    unclosed: set[int | None] = set()
    for match in _LINE_OPENER.finditer(text, start):
        number = match.lastindex
        if dialect not in (None, number) or number in unclosed or _is_within(match.start(), code):
            continue
        if _closers_of(number).search(text, match.end()) or (is_growing and _is_alone(text, match)):
            return match
        unclosed.add(number)
    return None


def _is_mentioned(text: str, match: re.Match[str]) -> bool:
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    return (before == " " and after not in ("", "\n")) or before in ("'", '"', "`", "“", "(")


def _is_alone(text: str, match: re.Match[str]) -> bool:
    before, after = _around(text, match)
    return not before.strip() and not after.strip()


def _is_at_an_edge(text: str, match: re.Match[str]) -> bool:
    """On a line of its own, at the beginning of a line and followed directly by text, or at the end of a paragraph."""
    if match.group().startswith(("<|", "◁")):  # never in prose
        return True
    before, after = _around(text, match)
    if not before.strip():
        return len(before) < _LINE_INDENT and (
            not after.strip() or after[0].isalnum() or after[0] in "*_#$\\" or not after[0].isascii()
        )
    is_paragraph_end = not after.strip() and text[match.end() :].lstrip(" ").startswith("\n\n")
    return is_paragraph_end and not _is_mentioned(text, match) and not before.endswith(" ")


def _around(text: str, match: re.Match[str]) -> tuple[str, str]:
    """The text before and after the tag on its line."""
    begin = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[begin : match.start()], text[match.end() : len(text) if end < 0 else end]


def _is_code(text: str, match: re.Match[str], fences: list[tuple[int, int]]) -> bool:
    before, after = _around(text, match)
    in_ticks = before.count("`") % 2 == 1 and "`" in after
    return in_ticks or _is_within(match.start(), fences)


def _is_within(position: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether one of these ranges, which are in order, has the position."""
    after = bisect_right(ranges, position, key=lambda each: each[0])
    return after > 0 and position < ranges[after - 1][1]


@lru_cache(maxsize=2)
def _code(text: str) -> list[tuple[int, int]]:
    """The ranges of fenced code blocks that are closed. Where an open one would end is unknown."""
    return list(_fences(text)) if "```" in text or "~~~" in text else []


def _fences(text: str) -> Iterator[tuple[int, int]]:
    position, begun, marker = 0, 0, ""
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line)
        if match and not marker:
            if "`" not in match[2]:
                begun, marker = position, match[1]
        elif match and match[1].startswith(marker) and not match[2].strip():
            yield begun, position + len(line)
            marker = ""
        position += len(line)
