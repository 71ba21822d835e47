"""Incremental detokenisation: ids in, certain text out.

Two stages. `Utf8Decoder` turns ids into text through the bytes of each token: nothing is decoded twice, and a character
that spans several tokens appears once, whole. `TextStream` holds back text that may become a stop string.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class IncrementalDecoder(Protocol):
    """Ids in, text out as soon as no later id can change it."""

    def push(self, token_id: int) -> str:
        """The text that this id makes certain; may be empty."""
        ...

    def flush(self) -> str:
        """The text held back so far, at the end of the reply; never half a character."""
        ...

    @property
    def is_whole(self) -> bool:
        """The ids so far end at the end of a character, not inside one."""
        ...

    def save(self) -> object:
        """The state, for `restore`."""
        ...

    def restore(self, state: Any) -> None:
        """Go back to a state of `save`, which may be used several times."""
        ...


class Utf8Decoder:
    """Decodes ids through `token_bytes`. Half a character is held back; bytes that are not UTF-8 become U+FFFD, as in
    `bytes.decode(errors="replace")`."""

    def __init__(self, token_bytes: Callable[[int], bytes], *, strip_leading_space: bool = False) -> None:
        """
        Args:
            token_bytes: bytes of a token; b"" for special tokens, which are never text.
            strip_leading_space: drop one space before the first text. Vocabularies that put a space before every text write
                its first word as "▁word".
        """
        self._token_bytes = token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._must_strip = strip_leading_space

    def push(self, token_id: int) -> str:
        text = self._utf8.decode(self._token_bytes(token_id))
        if text and self._must_strip:
            self._must_strip = False
            text = text.removeprefix(" ")
        return text

    def flush(self) -> str:
        return ""

    @property
    def is_whole(self) -> bool:
        return not self._utf8.getstate()[0]

    def save(self) -> object:
        return self._utf8.getstate(), self._must_strip

    def restore(self, state: Any) -> None:
        utf8, self._must_strip = state
        self._utf8.setstate(utf8)


class WholeText:
    """The decoder of a reply that arrives as text: its ids carry none."""

    def push(self, token_id: int) -> str:
        return ""

    def flush(self) -> str:
        return ""

    @property
    def is_whole(self) -> bool:
        return True

    def save(self) -> object:
        return None

    def restore(self, state: Any) -> None:
        pass


class TextStream:
    """Text of a reply, up to the first stop string.

    The first stop string is the one that is complete first; of two complete at the same character, the one that starts
    first. The result does not depend on how the text is split into tokens.
    """

    def __init__(self, decoder: IncrementalDecoder, stop: Sequence[str] = ()) -> None:
        self._decoder = decoder
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.is_stopped = False
        """A stop string was found. The reply is over, and further ids are ignored."""

    @property
    def is_whole(self) -> bool:
        return self._decoder.is_whole

    def save(self) -> object:
        """The state, for `restore`."""
        return self._decoder.save(), self._held, self.is_stopped

    def restore(self, state: Any) -> None:
        """Go back to a state of `save`, which may be used several times."""
        decoder, self._held, self.is_stopped = state
        self._decoder.restore(decoder)

    def push(self, token_id: int) -> str:
        """The text that this id makes certain; may be empty."""
        return self.push_text(self._decoder.push(token_id))

    def flush(self) -> str:
        """The text held back so far: nothing follows, so it belongs to the reply."""
        text = self.push_text(self._decoder.flush()) + self._held
        self._held = ""
        return text

    def push_text(self, text: str) -> str:
        """As `push`, for text that arrives as text."""
        if self.is_stopped or not text:
            return ""
        pending = self._held + text
        cut = self._first_stop(pending)
        if cut is not None:
            self.is_stopped = True
            self._held = ""
            return pending[:cut]
        certain = len(pending) - self._length_of_possible_stop(pending)
        self._held = pending[certain:]
        return pending[:certain]

    def _first_stop(self, text: str) -> int | None:
        """Index where the first stop string starts; None without one."""
        found = [(start + len(stop), start) for stop in self._stop if (start := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _length_of_possible_stop(self, text: str) -> int:
        """Length of the longest suffix of `text` that is a prefix of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
