"""Replays of stored replies, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from ttchat_tui.cli.recorded_run import record, require_following
from ttchat_tui.domain.agreement import Agreement, agreement_of
from ttchat_tui.domain.generation import Given
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import RecordedToken, Recording
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine, EngineError
from ttchat_tui.session.stored_requests import StoredReply, StoredRequest


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first token where a replay is another reply."""

    number: int
    """Of the token in the reply; the first one is 1."""
    stored: RecordedToken | None
    """None: the reply ends before it."""
    replayed: RecordedToken | None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Results of `replay`, or of `compare`."""

    tokens: int
    """Of the reply."""
    same: int
    """Tokens from the first one on that the replay wrote, too; of a comparison those up to the first difference."""
    difference: Difference | None
    """None: every token is the same. Of a comparison: the first token where another one is the most probable."""
    is_rebuilt: bool = False
    """The replies before it were decoded again, because it differed without them in the KV cache."""
    agreement: Agreement | None = None
    """Of a comparison."""
    followed: Recording | None = None
    """Of a comparison: the tokens of the reply as the engine sees them."""


def replay(engine: Engine, reply: StoredReply, report: Callable[[int], None]) -> tuple[Replay, Recording]:
    """Make the requests of a reply again, until a token differs. Returns the last recording too, for its pieces.

    Raises:
        EngineError
    """
    tokens, same, is_rebuilt = len(reply.tokens), 0, False
    again = Recording()
    for request in reply.requests:
        again = _made_again(engine, request, report)
        difference = _first_difference(request, again.tokens)
        if difference is not None and request.before:
            is_rebuilt = True
            _decode_before(engine, request)
            again = _made_again(engine, request, report)
            difference = _first_difference(request, again.tokens)
        if difference is not None:
            same = difference.number - 1
            break
        same += len(request.tokens)
    else:
        difference = None
    return Replay(tokens=tokens, same=same, difference=difference, is_rebuilt=is_rebuilt), again


def _made_again(engine: Engine, request: StoredRequest, report: Callable[[int], None]) -> Recording:
    return record(
        engine, request.request, lambda count, _: report(request.first + count), request.row
    ).recording


def _decode_before(engine: Engine, request: StoredRequest) -> None:
    """Bring the engine's KV cache into the state of that time: what was decoded there is rounded otherwise than what a prefill
    computes."""
    sampling = _unbiased(request.request.sampling)
    for given in request.before:
        again = structs.replace(
            request.request, given=given, sampling=sampling, candidates=(), record="chosen"
        )
        record(engine, again)


def _first_difference(stored: StoredRequest, again: Sequence[RecordedToken]) -> Difference | None:
    """Of one request."""
    before = stored.tokens
    for place in range(max(len(before), len(again))):
        own = before[place] if place < len(before) else None
        other = again[place] if place < len(again) else None
        if own is None or other is None or own.token_id != other.token_id:
            return Difference(number=stored.first + place + 1, stored=own, replayed=other)
    return None


def compare(
    engine: Engine, info: EngineInfo, reply: StoredReply, report: Callable[[int], None]
) -> tuple[Replay, Recording]:
    """Let an engine follow the reply.

    Raises:
        EngineError: also if its tokens are others, so that nothing can be compared.
    """
    require_following(info)
    followed: list[RecordedToken] = []
    pieces: dict[int, bytes] = {}
    for request in filter(lambda each: each.tokens, reply.requests):
        given = Given(prompt_ids=request.request.given.prompt_ids, ids=request.ids)
        sampling = _unbiased(request.request.sampling)
        followed_request = structs.replace(request.request, given=given, sampling=sampling, candidates=())
        part, _ = record(
            engine, followed_request, lambda count, _, before=request.first: report(before + count)
        )
        followed.extend(part.tokens)
        pieces.update(part.pieces)
    _require_same_pieces(info, reply, pieces)
    tokens = reply.tokens
    agreement = agreement_of(info.label, tokens, followed)
    at = agreement.first_difference
    difference = None
    if at is not None:
        difference = Difference(
            number=reply.numbers[at - 1], stored=tokens[at - 1], replayed=followed[at - 1]
        )
    whole = Recording(tokens=followed, pieces={**reply.recording.pieces, **pieces})
    same = len(tokens) if at is None else at - 1
    return (
        Replay(tokens=len(tokens), same=same, difference=difference, agreement=agreement, followed=whole),
        whole,
    )


def _unbiased(sampling: SamplingParams) -> SamplingParams:
    """For what is followed: the model's own distributions need neither, and not every engine has them."""
    return structs.replace(sampling, constraint=None, logit_bias={})


def _require_same_pieces(info: EngineInfo, reply: StoredReply, pieces: dict[int, bytes]) -> None:
    recording = reply.recording
    ids = {token.token_id for token in reply.tokens}
    is_other = any(_shown(recording.piece_of(each)) != _shown(pieces.get(each, b"")) for each in ids)
    if is_other and recording.pieces:
        raise EngineError(
            f"{info.model} has another tokenizer than the model of this reply: nothing can be compared.",
            "Compare with a model of the same family, or score the text: ttchat-tui score.",
            "cannot_follow",
        )


def _shown(piece: bytes) -> str:
    """What servers say of a piece: text, in which a part of a character is U+FFFD, and some leave out the space before a word."""
    return piece.decode("utf-8", "replace").removeprefix(" ")
