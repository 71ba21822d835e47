"""The recording of a reply: what the model and the sampler did at each token.

Standard library and msgspec only: engines fill it, the session stores it, the screen reads it.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import StepParts

RecordLevel: TypeAlias = Literal["full", "chosen", "off"]
"""full: everything · chosen: log-probability, rank and entropy, without the alternatives · off: nothing is recorded."""

Cut: TypeAlias = Literal["kept", "temperature", "top-k", "top-p", "min-p", "unknown", "ban", "constraint"]
"""What the sampler did with an alternative: it could be drawn, or the first rule that cut it, of those in
`domain/sampler_rules.py`. temperature: 0 is greedy, and a low one leaves a share too small to draw. unknown: a server does
not say. ban: by the logit bias. Recordings keep the place in this list: what is new comes last."""

ALTERNATIVES: Final = 20
"""The most alternatives of a token that are recorded, the chosen one among them if it is one of the most probable."""

STEPS_PER_NAT: Final = 64
"""Precision of the alternatives' log-probabilities: they are off by at most 1/128 nat, 0.8 % of a probability."""

CUTS: Final[tuple[Cut, ...]] = get_args(Cut)
_CODES: Final = {cut: code for code, cut in enumerate(CUTS)}
_LOWEST: Final = 0xFFFF
_PACKED_BYTES: Final = 7


class Alternative(msgspec.Struct, frozen=True):
    """A token that the model might have written."""

    token_id: int
    """A key of `Recording.pieces`; negative for a piece of a server that sends no ids."""
    logprob: float
    """Natural logarithm of its probability in the model's own distribution: no penalty, temperature 1, no truncation."""
    cut: Cut


class Distribution(msgspec.Struct, frozen=True, array_like=True):
    """What an engine records of the distribution that a token was drawn from."""

    rank: int | None
    """How many tokens were more probable in the model's own distribution, of equal ones those with lower ids. None: the
    server does not list it."""
    entropy: float | None
    """Of the model's own distribution, in nats. None: unknown, as a server lists the most probable tokens only."""
    alternatives: bytes = b""
    """See `packed`."""
    token_id: int | None = None
    """The key of the token's piece; None: it is in the event's `token_ids`."""


class SamplingChange(msgspec.Struct, frozen=True):
    at: int
    """The first token that was drawn with the new parameters; 0 is the first one of the reply (in an event: of the event). The
    token that ended a reply and is not recorded has a place, too: the number of the tokens before it."""
    sampling: SamplingParams


class Pause(msgspec.Struct, frozen=True):
    """The user paused the reply before a token. Times of tokens do not include it."""

    at: int
    """The token: 0 is the first one of the reply (in an event: of the event)."""
    seconds: float


class BatchChange(msgspec.Struct, frozen=True):
    """Other rows of a batch are decoded together: some have ended."""

    at: int
    """The first token that came from a step of these rows; 0 is the first one of the reply (in an event: of the event)."""
    rows: tuple[int, ...]
    """Numbers of all rows of the step, its own included, in order."""


class BatchRow(msgspec.Struct, frozen=True):
    """A row of the batch that a candidate was decoded in."""

    seed: int
    sampling: SamplingParams | None = None
    """Its own parameters; None: those of row 0. Of row 0 itself only where others have their own."""


class RecordedPrompt(msgspec.Struct, frozen=True):
    """The prompt of one request. A long conversation's prompts begin alike, so that only the rest is kept."""

    at: int
    """Number of tokens of the reply before it: 0, or more where the reply was continued."""
    shared: int
    """It begins with so many ids of a sequence that is known: for the first request of a reply, the first prompt of the reply
    before it in the conversation and that reply; for a further one, the first prompt of this reply and the reply so far."""
    ids: tuple[int, ...]
    """The ids after those."""
    cached: int = 0
    """How many of the prompt's first ids the KV cache held already. What was decoded there may be rounded otherwise than what a
    prefill computes."""
    rows: tuple[BatchRow, ...] = ()
    """Of a batch all rows, row 0 included: in reduced precision several rows round otherwise than one. Empty: no batch."""
    row: int = 0
    """Its own."""
    model: str = ""
    """The model that was loaded, as an argument of `--model` that means the same file from any folder; empty: not recorded."""


class RecordedToken(msgspec.Struct, frozen=True, gc=False):
    """One token of a reply, or a chunk of a server that does not count tokens."""

    token_id: int
    """A key of `Recording.pieces`; negative where there is no id."""
    time_s: float
    """When it came, in seconds since the engine received the request, pauses left out."""
    is_drafted: bool = False
    """Speculation drafted it: it came from the same forward as the token before it."""
    logprob: float | None = None
    """As `Alternative.logprob`. None: its logits were never seen, because a card drew it or a server does not report it."""
    rank: int | None = None
    entropy: float | None = None
    """As in `Distribution`."""
    alternatives: bytes = b""
    """See `alternatives_of`. Empty: not recorded."""
    is_forced: bool = False
    """The user chose it in place of the sampler, or it belongs to the end of a thought that the user asked for."""
    spent: StepParts | None = None
    """Where the time since the token before it went. None: it was not measured, as by a server."""
    is_end: bool = False
    """An end token that the user chose. It ended the reply, and is no part of it: only the last one can be."""

    @property
    def shown_rank(self) -> int | None:
        """Its rank on screen and in what commands write: 1 is the most probable token."""
        return None if self.rank is None else self.rank + 1

    @property
    def is_chunk(self) -> bool:
        """It is no token, but a text without an id: typed by the user, or a chunk of a server that does not count tokens."""
        return self.token_id < 0 and self.logprob is None and self.token_id != NOT_RECORDED


class Recording(msgspec.Struct, frozen=True):
    """Of one reply. Tokens before the first recorded one (of a reply that the user began, say) are not in it."""

    tokens: Sequence[RecordedToken] = ()
    first: int = 0
    """Number of tokens of the reply before `tokens[0]`."""
    changes: Sequence[SamplingChange] = ()
    """In order; before the first one, the reply's own parameters apply."""
    pieces: Mapping[int, bytes] = {}
    """The bytes of every token and alternative. A control token has its name. One token may be a part of a character."""
    pauses: Sequence[Pause] = ()
    """In order; before one token there may be several."""
    prompts: Sequence[RecordedPrompt] = ()
    """Of each request of the reply, in order, as far as they are known."""
    controls: Mapping[int, bytes] = {}
    """Of the control tokens in `pieces`: what they add to the reply's text, which is nothing or the tag of a thought."""
    batches: Sequence[BatchChange] = ()
    """In order, for each request that was a batch from its second token on: the first one comes from the prefill, which has one row."""

    @property
    def written(self) -> Sequence[RecordedToken]:
        """The tokens of the reply: `tokens` without the end that the user chose."""
        return self.tokens[:-1] if self.tokens and self.tokens[-1].is_end else self.tokens

    def piece_of(self, token_id: int) -> bytes:
        return self.pieces.get(token_id, b"")

    def text_of(self, token_id: int) -> bytes:
        """What the token adds to the reply's text."""
        text = self.controls.get(token_id)
        return self.piece_of(token_id) if text is None else text

    def sampling_at(self, index: int, own: SamplingParams) -> SamplingParams:
        """The parameters that token `index` of the reply was drawn with; `own`: those of the reply's record."""
        return next((each.sampling for each in reversed(self.changes) if each.at <= index), own)


def common_prefix(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many ids from the first one on are the same."""
    shortest = min(len(ids), len(others))
    return next((place for place in range(shortest) if ids[place] != others[place]), shortest)


def text_id(piece: bytes, taken: Mapping[int, bytes]) -> int:
    """A negative id for a piece without one, the same in every reply unless another piece in `taken` has it."""
    token_id = -1 - (zlib.crc32(piece) & 0x7FFF_FFFF)
    while taken.get(token_id, piece) != piece:
        token_id = -1 - (-token_id & 0x7FFF_FFFF)
    return token_id


NOT_RECORDED: Final = text_id(b"", {})
"""The id of a token in a gap: a part of the reply that was generated without a recording."""


def packed(alternatives: Sequence[tuple[int, float, Cut]]) -> bytes:
    """Alternatives as (id, log-probability, cut), the most probable first. See `packed_columns`."""
    return packed_columns(*zip(*alternatives, strict=True)) if alternatives else b""


def packed_columns(ids: Sequence[int], logprobs: Sequence[float], cuts: Sequence[Cut]) -> bytes:
    """Alternatives, the most probable first, in 7 bytes each.

    Three columns, little-endian: ids as int32; log-probabilities in steps of 1/64 nat, each as the difference to the one
    before, as uint16 (nothing is below -1,023 nats); cuts as bytes.
    """
    more, before = list[int](), 0
    for logprob in logprobs:
        step = logprob * -STEPS_PER_NAT
        step = round(step) if step < _LOWEST else _LOWEST
        if step < before:
            step = before
        more.append(step - before)
        before = step
    codes = map(_CODES.__getitem__, cuts)
    return struct.pack(f"<{len(ids)}i{len(ids)}H{len(ids)}B", *ids, *more, *codes)


def ids_of(alternatives: bytes) -> tuple[int, ...]:
    """The first column of `packed`."""
    return struct.unpack_from(f"<{len(alternatives) // _PACKED_BYTES}i", alternatives)


def steps_of(alternatives: bytes) -> bytes:
    """The second column of `packed`."""
    count = len(alternatives) // _PACKED_BYTES
    return alternatives[4 * count : 6 * count]


def cuts_of(alternatives: bytes) -> bytes:
    """The third column of `packed`."""
    return alternatives[6 * (len(alternatives) // _PACKED_BYTES) :]


def alternatives_of(token: RecordedToken) -> tuple[Alternative, ...]:
    """The alternatives of a token, most probable first."""
    return listed(token.alternatives)


def alternatives_and_itself(token: RecordedToken) -> tuple[Alternative, ...]:
    """The alternatives of a token with the token itself: in its place, with its exact probability, or at the end. Empty: not
    recorded."""
    found = alternatives_of(token)
    if token.logprob is None or not found:
        return ()
    place = next((at for at, each in enumerate(found) if each.token_id == token.token_id), len(found))
    written = Alternative(token.token_id, token.logprob, "kept")
    return (*found[:place], written, *found[place + 1 :])


def listed(data: bytes) -> tuple[Alternative, ...]:
    """The inverse of `packed`."""
    ids, steps = ids_of(data), struct.unpack(f"<{len(data) // _PACKED_BYTES}H", steps_of(data))
    found, step = list[Alternative](), 0
    for token_id, more, code in zip(ids, steps, cuts_of(data), strict=True):
        step += more
        cut = CUTS[code] if code < len(CUTS) else "unknown"
        found.append(Alternative(token_id, -step / STEPS_PER_NAT, cut))
    return tuple(found)


def perplexity_of(mean_logprob: float) -> float:
    """exp of the mean negative log-probability in nats; at most 1e304."""
    return math.exp(min(-mean_logprob, 700))


class Likelihood:
    """How probable a reply was to its model, over the tokens whose logits were seen. It can grow with the reply."""

    def __init__(self) -> None:
        self.tokens = 0
        """Number of tokens taken, seen or not, chunks included."""
        self.chunks = 0
        """Of these what is no token: words that were typed, chunks of a server that does not count tokens."""
        self._seen = 0
        self._sum = 0.0
        self._ranked = 0
        self._greedy = 0

    def take(self, tokens: Sequence[RecordedToken]) -> None:
        """Add those of `tokens`, a reply's from its beginning, that were not there at the last call."""
        for index in range(self.tokens, len(tokens)):
            token = tokens[index]
            self.chunks += token.is_chunk
            if token.logprob is not None:
                self._seen += 1
                self._sum += token.logprob
            if token.rank is not None:
                self._ranked += 1
                self._greedy += token.rank == 0
        self.tokens = len(tokens)

    @property
    def mean_logprob(self) -> float | None:
        """In nats."""
        return self._sum / self._seen if self._seen else None

    @property
    def greedy_share(self) -> float | None:
        """The share of tokens that were the most probable ones."""
        return self._greedy / self._ranked if self._ranked else None
