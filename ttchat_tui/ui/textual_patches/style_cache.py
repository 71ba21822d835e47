"""Release of a removed widget's style cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # see `no_second_layout`


class ClearsStyleCache(Widget):
    """A mixin for widgets that are mounted and removed often. It comes before the widget class.

    Uses `Widget._styles_cache` of Textual 8.2.8. An LRU cache on `StylesCache.get_inner_outer` keeps the style caches of the
    last thousand widgets alive, with every line that they drew: 150 MB for a thousand messages.
    """

    def on_unmount(self) -> None:
        self._styles_cache.clear()
