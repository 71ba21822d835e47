"""Sizes are right after one layout: a widget that grew does not ask for a second one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # Textual takes the style sheet of a class from its first base that is a widget


class NoSecondLayout(Widget):
    """Put it before the widget class whose content's height changes often.

    In Textual 8.2.8 `virtual_size` is a reactive that lays out again. So every layout that changes a widget's size leads to
    another one, which changes nothing, and repaints the widget and all it contains. What may in truth need a second layout,
    a scrollbar that appears or goes, asks for it by itself.
    """

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        return super()._size_updated(size, virtual_size, container_size, layout=False)
