"""Lines of the screen without caches that nobody asks for.

Replaces `Strip.__init__` (public) of Textual 8.2.8, which gives every strip seven caches: most of the time that a strip takes,
and a screen is made of thousands, most of which are joined or cut once. Here each cache is made on first use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.segment import Segment
from textual.cache import FIFOCache
from textual.strip import Strip

_SIZES: Final = {
    "_divide_cache": 4,
    "_crop_cache": 16,
    "_style_cache": 16,
    "_filter_cache": 4,
    "_line_length_cache": 4,
    "_crop_extend_cache": 4,
    "_offsets_cache": 4,
}
"""Textual's."""


def _init(self: Strip, segments: Iterable[Segment], cell_length: int | None = None) -> None:
    self._segments = list(segments)
    self._cell_length = cell_length
    self._render_cache = None
    self._link_ids = None
    self._cell_count = None


def _missing(self: Strip, name: str) -> FIFOCache[Any, Any]:
    """Called for a slot that is empty yet."""
    if name not in _SIZES:
        raise AttributeError(name)
    cache: FIFOCache[Any, Any] = FIFOCache(_SIZES[name])
    setattr(self, name, cache)
    return cache


Strip.__init__ = _init
Strip.__getattr__ = _missing  # type: ignore[attr-defined]
