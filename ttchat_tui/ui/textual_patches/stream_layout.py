"""A stream layout that measures each child that has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.layouts.stream import StreamLayout
from typing_extensions import Self

if TYPE_CHECKING:
    from textual.geometry import Region
    from textual.layout import Layout
    from textual.widget import Widget
else:
    Widget = object  # see `no_second_layout`


class MeasuredAnew(Widget):
    """A mixin for the widgets in a `MeasuringStream`. It comes before the widget class.

    Extends `Widget.refresh` and uses `Widget._layout_cache` of Textual 8.2.8. There, a widget that is not mounted yet keeps its
    height and its visual, which any question for a size asks for: it may arrange the whole screen.
    """

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        if layout and isinstance(self.parent, MeasuringStream):
            self.parent.unmeasured.add(self)
            self.clear_cached_dimensions()
            self._layout_cache.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class MeasuringStream(Widget):
    """A mixin for widgets with `layout: stream`. It comes before the widget class.

    Uses `StreamLayout._cached_placements` of Textual 8.2.8. That layout keeps the heights of all children before the first
    one of which the screen has got a `Layout` message. A child that wants a new height has emptied the caches of arrangements
    before its message arrives. A layout between the two, for another child, fills them with its old height, and nothing
    empties them again.
    """

    unmeasured: set[Widget]
    """The children that may have another height than at the last layout."""

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self.unmeasured = set()

    def pre_layout(self, layout: Layout) -> None:
        if self.unmeasured and isinstance(layout, StreamLayout):
            placed = layout._cached_placements or []
            changed = (at for at, each in enumerate(placed) if each.widget in self.unmeasured)
            layout._cached_placements = placed[: next(changed, len(placed))]
        self.unmeasured.clear()
