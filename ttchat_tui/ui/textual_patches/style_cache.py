"""Widgets that come and go give back what they have drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # as in `no_second_layout`


class ClearsStyleCache(Widget):
    """Put it before the widget class of which many are mounted and removed.

    Textual 8.2.8 remembers the last thousand widgets' style caches for their colours (`StylesCache.get_inner_outer`), and
    with them each line that they drew: 150 MB for a thousand messages.
    """

    def on_unmount(self) -> None:
        self._styles_cache.clear()
