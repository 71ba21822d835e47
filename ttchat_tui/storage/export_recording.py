"""Recordings in the JSON format: readable, and read back as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from ttchat_tui.domain.recording import (
    Alternative,
    BatchChange,
    Cut,
    Pause,
    RecordedPrompt,
    RecordedToken,
    Recording,
    SamplingChange,
    alternatives_of,
    packed,
)
from ttchat_tui.domain.timeline import StepParts

FilePiece: TypeAlias = str | tuple[Annotated[int, Meta(ge=0, le=255)], ...]
"""A token's text, or its bytes where they are not UTF-8 by themselves."""


class FileToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A `RecordedToken`; what is unknown is left out."""

    token_id: int
    time_s: float
    is_drafted: bool = False
    logprob: float | None = None
    rank: int | None = None
    """0: the most probable token, as version 1 of the format has it. What commands write counts from 1."""
    entropy: float | None = None
    alternatives: Annotated[tuple[tuple[int, float, Cut], ...], Meta(max_length=255)] = ()
    """Id, log-probability, and the rule of the sampler that cut it or `kept`; the most probable first."""
    is_forced: bool = False
    is_end: bool = False
    spent: StepParts | None = None
    """Where its time went, in seconds: sent, forward, sampled, detokenised, loop; and the forward's cold work."""


class FileRecording(msgspec.Struct, frozen=True, kw_only=True):
    """The `Recording` of one message."""

    message_id: int
    first: int = 0
    tokens: tuple[FileToken, ...] = ()
    changes: tuple[SamplingChange, ...] = ()
    pauses: tuple[Pause, ...] = ()
    prompts: tuple[RecordedPrompt, ...] = ()
    batches: tuple[BatchChange, ...] = ()
    pieces: tuple[tuple[int, FilePiece], ...] = ()
    """The text of every id, negative ones too, which stand for tokens of a server without ids."""
    controls: tuple[tuple[int, FilePiece], ...] = ()
    """Of control tokens, which `pieces` names: what they add to the reply's text."""


def to_file(message_id: int, recording: Recording) -> FileRecording:
    return FileRecording(
        message_id=message_id,
        first=recording.first,
        tokens=tuple(map(_to_file, recording.tokens)),
        changes=tuple(recording.changes),
        pauses=tuple(recording.pauses),
        prompts=tuple(recording.prompts),
        batches=tuple(recording.batches),
        pieces=_pieces_to_file(recording.pieces),
        controls=_pieces_to_file(recording.controls),
    )


def from_file(file: FileRecording) -> Recording:
    """Raises struct.error: an id is out of range."""
    return Recording(
        tokens=[_from_file(token) for token in file.tokens],
        first=file.first,
        changes=file.changes,
        pauses=file.pauses,
        prompts=file.prompts,
        batches=file.batches,
        pieces=_pieces_from_file(file.pieces),
        controls=_pieces_from_file(file.controls),
    )


def _to_file(token: RecordedToken) -> FileToken:
    return FileToken(
        token_id=token.token_id,
        time_s=token.time_s,
        is_drafted=token.is_drafted,
        logprob=token.logprob,
        rank=token.rank,
        entropy=token.entropy,
        alternatives=tuple(map(_alternative, alternatives_of(token))),
        is_forced=token.is_forced,
        is_end=token.is_end,
        spent=token.spent and token.spent.rounded(),
    )


def _alternative(found: Alternative) -> tuple[int, float, Cut]:
    return found.token_id, found.logprob, found.cut


def _from_file(token: FileToken) -> RecordedToken:
    return RecordedToken(
        token_id=token.token_id,
        time_s=token.time_s,
        is_drafted=token.is_drafted,
        logprob=token.logprob,
        rank=token.rank,
        entropy=token.entropy,
        alternatives=packed(token.alternatives),
        is_forced=token.is_forced,
        is_end=token.is_end,
        spent=token.spent,
    )


def _pieces_to_file(pieces: Mapping[int, bytes]) -> tuple[tuple[int, FilePiece], ...]:
    return tuple((token_id, _piece_to_file(piece)) for token_id, piece in pieces.items())


def _pieces_from_file(pieces: Sequence[tuple[int, FilePiece]]) -> dict[int, bytes]:
    return {
        token_id: piece.encode("utf-8", "replace") if isinstance(piece, str) else bytes(piece)
        for token_id, piece in pieces
    }


def _piece_to_file(piece: bytes) -> FilePiece:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return tuple(piece)
