"""Detects thoughts without an opening tag. Many templates write `<think>` into the prompt, and a server that does not
parse thoughts streams what follows as if it were the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ttchat_tui.domain.thoughts import CLOSING, DIALECTS, find_unopened_end, starts_with_thought

_CLOSERS: Final = tuple(re.sub(r"\|\(\?=\w+\)", "", each) for _, each in DIALECTS if not each[0].isalpha())
"""Closing tags, without the one that is a plain word and the one after which gpt-oss continues to think."""
_TAG: Final = re.compile("|".join(_CLOSERS), re.IGNORECASE)


def _spellings(pattern: str) -> Iterator[str]:
    """Characters a closing tag's pattern can match, without the space between its parts."""
    group = re.search(r"\(\?:([^()]*)\)(\??)", pattern)
    if group is None:
        yield re.sub(r"\\s\*|\\", "", pattern)
        return
    for inner in (group[1], *([""] if group[2] else [])):
        yield from _spellings(pattern[: group.start()] + inner + pattern[group.end() :])


_TAGS: Final = {each.lower() for closer in _CLOSERS for each in _spellings(closer)}
_LONGEST: Final = max(map(len, _TAGS))
_BEGINNINGS: Final = {each[:length] for each in _TAGS for length in range(1, len(each))}
_FENCE: Final = re.compile(r"^ {0,3}(?:`{3,}|~{3,})", re.MULTILINE)
_LOOK_AHEAD: Final = 3
"""Characters after a tag that show whether it ends a thought or is only mentioned."""
_MOST_TAGS: Final = 20
"""Most tags tried: each one reads all of the text before it again."""


class UnopenedThought:
    """Filters the answer. Text is held back only from the start of a tag to a few characters after it."""

    def __init__(self, *, is_decided: bool = False) -> None:
        self.is_decided = is_decided
        """The search is over."""
        self._passed: list[str] = []
        self._held = ""
        self._tags = 0

    def filter(self, text: str, *, is_all: bool = False) -> tuple[str, str]:
        """Split `text` into the rest of a thought, with its closing tag (or nothing), and the certain part of the answer.
        `is_all`: nothing follows."""
        if self.is_decided:
            return "", text
        text, self._held = self._held + text, ""
        tag = _TAG.search(text)
        if tag is None:
            return "", self._pass(text, len(text) if is_all else _begun(text))
        if not is_all and (len(text) < tag.end() + _LOOK_AHEAD or _is_open(text[tag.start() :], tag[0])):
            return "", self._pass(text, tag.start())
        whole = "".join(self._passed)
        end = find_unopened_end(whole + text)
        is_in_code = len(_FENCE.findall(whole + text[: tag.start()])) % 2  # its end may still come
        if not is_in_code and end is not None and end.start() == len(whole) + tag.start():
            self.is_decided = True
            before, after = text[: tag.start()], text[tag.end() :].lstrip("\n")
            is_on_a_line = (whole[-1:] + before).endswith("\n")
            return f"{before}{CLOSING.lstrip() if is_on_a_line else CLOSING}\n", after
        self._tags += 1
        self.is_decided = self._tags >= _MOST_TAGS or starts_with_thought(whole + text)
        before = self._pass(text[: tag.end()], tag.end())
        thought, said = self.filter(text[tag.end() :], is_all=is_all)
        return (before + thought, said) if thought else ("", before + said)

    def end(self) -> tuple[str, str]:
        """As `filter`, for the text held back."""
        found = self.filter("", is_all=True)
        self.is_decided = True
        return found

    def _pass(self, text: str, end: int) -> str:
        self._held = text[end:]
        self._passed.append(text[:end])
        return text[:end]


def _begun(text: str) -> int:
    """Index at the end of `text` where a tag may begin; its length if none does."""
    end = text[-_LONGEST:].lower()
    return next((len(text) - n for n in range(len(end), 0, -1) if end[-n:] in _BEGINNINGS), len(text))


def _is_open(text: str, tag: str) -> bool:
    """Whether `tag` at the start of `text` is followed by white space only, or may grow into a longer tag."""
    return not text[len(tag) :].strip() or "".join(text.split()).lower() in _BEGINNINGS
