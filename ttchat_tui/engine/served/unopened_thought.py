"""Finds the end of a thought that nothing opened: many templates write `<think>` into the prompt, and a server that does
not parse thoughts streams what follows it as if it were the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ttchat_tui.domain.thoughts import CLOSING, DIALECTS, is_opened, unopened_end

_CLOSERS: Final = tuple(re.sub(r"\|\(\?=\w+\)", "", each) for _, each in DIALECTS if not each[0].isalpha())
"""Not the one that is a mere word: what it ends is known by its beginning. Nor what gpt-oss goes on thinking behind."""
_TAG: Final = re.compile("|".join(_CLOSERS), re.IGNORECASE)


def _spellings(pattern: str) -> Iterator[str]:
    """What a closing tag's expression matches, without the space between its parts."""
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
"""Characters behind a tag that tell one that ends a thought from one that is only spoken of."""
_MOST_TAGS: Final = 20
"""For each tag all of the text before it is read again."""


class UnopenedThought:
    """Feed it the answer. Text is held back only from the beginning of a tag to a few characters behind it."""

    def __init__(self, *, is_decided: bool = False) -> None:
        self.is_decided = is_decided
        """Nothing more is looked for."""
        self._passed: list[str] = []
        self._held = ""
        self._tags = 0

    def take(self, text: str, *, is_all: bool = False) -> tuple[str, str]:
        """The end of a thought that began with the reply, with its tag, or nothing; and what is certain of the answer.
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
        end = unopened_end(whole + text)
        is_in_code = len(_FENCE.findall(whole + text[: tag.start()])) % 2  # its end may still come
        if not is_in_code and end is not None and end.start() == len(whole) + tag.start():
            self.is_decided = True
            before, after = text[: tag.start()], text[tag.end() :].lstrip("\n")
            is_on_a_line = (whole[-1:] + before).endswith("\n")
            return f"{before}{CLOSING.lstrip() if is_on_a_line else CLOSING}\n", after
        self._tags += 1
        self.is_decided = self._tags >= _MOST_TAGS or is_opened(whole + text)
        before = self._pass(text[: tag.end()], tag.end())
        thought, said = self.take(text[tag.end() :], is_all=is_all)
        return (before + thought, said) if thought else ("", before + said)

    def end(self) -> tuple[str, str]:
        """As `take`, of what was held back."""
        found = self.take("", is_all=True)
        self.is_decided = True
        return found

    def _pass(self, text: str, end: int) -> str:
        self._held = text[end:]
        self._passed.append(text[:end])
        return text[:end]


def _begun(text: str) -> int:
    """Where at the end of `text` something stands that may become a tag; its length where nothing does."""
    end = text[-_LONGEST:].lower()
    return next((len(text) - n for n in range(len(end), 0, -1) if end[-n:] in _BEGINNINGS), len(text))


def _is_open(text: str, tag: str) -> bool:
    """Whether nothing but space follows the `tag` at the head of `text`, or what may make a longer one of it."""
    return not text[len(tag) :].strip() or "".join(text.split()).lower() in _BEGINNINGS
