"""Thinking blocks in replies: `<think>…</think>` before an answer.

Models use several kinds of tags, and many chat templates open the block in the prompt, so that the reply has only its
closing tag. `normalised` gives all blocks the one form in which replies are stored. Tags that code or prose only mention
are left alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from ttchat_tui.domain.tag_places import TagPlaces

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
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    (r"<think:opensource>", r"</think:opensource>"),  # Hunyuan 3
    (r"<\|channel>thought", r"<channel\|>"),  # Gemma 4
    (  # gpt-oss
        r"(?:(?:<\|start\|>assistant)?<\|channel\|>)?analysis<\|message\|>",
        r"<\|end\|>(?:<\|start\|>assistant)?<\|channel\|>(?:final<\|message\|>|(?=analysis))",
    ),
    # gpt-oss behind a server that removes its control tokens.
    (r"\Aanalysis(?=.*assistantfinal)", r"assistantfinal"),
)
"""Opening and closing tags as regular expressions. `OPENING` and `CLOSING` are of the first dialect."""
ENDS: Final = (
    "</think>", "</seed:think>", "</thought>", "</reasoning>", "[/THINK]", "◁/think▷", "<|END_THINKING|><|START_RESPONSE|>",
    "<|end_of_thought|>\n\n<|begin_of_solution|>", "<|inner_suffix|>", "</think:opensource>", "<channel|>", "<|end|><|start|>assistant<|channel|>final<|message|>",
    "assistantfinal",
)  # fmt: skip
"""The end of a thought in each of `DIALECTS`, with what begins the answer."""
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


class Part(NamedTuple):
    """A thought, or a part of the answer."""

    is_thought: bool
    text: str
    is_open: bool = False
    """A thought without a closing tag."""


def opens_thought(prompt: str) -> bool:
    """Whether `prompt` ends with an opening tag, so that the reply begins with a thought."""
    return _OPEN_END.search(prompt) is not None


def end_of_open_thought(text: str) -> str:
    """The tag that ends the thought which is open at the end of a reply; empty: none is open."""
    parts = split_thoughts(text, is_growing=True)
    if not parts or not parts[-1].is_open:
        return ""
    opener = _OPEN_END.search(text, 0, len(text) - len(parts[-1].text))
    if opener is None or opener.lastindex is None:
        return ENDS[0]
    is_long = "thinking" in opener.group(opener.lastindex).lower() and opener.lastindex == _THINK
    return "</thinking>" if is_long else ENDS[opener.lastindex - 1]


def ends_thought(text: str) -> bool:
    """Whether there is a closing tag in `text`."""
    return _CLOSER.search(text) is not None


def starts_with_thought(text: str) -> bool:
    """Whether a reply begins with an opening tag."""
    return _OPENER.match(text) is not None


def opening_before(written: str, reply: str) -> str:
    """What a stored reply has before the text that its model wrote: the opening tag of a thought that the prompt opened, or
    nothing."""
    return OPENING if reply.startswith(OPENING) and not starts_with_thought(written) else ""


def find_unopened_end(text: str) -> re.Match[str] | None:
    """The closing tag of a thought that the template opened in the prompt."""
    return None if starts_with_thought(text) else _lone_closer(TagPlaces(text))


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
    places = TagPlaces(text)
    if (opener := _OPENER.match(text, position)) is not None:
        dialect = opener.lastindex
    elif (closer := _lone_closer(places)) is not None:
        found.append(Part(True, text[: closer.start()]))
        position = closer.end()
    elif _later_opener(places, position, _THINK) is not None:
        dialect = _THINK
    else:
        return [Part(False, text[position:])] if text else []
    while position < len(text):
        opener = _next_opener(places, position, dialect, is_growing)
        answer = text[position : opener.start() if opener else len(text)]
        if answer.strip():
            found.append(Part(False, answer))
        if opener is None:
            break
        dialect = opener.lastindex
        position = opener.end()
        while again := _OPENER.match(text, position):  # opened by the template and again by the model
            position = again.end()
        closer = _closer(places, position, dialect)
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


def _next_opener(
    places: TagPlaces, start: int, dialect: int | None, is_growing: bool
) -> re.Match[str] | None:
    """The next opening tag at or after `start`, in the dialect of the thought before it if that is known."""
    match = _OPENER.match(places.text, start)
    if match is None or dialect not in (None, match.lastindex):
        return _later_opener(places, start, dialect, is_growing=is_growing)
    return match


def _closer(places: TagPlaces, start: int, dialect: int | None) -> re.Match[str] | None:
    """The closing tag of an open thought: the first one that is not only mentioned."""
    own = places.first_closer(_CLOSERS[dialect - 1], start) if dialect is not None else None
    return own or places.first_closer(_closers_of(dialect), start)


def _closers_of(dialect: int | None) -> re.Pattern[str]:
    """Closing tags for a thought: any of them if the dialect is unknown or the opening tag may be a template's `OPENING`."""
    return _CLOSER if dialect in (None, _THINK) else _CLOSERS[dialect - 1]


def _lone_closer(places: TagPlaces) -> re.Match[str] | None:
    """The closing tag of a thought that the prompt opened. It must be placed as models place it."""
    text = places.text
    opened: dict[int | None, int] = {}
    for match in _LINE_OPENER.finditer(text):
        if not places.is_code(match):
            opened.setdefault(match.lastindex, match.start())
    for match in _CLOSER.finditer(text):
        is_lone = match.start() < opened.get(match.lastindex, len(text))
        if is_lone and not places.is_code(match) and places.is_at_an_edge(match):
            return match
    return None


def _later_opener(
    places: TagPlaces, start: int, dialect: int | None, *, is_growing: bool = False
) -> re.Match[str] | None:
    """The opening tag of a later thought: at the beginning of a line, and with a closing tag, which may follow if the text
    is growing and the tag is alone on its line."""
    unclosed: set[int | None] = set()
    for match in _LINE_OPENER.finditer(places.text, start):
        number = match.lastindex
        if dialect not in (None, number) or number in unclosed or places.is_fenced(match.start()):
            continue
        if _closers_of(number).search(places.text, match.end()) or (is_growing and places.is_alone(match)):
            return match
        unclosed.add(number)
    return None
