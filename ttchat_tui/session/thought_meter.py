"""The figures of a reply's thoughts, counted while it streams."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.recording import NOT_RECORDED, Recording
from ttchat_tui.domain.thought_stream import ThoughtStream
from ttchat_tui.domain.thoughts import OPENING, opening_before


class ThoughtMeter:
    """Adds up tokens and seconds of each thought. Tags do not count. If an event of several tokens is partly a thought, the
    share of its characters decides."""

    def __init__(self, text: str = "", known: Sequence[ThoughtFigures] = ()) -> None:
        """`text`: the reply to continue, with the figures of its thoughts."""
        self._stream = ThoughtStream(text)
        self._tokens = [float(each.tokens) for each in known]
        self._seconds = [each.seconds for each in known]
        self._all_tokens = 0
        self._first_s: float | None = None
        self._last_s = 0.0

    @property
    def figures(self) -> tuple[ThoughtFigures, ...]:
        return tuple(map(ThoughtFigures, map(round, self._tokens), self._seconds))

    @property
    def is_open(self) -> bool:
        """The reply is in a thought."""
        return bool(self._stream.parts) and self._stream.parts[-1].is_open

    @property
    def is_first_open(self) -> bool:
        """The reply so far is a thought that has not ended."""
        parts = self._stream.parts
        return len(parts) == 1 and parts[0].is_open

    def begin_again(self, text: str) -> None:
        """What followed `text`, the reply to continue, was not part of the reply."""
        self._stream = ThoughtStream(text)

    def add(self, event: TokenEvent) -> None:
        """The next tokens of the reply."""
        if event.times_s and self._first_s is None:
            self._first_s = self._last_s = event.times_s[0]
        if event.replaces is not None:
            self._withdraw(event.replaces)
        took_s = event.times_s[-1] - self._last_s if event.times_s else 0.0
        if event.ends_thought:
            self._stream = ThoughtStream(OPENING + self._stream.text)
            self._add_all_so_far(0)
        before = self._stream.thoughts
        self._stream.feed(event.text)
        after = self._stream.thoughts
        for number, thought in enumerate(after):
            grown = len(thought.text) - (len(before[number].text) if number < len(before) else 0)
            if number >= len(before) and grown > len(event.text):  # what was said before was a thought
                self._add_all_so_far(number)
            is_running = number + 1 == len(after) and number < len(before) and before[number].is_open
            share = grown / len(event.text) if event.text else float(is_running)
            self._add(number, len(event.times_s), took_s, min(1.0, max(0.0, share)))
        self._all_tokens += len(event.times_s)
        self._last_s += took_s

    def _withdraw(self, characters: int) -> None:
        """The latest token is no longer part of the reply. Its time stays: it was spent."""
        text = self._stream.text
        self._stream = ThoughtStream(text[: len(text) - characters])
        self._all_tokens -= 1
        parts, number = self._stream.parts, len(self._stream.thoughts)
        if parts and parts[-1].is_open and number <= len(self._tokens):
            self._tokens[number - 1] -= 1

    def _add_all_so_far(self, number: int) -> None:
        self._add(number, self._all_tokens, self._last_s - (self._first_s or 0.0), 1.0)

    def _add(self, number: int, tokens: int, seconds: float, share: float) -> None:
        while len(self._tokens) <= number:
            self._tokens.append(0.0)
            self._seconds.append(0.0)
        self._tokens[number] += tokens * share
        self._seconds[number] += seconds * share


def recorded_thoughts(content: str, recording: Recording) -> tuple[ThoughtFigures, ...]:
    """The figures of the thoughts in a reply with this text, from its recording: of one that was forked, copied or interrupted
    none are stored. Empty if a part of it was not recorded."""
    tokens = recording.written
    if any(each.token_id == NOT_RECORDED for each in tokens):
        return ()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(recording.text_of(each.token_id)) for each in tokens]
    meter, text, before_s = ThoughtMeter(), opening_before("".join(texts), content), 0.0
    if text:  # the prompt opened the thought
        meter.add(TokenEvent(0, (), text, ()))
    for token, piece in zip(tokens, texts, strict=True):
        if token.time_s < before_s:  # times are those of a request: here another one begins
            meter = ThoughtMeter(text, meter.figures)
        meter.add(TokenEvent(0, (token.token_id,), piece, (token.time_s,)))
        text, before_s = text + piece, token.time_s
    return meter.figures
