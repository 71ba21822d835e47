"""Thread-safe decoding with msgspec.

msgspec (0.22) caches what it knows about a Struct type in the type itself, and publishes the cache before it is complete,
because a type may refer to itself. A second thread that decodes into the same type at that moment reads null pointers,
and the process crashes. The UI's thread and the engine thread do decode at the same time.
"""

from __future__ import annotations

import threading
from typing import Final, TypeVar

import msgspec

Kind = TypeVar("Kind")

_lock: Final = threading.Lock()
_prepared: Final[set[object]] = set()


def decodable(kind: Kind) -> Kind:
    """Return `kind` after msgspec's cache of it is complete.

    Every type that msgspec decodes into goes through here: `msgspec.convert(values, decodable(Config))`.
    tests/domain/test_decoding.py enforces it.

    Args:
        kind: a type, or a union of types.
    """
    if kind not in _prepared:
        with _lock:
            msgspec.msgpack.Decoder(kind)  # pyright: ignore[reportArgumentType, reportCallIssue]
            _prepared.add(kind)
    return kind
