"""What a replay or a comparison found, as text or JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import structs

from ttchat_tui.cli.replay.comparison import Difference, Replay
from ttchat_tui.cli.standard_output import write_json, write_line
from ttchat_tui.cli.token_lines import as_json, is_tinted, shown, write_tinted
from ttchat_tui.domain.agreement import Agreement, is_agreed
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import RecordedToken, Recording, alternatives_of
from ttchat_tui.session.stored_requests import StoredReply
from ttchat_tui.ui.widgets.inspector.doubt import Tint

REDECODED = "The replies before it were decoded again, as they were in the cache then."
REBUILT = "Its prompt was not recorded: it was rendered anew from the messages before it."


def write_report(info: EngineInfo, reply: StoredReply, result: Replay, recording: Recording) -> None:
    if result.followed is not None and is_tinted():
        _write_followed(reply.tokens, result.followed)
        write_line("")
    for label, value in _rows(info, reply, result, recording):
        write_line(f"{label:<16} {value}")


def _write_followed(stored: Sequence[RecordedToken], followed: Recording) -> None:
    """The text of the reply, with the tokens where the engine prefers another one."""

    def tint_of(place: int) -> Tint:
        is_same = is_agreed(stored[place], followed.tokens[place])
        return "unknown" if is_same is None else "plain" if is_same else "doubtful"

    write_tinted(followed, tint_of)


def _rows(
    info: EngineInfo, reply: StoredReply, result: Replay, recording: Recording
) -> Iterator[tuple[str, str]]:
    record = reply.record
    yield "reply", f"{reply.message.id} · {record.model} · {record.engine} · {result.tokens:,} tokens"
    yield ("compared with" if result.agreement else "replayed by"), f"{info.model} · {info.label}"
    if not reply.has_prompts:
        yield "prompt", REBUILT
    if result.is_rebuilt:
        yield "cache", REDECODED
    agreement, difference = result.agreement, result.difference
    if agreement is not None:
        yield from _agreement_rows(agreement)
    elif difference is None:
        yield (
            "result",
            f"the same: all {result.tokens:,} tokens" if result.tokens else "the same: it ends at once",
        )
    else:
        yield "result", f"another reply: {result.same:,} of {result.tokens:,} tokens are the same"
    if difference is not None:
        yield from _difference_rows(reply.recording, recording, difference, is_compared=agreement is not None)


def _agreement_rows(agreement: Agreement) -> Iterator[tuple[str, str]]:
    if agreement.compared:
        share = 100 * agreement.agreed / agreement.compared
        yield (
            "agreement",
            f"{agreement.agreed} of {agreement.compared} tokens ({share:.1f} %): both find the same one most probable",
        )
    else:
        yield "agreement", "not known: one of the two gave no probabilities"
    if agreement.mean_kl is not None and agreement.max_kl is not None:
        yield (
            "KL",
            f"at least {agreement.mean_kl:.2g} nats on average, {agreement.max_kl:.2g} at token {agreement.max_kl_at:,}",
        )


def _difference_rows(
    stored: Recording, other: Recording, difference: Difference, *, is_compared: bool
) -> Iterator[tuple[str, str]]:
    own, again = difference.stored, difference.replayed
    if not is_compared:
        yield "first difference", f"token {difference.number:,}"
        yield "  stored", _with_share(stored, own)
        yield "  now", _with_share(other, again)
        return
    yield "first difference", f"token {difference.number:,}, {shown(stored, own)}"
    for label, recording, token in (("  stored", stored, own), ("  now", other, again)):
        listed = alternatives_of(token)[:3] if token is not None else ()
        words = ", ".join(
            f"“{_piece(recording, each.token_id)}” {math.exp(each.logprob):.1%}" for each in listed
        )
        yield label, words or _with_share(recording, token)


def _piece(recording: Recording, token_id: int) -> str:
    return shown(recording, RecordedToken(token_id, 0.0)).strip("“”")


def _with_share(recording: Recording, token: RecordedToken | None) -> str:
    words = shown(recording, token)
    if token is None or token.logprob is None:
        return words
    return f"{words} {math.exp(token.logprob):.1%}, id {token.token_id}"


def write_report_json(info: EngineInfo, reply: StoredReply, result: Replay, recording: Recording) -> None:
    """One object. `tokens` is there after a comparison: each with what the engine that followed it gave."""
    difference = result.difference
    found: dict[str, Any] = {
        "message_id": reply.message.id,
        "model": reply.record.model,
        "engine": reply.record.engine,
        "replayed_model": info.model,
        "replayed_engine": info.label,
        "has_recorded_prompt": reply.has_prompts,
        "is_cache_rebuilt": result.is_rebuilt,
        "completion_tokens": result.tokens,
        "is_same": difference is None,
        "first_difference": None
        if difference is None
        else {
            "number": difference.number,
            "stored": _token(reply.recording, difference.stored),
            "replayed": _token(recording, difference.replayed),
        },
        "agreement": structs.asdict(result.agreement) if result.agreement else None,
    }
    if result.followed is not None:
        found["tokens"] = [as_json(result.followed, token) for token in result.followed.tokens]
    write_json(found)


def _token(recording: Recording, token: RecordedToken | None) -> dict[str, Any] | None:
    """None: the end of the reply."""
    return None if token is None else as_json(recording, token, alternatives=3)
