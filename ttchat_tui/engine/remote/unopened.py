"""Finds the end of a thought that nothing opened: many templates write `<think>` into the prompt, and a server that does
not parse thoughts streams what follows it as if it were the answer."""

from __future__ import annotations

import re
from typing import Final

from ttchat_tui.domain.thoughts import CLOSING, is_opened, unopened_end

_TAG: Final = re.compile(r"</think(?:ing)?>|\[/THINK\]", re.IGNORECASE)
_BEGUN: Final = re.compile(
    r"(?:<(?:/(?:t(?:h(?:i(?:n(?:k(?:i(?:n(?:g)?)?)?)?)?)?)?)?)?|\[(?:/[THINK]{0,5})?)\Z", re.I
)
"""At the end of a text: what may become a tag."""
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

    def take(self, text: str, *, is_all: bool = False) -> tuple[str, bool]:
        """What is certain, and whether a thought ends in it that began with the reply. `is_all`: nothing follows."""
        if self.is_decided:
            return text, False
        text, self._held = self._held + text, ""
        tag = _TAG.search(text)
        if tag is None:
            begun = None if is_all else _BEGUN.search(text)
            return self._pass(text, begun.start() if begun else len(text)), False
        if len(text) < tag.end() + _LOOK_AHEAD and not is_all:
            return self._pass(text, tag.start()), False
        whole = "".join(self._passed)
        end = unopened_end(whole + text)
        is_in_code = len(_FENCE.findall(whole + text[: tag.start()])) % 2  # its end may still come
        if not is_in_code and end is not None and end.start() == len(whole) + tag.start():
            self.is_decided = True
            before, after = text[: tag.start()], text[tag.end() :].lstrip("\n")
            is_on_a_line = (whole[-1:] + before).endswith("\n")
            return f"{before}{CLOSING.lstrip() if is_on_a_line else CLOSING}\n{after}", True
        self._tags += 1
        self.is_decided = self._tags >= _MOST_TAGS or is_opened(whole + text)
        before = self._pass(text[: tag.end()], tag.end())
        after, ends_thought = self.take(text[tag.end() :], is_all=is_all)
        return before + after, ends_thought

    def end(self) -> str:
        """What was held back."""
        self.is_decided, held = True, self._held
        self._held = ""
        return held

    def _pass(self, text: str, end: int) -> str:
        self._held = text[end:]
        self._passed.append(text[:end])
        return text[:end]
