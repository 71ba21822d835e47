"""Layouts in one pass: a widget whose size changes does not request a second one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # Textual takes a class's CSS from its first base that is a widget


class NoSecondLayout(Widget):
    """A mixin for widgets whose height changes often. It comes before the widget class.

    Overrides `Widget._size_updated` of Textual 8.2.8. There, `virtual_size` is a reactive that requests a layout. So every
    layout that changes a widget's size is followed by another one, which changes nothing and repaints the widget with all
    its children. A scrollbar that appears or disappears still requests the layout that it needs.
    """

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        return super()._size_updated(size, virtual_size, container_size, layout=False)
