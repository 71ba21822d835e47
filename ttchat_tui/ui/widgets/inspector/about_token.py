"""What is said about one token, and about a whole reply."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import Any, Final

from msgspec import structs
from textual.content import Content

from ttchat_tui.domain.logit_bias import bias_words, shown_text
from ttchat_tui.domain.recording import NOT_RECORDED, Likelihood, RecordedToken, Recording
from ttchat_tui.domain.sampling import SamplingParams, shown_value
from ttchat_tui.domain.text import counted, visible_piece
from ttchat_tui.ui.widgets.inspector.alternatives import share_text
from ttchat_tui.ui.widgets.inspector.doubt import Doubt
from ttchat_tui.ui.widgets.metrics.figures import likelihood_words, milliseconds_text, seconds_text

_UNSEEN: Final = "no probability: its logits were never seen"
_NO_TOKEN: Final = "no probability: typed, or sent by a server"
_MOST_BYTES: Final = 4
_CHARACTER: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A character of several bytes in UTF-8 (RFC 3629)."""


def lines_about(recording: Recording, index: int, own: SamplingParams | None) -> list[str]:
    """About `recording.tokens[index]`: its piece and place, its figures, its time, and the sampling in force if that changed.
    `own`: the reply's parameters; None: unknown."""
    token = recording.tokens[index]
    piece = visible_piece(recording.piece_of(token.token_id))
    last = recording.first + len(recording.tokens)
    name = f" · id {token.token_id:,}" if token.token_id >= 0 else ""
    what = "chunk" if token.is_chunk else "token"
    lines = [f"{piece or '–'}   {what} {recording.first + index + 1:,} of {last:,}{name}"]
    if token.token_id == NOT_RECORDED:
        return [*lines, "generated without a recording"]
    lines += _character(recording, index)
    return [*lines, _figures(token), _time(recording.tokens, index), *_sampling(recording, index, own)]


def _character(recording: Recording, index: int) -> list[str]:
    """The character of which this token has only some bytes, and the tokens that make it."""
    places = range(max(0, index - _MOST_BYTES), min(len(recording.tokens), index + _MOST_BYTES))
    pieces = {place: recording.piece_of(recording.tokens[place].token_id) for place in places}
    owners = [place for place, piece in pieces.items() for _ in piece]
    text = b"".join(pieces.values())
    for match in _CHARACTER.finditer(text):
        first, last = owners[match.start()], owners[match.end() - 1]
        if first <= index <= last and first < last:
            char = match.group().decode("utf-8", "replace")
            begin, end = recording.first + first + 1, recording.first + last + 1
            return [f"a part of {visible_piece(char.encode())}, which tokens {begin:,} to {end:,} make"]
    return []


def _figures(token: RecordedToken) -> str:
    if token.logprob is None:
        return _UNSEEN if token.token_id >= 0 else _NO_TOKEN
    parts = [f"{share_text(math.exp(token.logprob))} (log {_nats(token.logprob)})"]
    if token.shown_rank is not None:
        parts.append(f"rank {token.shown_rank:,}")
    if token.entropy is not None:
        parts.append(f"entropy {token.entropy:.2f} nats")
    return " · ".join(parts)


def _time(tokens: Sequence[RecordedToken], index: int) -> str:
    token = tokens[index]
    parts = [f"at {seconds_text(token.time_s)} s"]
    if index > 0 and (cost := token.time_s - tokens[index - 1].time_s) > 0:
        parts.insert(0, f"{milliseconds_text(cost)} ms after the one before")
    if token.is_drafted:
        parts.append("drafted")
    if token.is_forced:
        parts.append("chosen by you")
    return " · ".join(parts)


def _sampling(recording: Recording, index: int, own: SamplingParams | None) -> list[str]:
    """The parameters that differ from those with which the reply began."""
    at, in_force, since = recording.first + index, own, None
    for (
        change
    ) in recording.changes:  # each request of a reply names its parameters, which may be those before it
        if change.at <= at and change.sampling != in_force:
            in_force, since = change.sampling, change.at
    if in_force is None or since is None:
        return []
    begun = structs.asdict(own) if own is not None else {}
    changed = [(name, now) for name, now in structs.asdict(in_force).items() if now != begun.get(name)]
    words = [word for name, now in changed for word in _words_of(name, now)]
    place = "this token" if since == at else f"token {since + 1:,}"
    return [f"sampling since {place}: {', '.join(words) or 'as at the beginning'}"]


def _words_of(name: str, now: Any) -> Iterator[str]:
    """A parameter and its value, so that both are understood by themselves."""
    match name:
        case "logit_bias":
            yield from starmap(bias_words, now.items()) if now else ["no bias"]
        case "constraint":
            yield "no constraint" if now is None else now.summary
        case "stop":
            yield f"stop at {' '.join(map(shown_text, now))}" if now else "no stop strings"
        case "seed":
            yield "random seed" if now is None else f"seed {now}"
        case _:
            yield f"{name.replace('_', '-')} {shown_value(now)}"


def figures_line(likelihood: Likelihood, doubt: Doubt, *, is_tinted: bool, has_colours: bool) -> Content:
    """Figures of the whole reply, and below them what the tints mean. Without colours what is only unsure looks as usual."""
    if not is_tinted:
        return Content(words_about(likelihood))
    return Content.assemble(
        f"{words_about(likelihood)}\n{doubt.measure}: ",
        Content.styled(f"{doubt.unsure_words}  " if has_colours else "", "$warning"),
        Content.styled(doubt.words, "$error underline"),
    )


def words_about(likelihood: Likelihood) -> str:
    """`211 tok · mean log-prob -0.42 · ppl 1.52 · 78% greedy`; chunks of text that are no tokens are counted by themselves."""
    tokens, chunks = likelihood.tokens - likelihood.chunks, likelihood.chunks
    parts = [f"{tokens:,} tok"] if tokens or not chunks else []
    parts += [counted(chunks, "chunk")] if chunks else []
    if likelihood.mean_logprob is not None:
        parts.append(f"mean log-prob {_nats(likelihood.mean_logprob)}")
    return " · ".join([*parts, *likelihood_words(likelihood.mean_logprob, likelihood.greedy_share)])


def _nats(logprob: float) -> str:
    """`-0.42`; a zero has no sign."""
    return f"{round(logprob, 2) + 0.0:.2f}"
