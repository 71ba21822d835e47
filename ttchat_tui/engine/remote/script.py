"""The text of one reply, out of what a server says in pieces: thoughts in a block, an answer behind it, nothing twice."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ttchat_tui.engine.remote.chunks import Choice

_HALF: Final = re.compile(r"(?:[\ud800-\udbff]|(?<![\ud800-\udbff])[\udc80-\udcff]{1,3})\Z")
"""At the end of a piece: the first half of a surrogate pair, or the first bytes of a character."""
_BYTES: Final = re.compile(r"(?<![\ud800-\udbff])[\udc80-\udcff]+")

THINK_BEGINS: Final = "<think>\n"
THINK_ENDS: Final = "\n</think>\n\n"


class Seam(msgspec.Struct, frozen=True):
    """Where a reply goes on, if it is one that is continued."""

    is_thinking: bool = False
    """It ends within a think block."""
    is_exact: bool = True
    """The server goes on at the very token; otherwise the model was asked in words for the rest."""
    last: str = ""
    """Its last character."""


WHOLE: Final = Seam()
"""A reply from its beginning."""


class Script:
    """Feed it the choices of each chunk in order."""

    def __init__(self, seam: Seam = WHOLE) -> None:
        self.has_said = False
        """Some of the answer came."""
        self.has_thought = False
        self._seam = seam
        self._is_thinking = seam.is_thinking
        self._answer = Pieces()
        self._thoughts = Pieces()
        self._others: list[Choice] = []
        """Of choices that are not ours, until one that is ours comes."""
        self._has_ours = False

    def ours(self, choices: Sequence[Choice]) -> Iterator[Choice]:
        """Those of index 0: one reply is asked for. Where there is none of it in all the stream, `rest` has the others."""
        for choice in choices:
            if choice.index == 0:
                self._has_ours = True
                self._others.clear()
                yield choice
            elif not self._has_ours:
                self._others.append(choice)

    def take(self, choice: Choice) -> tuple[str, str]:
        """What stands before the answer (thoughts, and the marks around them), and the piece of the answer."""
        whole = choice.message
        said = choice.delta.text or self._answer.missing(whole.text)
        refusal = choice.delta.refusal or ("" if self.has_said else whole.refusal)
        thinking = choice.delta.thinking
        if not self.has_said:  # behind the answer they would stand in the middle of it
            thinking = thinking or self._thoughts.missing(whole.thinking)
        return self._shown(self._thoughts.add(thinking), self._answer.add(said or refusal))

    def rest(self) -> str:
        """What came of the answer and was not passed on: half a character, or all of another choice."""
        first = min((each.index for each in self._others), default=0)
        pieces = [each.delta.text or each.message.text for each in self._others if each.index == first]
        before, said = self._shown("", self._answer.add("".join(pieces)) + self._answer.end())
        return before + said

    def closed(self) -> str:
        """The end of thoughts that no answer follows."""
        return "\n</think>\n" if self._is_thinking else ""

    def _shown(self, thinking: str, said: str) -> tuple[str, str]:
        before = ""
        if thinking and (self._seam.is_exact or self._is_thinking):
            # Otherwise it would stand in the middle of the answer.
            before += thinking if self._is_thinking else THINK_BEGINS + thinking
            self._is_thinking = self.has_thought = True
        if said:
            before += THINK_ENDS if self._is_thinking else ""
            before += self._space_before(said)
            self._is_thinking = False
            self.has_said = True
        return before, said

    def _space_before(self, said: str) -> str:
        """What holds two words apart where the rest was asked for in words: replies begin without a space."""
        if self.has_said or self._seam.is_exact or self._seam.is_thinking:
            return ""
        return " " if self._seam.last.strip() and said[0].isalnum() else ""


class Pieces:
    """Text that comes in pieces: halves of a character are joined (of a surrogate pair, or of its bytes), and the whole text at the end is known again."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._half = ""

    def add(self, piece: str) -> str:
        """The text that is certain now."""
        if not piece:
            return ""
        piece = _joined(self._half + piece)
        self._half = found[0] if (found := _HALF.search(piece)) else ""
        text = _paired(piece[: len(piece) - len(self._half)])
        self._parts.append(text)
        return text

    def end(self) -> str:
        """A half that nothing followed."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""

    def missing(self, whole: str) -> str:
        """What of a whole message was not said in pieces before; all of it where nothing was."""
        if not whole or not self._parts:
            return whole
        said = "".join(self._parts)
        return whole[len(said) :] if whole.startswith(said) else ""


def _joined(text: str) -> str:
    """With the characters that were cut into bytes put together where they are whole."""
    return text if text.isascii() else _BYTES.sub(lambda run: _of_bytes(run[0]), text)


def _of_bytes(run: str) -> str:
    data = run.encode("utf-8", "surrogateescape")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return text + decoder.getstate()[0].decode("utf-8", "surrogateescape")


def _paired(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
