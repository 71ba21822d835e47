"""The parts of a recording as they are stored.

A part's `data`: a version byte, then zlib over msgpack of columns (`_Columns`). Each number is split into its
bytes: all first bytes, then all second ones, which compress far better. Ids are places in the part's own list of pieces.
Precision: log-probabilities of chosen tokens as float32, of alternatives in steps of 1/64 nat (`domain.recording.packed`),
entropies in steps of 1/4096 nat, times in microseconds.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.recording import (
    NOT_RECORDED,
    BatchChange,
    BatchRow,
    Pause,
    RecordedPrompt,
    RecordedToken,
    Recording,
    SamplingChange,
    cuts_of,
    ids_of,
    steps_of,
    text_id,
)
from ttchat_tui.domain.timeline import ColdWork, StepParts
from ttchat_tui.storage.errors import REPAIR, StorageError
from ttchat_tui.storage.rows import encoded_sampling, sampling_from

VERSION: Final = 1
_LEVEL: Final = 6
_UNKNOWN_RANK: Final = 0xFFFF_FFFF
_UNKNOWN_ENTROPY: Final = 0xFFFF
_ENTROPY_STEPS: Final = 4096
"""Per nat: the entropy of a vocabulary of 8 million tokens still fits."""
_LOWEST_LOGPROB: Final = -1e30
"""Below it a float32 ends."""
_MOST_TOKENS: Final = 10_000_000
"""Tokens in a reply; a damaged place would ask for endless memory."""
_DRAFTED, _SEEN, _LISTED, _FORCED, _TIMED, _END = 1, 2, 4, 8, 16, 128
"""Speculation drafted the token · its log-probability is known · it is the alternative of its rank · the user chose it · its time
is split · it ended the reply."""
_WORK: Final[dict[ColdWork, int]] = {"": 0, "compile": 32, "trace": 64}
"""Further bits."""
_WORK_OF: Final[dict[int, ColdWork]] = {bits: work for work, bits in _WORK.items()}
_LONGEST_US: Final = 0xFFFF_FFFF


class StoredPart(NamedTuple):
    """A row of the table, as it is written."""

    first: int
    """Number of tokens of the reply before it."""
    tokens: int
    """Those of the reply: an end that the user chose is not counted, so that a continuation begins in its place."""
    data: bytes


class _Columns(msgspec.Struct, array_like=True, frozen=True):
    flags: bytes
    """For each token bits of `_DRAFTED`, `_SEEN`, `_LISTED`, `_FORCED`, `_TIMED`, `_END` and `_WORK`."""
    logprobs: bytes
    """float32"""
    ranks: bytes
    """uint32"""
    entropies: bytes
    """uint16"""
    pauses: bytes
    """uint64: microseconds since the token before, of the first one since the request."""
    counts: bytes
    """uint8: how many alternatives each token has."""
    steps: bytes
    """Of all alternatives: uint16"""
    cuts: bytes
    places: bytes
    """uint32, of all alternatives, then of the tokens without `_LISTED`: where a piece is in the list, from 1, or 0 for the
    one that follows the latest new one."""
    piece_ids: bytes
    """int32"""
    piece_lengths: bytes
    """uint32"""
    pieces: bytes
    changes: tuple[tuple[int, str], ...]
    """Index in the reply, and the sampling parameters as JSON."""
    paused: tuple[tuple[int, float], ...] = ()
    """Index in the reply, and how long the user paused it before that token, in seconds."""
    spent: bytes = b""
    """uint32: microseconds of the tokens with `_TIMED`, one part of `StepParts.numbers` of all of them after the other."""
    prompts: tuple[tuple[int, int, bytes, int, tuple[tuple[int, str | None], ...], int], ...] = ()
    """The fields of `RecordedPrompt`: ids as int32, of each row the seed and the parameters as JSON."""
    controls: tuple[tuple[int, bytes], ...] = ()
    """`Recording.controls`, of this part's pieces."""
    batches: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Index in the reply, and the rows of the batch from there on."""
    models: tuple[str, ...] = ()
    """`RecordedPrompt.model` of each of `prompts`; empty in parts that are older than the field."""


def joined(parts: Sequence[Recording]) -> Recording:
    """One recording of several in order. What lies between two is filled with tokens that were not recorded, and the end of a reply
    gives way to its continuation. Where another model has continued the reply, an id may be another piece: the tokens
    before it lose their ids. A continuation that added nothing has left a part without prompt and tokens, which says nothing."""
    parts = [*parts[:1], *(part for part in parts[1:] if part.tokens or part.prompts)]
    if len(parts) < 2:
        return parts[0] if parts else Recording()
    first = parts[0].first
    tokens: list[RecordedToken] = []
    pieces: dict[int, bytes] = {}
    controls: dict[int, bytes] = {}
    changes: list[SamplingChange] = []
    pauses: list[Pause] = []
    batches: list[BatchChange] = []
    merged: Mapping[int, bytes] | None = None
    for part in parts:
        # What was at the end of the reply before it was continued.
        changes = [*(each for each in changes if each.at < part.first), *part.changes]
        pauses = [*(each for each in pauses if each.at < part.first), *part.pauses]
        batches = [*(each for each in batches if each.at < part.first), *part.batches]
        if part.pieces is not merged:
            merged = part.pieces
            if any(pieces.get(token_id, piece) != piece for token_id, piece in merged.items()):
                tokens, pieces, controls = _without_ids(tokens, pieces, controls)
            pieces.update(merged)
        controls.update(part.controls)
        if part.tokens and tokens and tokens[-1].is_end:
            tokens.pop()
        tokens += [RecordedToken(NOT_RECORDED, 0.0)] * (part.first - first - len(tokens))
        tokens += part.tokens
    return Recording(
        tokens=tokens,
        first=first,
        changes=changes,
        pauses=pauses,
        prompts=[prompt for part in parts for prompt in part.prompts],
        pieces=pieces,
        controls=controls,
        batches=batches,
    )


def _without_ids(
    tokens: Sequence[RecordedToken], pieces: Mapping[int, bytes], controls: Mapping[int, bytes]
) -> tuple[list[RecordedToken], dict[int, bytes], dict[int, bytes]]:
    """The same tokens and alternatives with ids of their pieces alone."""
    found: dict[int, bytes] = {}
    new_ids: dict[int, int] = {NOT_RECORDED: NOT_RECORDED}
    for token_id, piece in pieces.items():
        new_ids[token_id] = text_id(piece, found)
        found[new_ids[token_id]] = piece

    def renamed(token: RecordedToken) -> RecordedToken:
        data = token.alternatives
        ids = ids_of(data)
        return structs.replace(
            token,
            token_id=new_ids.get(token.token_id, NOT_RECORDED),
            alternatives=struct.pack(f"<{len(ids)}i", *map(new_ids.__getitem__, ids)) + data[4 * len(ids) :],
        )

    return [*map(renamed, tokens)], found, {new_ids[each]: text for each, text in controls.items()}


def encoded(recording: Recording) -> StoredPart:
    """Raises StorageError, kind `invalid_settings`, for parameters out of range."""
    tokens = recording.tokens
    times = [0, *(round(token.time_s * 1e6) for token in tokens)]
    listed = [ids_of(token.alternatives) for token in tokens]
    flags = [_flags(token, ids) for token, ids in zip(tokens, listed, strict=True)]
    ids = [*chain.from_iterable(listed)]
    ids += [token.token_id for token, bits in zip(tokens, flags, strict=True) if not bits & _LISTED]
    piece_ids, places = _placed(ids)
    pieces = [recording.piece_of(each) for each in piece_ids]
    columns = _Columns(
        flags=bytes(flags),
        logprobs=_column("f", [max(token.logprob or 0.0, _LOWEST_LOGPROB) for token in tokens]),
        ranks=_column("I", [_UNKNOWN_RANK if token.rank is None else token.rank for token in tokens]),
        entropies=_column("H", [_entropy_steps(token.entropy) for token in tokens]),
        pauses=_column("Q", [max(0, after - before) for before, after in pairwise(times)]),
        counts=bytes(map(len, listed)),
        steps=_planes(b"".join(steps_of(token.alternatives) for token in tokens), 2),
        cuts=b"".join(cuts_of(token.alternatives) for token in tokens),
        places=_column("I", places),
        piece_ids=_column("i", piece_ids),
        piece_lengths=_column("I", list(map(len, pieces))),
        pieces=b"".join(pieces),
        changes=tuple((each.at, encoded_sampling(each.sampling) or "") for each in recording.changes),
        paused=tuple((each.at, each.seconds) for each in recording.pauses),
        spent=_column("I", _microseconds([token.spent for token in tokens if token.spent is not None])),
        prompts=tuple(
            (
                each.at,
                each.shared,
                _column("i", each.ids),
                each.cached,
                tuple((row.seed, encoded_sampling(row.sampling)) for row in each.rows),
                each.row,
            )
            for each in recording.prompts
        ),
        controls=tuple((each, recording.controls[each]) for each in piece_ids if each in recording.controls),
        batches=tuple((each.at, each.rows) for each in recording.batches),
        models=tuple(each.model for each in recording.prompts),
    )
    data = bytes([VERSION]) + zlib.compress(msgspec.msgpack.encode(columns), _LEVEL)
    return StoredPart(recording.first, len(recording.written), data)


def decoded(first: object, data: object, known: dict[int, bytes] | None = None) -> Recording:
    """`known`: the pieces of earlier parts; new ones are added. If an id has another piece here, this part has its own.
    Raises StorageError, kind `database_corrupt`."""
    try:
        if not isinstance(data, bytes) or data[:1] != bytes([VERSION]):
            raise ValueError("its version is unknown")
        if not isinstance(first, int) or not 0 <= first <= _MOST_TOKENS:
            raise ValueError("its place is wrong")
        columns = msgspec.msgpack.decode(zlib.decompress(data[1:]), type=decodable(_Columns))
        piece_ids = _numbers("i", columns.piece_ids)
        return Recording(
            tokens=_tokens(columns, _unplaced(piece_ids, _numbers("I", columns.places))),
            first=first,
            changes=[SamplingChange(at, sampling_from(each)) for at, each in columns.changes],
            pauses=[Pause(*each) for each in columns.paused],
            pieces=_pieces(piece_ids, columns, {} if known is None else known),
            prompts=[
                _prompt(*each, *columns.models[place : place + 1])
                for place, each in enumerate(columns.prompts)
            ],
            controls=dict(columns.controls),
            batches=[BatchChange(*each) for each in columns.batches],
        )
    except (ValueError, IndexError, OverflowError, struct.error, zlib.error) as error:
        raise StorageError(
            ErrorInfo(
                kind="database_corrupt",
                message=f"The recording of this reply cannot be read: {error}.",
                cure=REPAIR,
            )
        ) from error


def _prompt(
    at: int,
    shared: int,
    ids: bytes,
    cached: int,
    rows: Sequence[tuple[int, str | None]],
    row: int,
    model: str = "",
) -> RecordedPrompt:
    found = tuple(BatchRow(seed, sampling_from(own) if own is not None else None) for seed, own in rows)
    return RecordedPrompt(at, shared, _numbers("i", ids), cached, found, row, model)


def _tokens(columns: _Columns, ids: Sequence[int]) -> list[RecordedToken]:
    """`ids`: of all alternatives, then of the tokens that are not among theirs."""
    ends = [0, *accumulate(columns.counts)]
    others = struct.pack(f"<{ends[-1]}i", *ids[: ends[-1]])
    steps = _joined_planes(columns.steps, 2)
    if not len(steps) == 2 * len(columns.cuts) == 2 * ends[-1]:
        raise ValueError("its alternatives do not match")
    own = iter(ids[ends[-1] :])
    spent = _spent(columns)
    return [
        RecordedToken(
            token_id=ids[begin + rank] if flags & _LISTED else next(own, NOT_RECORDED),
            time_s=time / 1e6,
            is_drafted=bool(flags & _DRAFTED),
            logprob=logprob if flags & _SEEN else None,
            rank=None if rank == _UNKNOWN_RANK else rank,
            entropy=None if entropy == _UNKNOWN_ENTROPY else entropy / _ENTROPY_STEPS,
            alternatives=others[4 * begin : 4 * end] + steps[2 * begin : 2 * end] + columns.cuts[begin:end],
            is_forced=bool(flags & _FORCED),
            spent=next(spent) if flags & _TIMED else None,
            is_end=bool(flags & _END),
        )
        for time, (flags, logprob, rank, entropy), (begin, end) in zip(
            accumulate(_numbers("Q", columns.pauses)),
            zip(
                columns.flags,
                _numbers("f", columns.logprobs),
                _numbers("I", columns.ranks),
                _numbers("H", columns.entropies),
                strict=True,
            ),
            pairwise(ends),
            strict=True,
        )
    ]


def _microseconds(spent: Sequence[StepParts]) -> list[int]:
    return [
        micros if 0 <= (micros := round(seconds * 1e6)) <= _LONGEST_US else min(max(0, micros), _LONGEST_US)
        for part in zip(*(each.numbers for each in spent), strict=True)
        for seconds in part
    ]


def _spent(columns: _Columns) -> Iterator[StepParts]:
    """Of the tokens with `_TIMED`, in order."""
    timed = [flags for flags in columns.flags if flags & _TIMED]
    numbers, count = _numbers("I", columns.spent), len(timed)
    if len(numbers) != count * len(StepParts().numbers):
        raise ValueError("its times do not match")
    works: Iterator[ColdWork] = (
        _WORK_OF.get(flags & (_WORK["compile"] | _WORK["trace"]), "") for flags in timed
    )
    return (
        StepParts.of((each / 1e6 for each in numbers[place::count]), work) for place, work in enumerate(works)
    )


def _placed(ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """The different ids in the order in which they come, and for each of `ids` its place: see `_Columns.places`."""
    known, places = dict[int, int](), list[int]()
    for each in ids:
        place = known.get(each, 0)
        if not place:
            known[each] = len(known) + 1
        places.append(place)
    return list(known), places


def _unplaced(piece_ids: Sequence[int], places: Sequence[int]) -> list[int]:
    new = iter(piece_ids)
    return [piece_ids[place - 1] if place else next(new, NOT_RECORDED) for place in places]


def _pieces(ids: Sequence[int], columns: _Columns, known: dict[int, bytes]) -> dict[int, bytes]:
    """`known` with the pieces of this part, or its own where one differs. Most are known: to compare all of them at once is
    quicker than to cut them out."""
    lengths, text = _numbers("I", columns.piece_lengths), columns.pieces
    ends = [*accumulate(lengths, initial=0)]
    if len(lengths) != len(ids) or ends[-1] != len(text):
        raise ValueError("its pieces do not match")
    known.update(
        {
            token_id: text[ends[place] : ends[place + 1]]
            for place, token_id in enumerate(ids)
            if token_id not in known
        }
    )
    pieces = [*map(known.__getitem__, ids)]
    if tuple(map(len, pieces)) == lengths and b"".join(pieces) == text:
        return known
    return {token_id: text[begin:end] for token_id, (begin, end) in zip(ids, pairwise(ends), strict=True)}


def _entropy_steps(entropy: float | None) -> int:
    return _UNKNOWN_ENTROPY if entropy is None else min(round(entropy * _ENTROPY_STEPS), _UNKNOWN_ENTROPY - 1)


def _flags(token: RecordedToken, ids: Sequence[int]) -> int:
    is_listed = token.rank is not None and token.rank < len(ids) and ids[token.rank] == token.token_id
    known = _SEEN * (token.logprob is not None) | _LISTED * is_listed
    timed = 0 if token.spent is None else _TIMED | _WORK[token.spent.work]
    return _DRAFTED * token.is_drafted | known | _FORCED * token.is_forced | timed | _END * token.is_end


def _column(kind: str, numbers: Sequence[float]) -> bytes:
    return _planes(struct.pack(f"<{len(numbers)}{kind}", *numbers), struct.calcsize(f"<{kind}"))


def _numbers(kind: str, column: bytes) -> tuple[int, ...]:
    width = struct.calcsize(f"<{kind}")
    return struct.unpack(f"<{len(column) // width}{kind}", _joined_planes(column, width))


def _planes(data: bytes, width: int) -> bytes:
    """All first bytes of numbers of this width, then all second ones, and so on."""
    return b"".join(data[place::width] for place in range(width))


def _joined_planes(planes: bytes, width: int) -> bytes:
    count, rest = divmod(len(planes), width)
    if rest:
        raise ValueError("a column has a broken number")
    data = bytearray(len(planes))
    for place in range(width):
        data[place::width] = planes[place * count : (place + 1) * count]
    return bytes(data)
