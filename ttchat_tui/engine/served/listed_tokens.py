"""The tokens of a chunk as servers list them beside its text, with their probabilities. Pure.

`logprobs.content` of the chat API: `{"token": …, "bytes": […], "logprob": …, "top_logprobs": [the same]}`; llama.cpp adds
`id` (tools/server/README.md). The older completions API has `tokens`, `token_logprobs` and `top_logprobs`, a mapping.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ttchat_tui.domain.recording import ALTERNATIVES, Cut, Distribution, packed, text_id
from ttchat_tui.engine.served.loose_json import object_of

_HIGHEST_ID: Final = 2**31 - 1
_LONGEST_PIECE: Final = 1024
"""Bytes of a token that are kept."""
_MOST_LISTED: Final = 100
"""Alternatives of a token that are read: some servers send more than are asked for."""
_MOST: Final = sys.float_info.max
_UNKNOWN: Final[Cut] = "unknown"


class ListedToken(msgspec.Struct, frozen=True):
    logprob: float
    piece: bytes = b""
    """Empty: the server does not say."""
    token_id: int | None = None
    others: tuple[ListedToken, ...] = ()
    """The most probable tokens in its place, in any order; it may be one of them."""


def listed_tokens(found: object) -> tuple[ListedToken, ...]:
    """The tokens of a choice's `logprobs`; none if the probability of one is missing."""
    fields = object_of(found)
    content = fields.get("content")
    if isinstance(content, list):
        tokens = [_token(each) for each in cast("list[object]", content)]
    else:
        tokens = _older(fields)
    known = [token for token in tokens if token is not None]
    return tuple(known) if len(known) == len(tokens) else ()


def distribution_of(token: ListedToken, known: dict[int, bytes], new: dict[int, bytes]) -> Distribution:
    """What a recording keeps of a listed token. Pieces that are not in `known`, the bytes by id, are added there and to
    `new`; one without an id gets one."""
    others = sorted(token.others, key=lambda each: -each.logprob)[:ALTERNATIVES]
    ids = [_id_of(each, known, new) for each in others]
    own = _id_of(token, known, new)
    return Distribution(
        rank=ids.index(own) if own in ids else None,
        entropy=None,
        alternatives=packed(
            [(token_id, each.logprob, _UNKNOWN) for token_id, each in zip(ids, others, strict=True)]
        ),
        token_id=own,
    )


def _id_of(token: ListedToken, known: dict[int, bytes], new: dict[int, bytes]) -> int:
    token_id = text_id(token.piece, known) if token.token_id is None else token.token_id
    if token_id not in known:
        known[token_id] = new[token_id] = token.piece
    return token_id


def _token(found: object, *, is_other: bool = False) -> ListedToken | None:
    fields = object_of(found)
    logprob, token_id = _number(fields.get("logprob")), fields.get("id")
    if logprob is None:
        return None
    listed = fields.get("top_logprobs")
    others = [] if is_other or not isinstance(listed, list) else cast("list[object]", listed)[:_MOST_LISTED]
    known = (_token(each, is_other=True) for each in others)
    is_id = isinstance(token_id, int) and not isinstance(token_id, bool) and 0 <= token_id <= _HIGHEST_ID
    return ListedToken(
        logprob,
        _piece(fields.get("token"), fields.get("bytes")),
        token_id if is_id else None,
        tuple(each for each in known if each is not None),
    )


def _older(fields: Mapping[str, Any]) -> list[ListedToken | None]:
    values = fields.get("token_logprobs")
    if not isinstance(values, list):
        return []
    count = len(cast("list[object]", values))
    texts, tops = (_list_of(fields.get(name), count) for name in ("tokens", "top_logprobs"))
    found: list[ListedToken | None] = []
    for value, text, top in zip(cast("list[object]", values), texts, tops, strict=True):
        logprob = _number(value)
        if logprob is None:
            found.append(None)
            continue
        others = [
            ListedToken(number, _piece(name, None))
            for name, each in list(object_of(top).items())[:_MOST_LISTED]
            if (number := _number(each)) is not None
        ]
        found.append(ListedToken(logprob, _piece(text, None), None, tuple(others)))
    return found


def _list_of(found: object, count: int) -> list[object]:
    """`found` if it is a list of that length, else as many Nones."""
    listed = cast("list[object]", found) if isinstance(found, list) else []
    return listed if len(listed) == count else [None] * count


def _number(found: object) -> float | None:
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    return float(found) if abs(found) <= _MOST else None  # an int may be too large for a float


def _piece(text: object, numbers: object) -> bytes:
    """The bytes of a token; its text says less, as a part of a character is U+FFFD in it."""
    if isinstance(numbers, list) and 0 < len(cast("list[object]", numbers)) <= _LONGEST_PIECE:
        listed = cast("list[object]", numbers)
        if all(isinstance(each, int) and 0 <= each < 256 for each in listed):
            return bytes(cast("list[int]", listed))
    return text[:_LONGEST_PIECE].encode("utf-8", "replace") if isinstance(text, str) else b""
