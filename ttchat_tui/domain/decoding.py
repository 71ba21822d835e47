"""Types for msgspec to decode into, made safe for threads.

msgspec (0.22) keeps what it has found out about a Struct type in the type itself, and keeps it there from the moment it
begins to look, so that a type can refer to itself. A second thread that decodes into the same type meanwhile meets null
pointers, and the process is gone. The screen's thread and the engine's do decode at the same time.
"""

from __future__ import annotations

import threading
from typing import Final, TypeVar

import msgspec

Kind = TypeVar("Kind")

_lock: Final = threading.Lock()
_whole: Final[set[object]] = set()


def decodable(kind: Kind) -> Kind:
    """`kind` itself, once msgspec knows all of it. Every type that is given to msgspec goes through here:
    `msgspec.convert(values, decodable(Config))`; tests/domain/test_decoding.py holds that.

    Args:
        kind: a type, or a union of types.
    """
    if kind not in _whole:
        with _lock:
            msgspec.msgpack.Decoder(kind)  # pyright: ignore[reportArgumentType, reportCallIssue]
            _whole.add(kind)
    return kind
