"""Assembles the text of one reply from its chunks: thoughts in a block, then the answer, nothing twice."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from ttchat_tui.domain.thought_stream import AnswerFilter
from ttchat_tui.domain.thoughts import OPENING, split_thoughts
from ttchat_tui.engine.served.chunks import ChunkChoice
from ttchat_tui.engine.served.unopened_thought import UnopenedThought

_HALF: Final = re.compile(r"(?:[\ud800-\udbff]|(?<![\ud800-\udbff])[\udc80-\udcff]{1,3})\Z")
"""Half a surrogate pair, or the first bytes of a character, at the end of a piece."""
_BYTES: Final = re.compile(r"(?<![\ud800-\udbff])[\udc80-\udcff]+")

_TAGS: Final = re.compile(r"\A\s*<think(?:ing)?>\s*|(?<!\s)\s*</think(?:ing)?>\s*\Z", re.IGNORECASE)
"""Tags that some servers leave around thoughts in a field of their own."""
_SHORTEST_REPEAT: Final = 5
_SHORTEST_REPEAT_OF_ONE: Final = 12
"""Shortest text, in characters, that counts as a repetition if it came in several pieces, or in one."""

THINK_ENDS: Final = "\n</think>\n\n"


class Seam(msgspec.Struct, frozen=True):
    """Where a continued reply was interrupted."""

    is_thinking: bool = False
    """The text ended within a think block."""
    is_answering: bool = False
    """It ended within the answer: what the model thinks before it continues does not belong there."""
    has_thought: bool = False
    """There are thoughts in the text, so the template may open another one in the prompt."""
    is_exact: bool = True
    """The server continues at the exact token; otherwise the model is asked in words for the rest."""
    last: str = ""
    """Its last character."""


WHOLE: Final = Seam()
"""A new reply."""


def seam_of(text: str, *, is_exact: bool) -> Seam:
    """The seam of a reply that is continued after `text`."""
    parts = split_thoughts(text, is_growing=True)
    is_thinking = bool(parts) and parts[-1].is_open
    return Seam(
        is_thinking=is_thinking,
        is_answering=not is_thinking and any(not part.is_thought for part in parts),
        has_thought=any(part.is_thought for part in parts),
        is_exact=is_exact,
        last=text[-1:],
    )


class ReplyPiece(NamedTuple):
    """Text that a choice adds to a reply."""

    thinking: str = ""
    """Thoughts, with the tags around them; they come before `said`."""
    said: str = ""
    ends_thought: bool = False
    """All text of this request so far was a thought: the template had written its opening tag."""


class ReplyAssembler:
    """Assembles a reply's text. Feed it the choices of each chunk in order."""

    def __init__(self, seam: Seam = WHOLE) -> None:
        self.has_said = False
        """Part of the answer has come."""
        self.has_thought = False
        self.has_thought_unseen = False
        """Thoughts came that cannot be shown, as the reply is continued in the middle of its answer."""
        self._seam = seam
        self._is_thinking = seam.is_thinking
        self._answer = PieceJoiner()
        self._thoughts = PieceJoiner()
        self._begin = AnswerFilter() if seam.is_answering else None
        """Leaves out the thought with which a continuation may begin; None: no thought is left out any more."""
        is_plain = seam is not WHOLE and not (seam.is_answering and seam.has_thought)
        self._unopened = UnopenedThought(is_decided=is_plain)
        self._late_thoughts: list[str] = []
        self._unseen: list[str] = []
        self._has_refused = False
        self._others: list[ChunkChoice] = []
        """Choices with another index, kept until one with index 0 comes."""
        self._has_ours = False

    def ours(self, choices: Sequence[ChunkChoice]) -> Iterator[ChunkChoice]:
        """The choices with index 0, as only one reply is requested. If the stream has none, `rest` uses the others."""
        for choice in choices:
            if choice.index == 0:
                self._has_ours = True
                self._others.clear()
                yield choice
            elif not self._has_ours:
                self._others.append(choice)

    def add(self, choice: ChunkChoice) -> ReplyPiece:
        """The next piece of the reply."""
        delta, whole = choice.delta, choice.message
        is_last = bool(choice.finish_reason)
        thinking = self._thoughts.add(delta.thinking, whole.thinking, is_last=is_last)
        if thinking and self.has_said and not delta.thinking:  # sent once more at the end, out of order
            self._late_thoughts.append(thinking)
            self.has_thought_unseen = self.has_thought_unseen or not self._shows_late_thoughts
            thinking = ""
        said = self._answer.add(delta.text, whole.text, is_last=is_last) or self._refusal(choice)
        return self._shown(_TAGS.sub("", thinking), said)

    def rest(self) -> ReplyPiece:
        """What was held back: half a character, a tag, the text of another choice. Call once, at the end."""
        first = min((each.index for each in self._others), default=0)
        pieces = [each.delta.text or each.message.text for each in self._others if each.index == first]
        piece = self._shown("", self._answer.add("".join(pieces)) + self._answer.end(), is_all=True)
        thought, held = self._unopened.end()
        if not thought:
            return piece._replace(said=piece.said + held)
        self.has_thought, self.has_said = True, bool(held.strip())
        return ReplyPiece(piece.thinking + piece.said + thought, held)

    def late_thoughts(self) -> str:
        """Thoughts that came after the answer, as a block."""
        late = "".join(self._late_thoughts) if self._shows_late_thoughts else ""
        return f"\n\n{OPENING}{late}\n</think>\n" if late else ""

    def misread(self) -> str:
        """The rest of an answer that came as nothing but thoughts: vLLM's parser for DeepSeek R1 takes all text without a
        closing tag for a thought."""
        if not self._seam.is_exact or self.has_said or not self._unseen:
            return ""
        self.has_thought_unseen, self.has_said = False, True
        return "".join(self._unseen)

    def closed(self) -> str:
        """The closing tag of thoughts that no answer followed."""
        return "\n</think>\n" if self._is_thinking else ""

    def _refusal(self, choice: ChunkChoice) -> str:
        refusal = choice.delta.refusal or ("" if self.has_said else choice.message.refusal)
        if refusal and self.has_said and not self._has_refused:
            refusal = f"\n\n{refusal}"
        self._has_refused = self._has_refused or bool(refusal)
        return refusal

    def _shown(self, thinking: str, said: str, *, is_all: bool = False) -> ReplyPiece:
        before = ""
        if thinking and self._shows_thoughts:
            if not self._is_thinking:
                before += "".join((*self._unopened.end(), "\n\n")) if self.has_said else ""
            before += thinking if self._is_thinking else OPENING + thinking
            self._is_thinking = self.has_thought = True
            self._unopened.is_decided = True
        elif thinking:
            self._unseen.append(thinking)
            self.has_thought_unseen = self._unopened.is_decided = True
        said = self._without_thought(said, is_all=is_all)
        if not said:
            return ReplyPiece(before)
        before += THINK_ENDS if self._is_thinking else ""
        before += self._space_before(said)
        self._is_thinking = False
        self.has_said = True
        if self._unopened.is_decided:
            return ReplyPiece(before, said)
        thought, said = self._unopened.filter(said)
        if not thought:
            return ReplyPiece(before, said)
        self.has_thought = True
        if self._seam.is_answering:  # the session leaves this thought out
            self.has_thought_unseen, self.has_said = True, False
            said = self._space_before(said) + said
            self.has_said = bool(said)
        return ReplyPiece(before + thought, said, ends_thought=True)

    @property
    def _shows_late_thoughts(self) -> bool:
        return self._seam.is_exact and not self._seam.is_answering

    @property
    def _shows_thoughts(self) -> bool:
        """In the answer's middle those have no place with which its continuation begins."""
        return self._is_thinking or (self._seam.is_exact and (self.has_said or not self._seam.is_answering))

    def _without_thought(self, said: str, *, is_all: bool) -> str:
        """`said` without the thought with which the continuation of an answer begins."""
        if self._begin is None:
            return said
        given = self._begin.feed(said)
        if given or is_all:
            given += self._begin.finish()
            self.has_thought_unseen = self.has_thought_unseen or self._begin.has_thoughts
            self._begin = None
        return given

    def _space_before(self, said: str) -> str:
        """A space if the rest was asked for in words and would join two words: replies start without one."""
        if self.has_said or self._seam.is_exact or self._seam.is_thinking:
            return ""
        return " " if self._seam.last.strip() and said[:1].isalnum() else ""


class PieceJoiner:
    """Joins pieces of text. Split characters (surrogate pairs or bytes) are put together, and a final piece that only
    repeats the whole text is dropped."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._count = 0
        self._length = 0
        self._half = ""
        self._repeat: str = ""
        """The last piece, while it may be a repetition of the whole text."""
        self._has_deltas = False

    def add(self, piece: str, whole: str = "", *, is_last: bool = False) -> str:
        """Add a piece and return the text that is certain now. `whole`: the complete text, from servers that repeat it at
        the end. `is_last`: the server says that the reply ends with `piece`."""
        if piece:
            self._has_deltas = True
            if self._repeat:  # more follows: the model did say it twice
                piece, self._repeat = self._repeat + piece, ""
            elif (self._count > 1 or is_last) and self._is_all_again(piece):
                self._repeat = piece
                return ""
        else:
            piece = self._missing(whole)
        return self._certain(piece) if piece else ""

    def end(self) -> str:
        """A replacement for half a character that was never completed."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""

    def _certain(self, piece: str) -> str:
        piece = _joined(self._half + piece)
        self._half = found[0] if (found := _HALF.search(piece)) else ""
        text = _paired(piece[: len(piece) - len(self._half)])
        self._parts.append(text)
        self._count += 1
        self._length += len(text)
        return text

    def _said(self) -> str:
        self._parts = ["".join(self._parts)]
        return self._parts[0]

    def _is_all_again(self, piece: str) -> bool:
        """Whether `piece` repeats the whole text, with which some servers end a stream. Texts that are short or periodic
        do not count: a model may well say those twice."""
        least = _SHORTEST_REPEAT if self._count > 1 else _SHORTEST_REPEAT_OF_ONE
        if len(piece) != self._length or len(piece) < least:
            return False
        return piece == self._said() and (piece + piece).find(piece, 1) == len(piece)

    def _missing(self, whole: str) -> str:
        """The part of a whole message that is new. A server may stream growing messages instead of deltas."""
        if not whole or not self._count or (len(whole) < self._length and not self._has_deltas):
            return whole
        if len(whole) < self._length:
            return ""
        said = self._said()
        if whole.startswith(said):
            return whole[len(said) :]
        if whole.lstrip().startswith(said.strip()):  # the server trimmed it
            return whole.lstrip()[len(said.strip()) :]
        return "" if self._has_deltas else whole


def _joined(text: str) -> str:
    """Join characters that were split into bytes, where they are complete."""
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
