"""A compositor whose partial updates render only the cells that they send.

Overrides the rendering of `Compositor` and sets `Screen._compositor` of Textual 8.2.8. Textual renders every widget
whose *clip* meets the bounding box of all changes, on all of the widget's lines there, and the containers behind it. All
messages share the transcript's clip, so each streamed word would render every message in view, and five hidden layers of
background. A screen behind a dialog it renders whole with each update of the dialog; here only the lines that have changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeAlias, cast

from textual import events
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate, ReflowResult
from textual.geometry import Region, Size
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget
from typing_extensions import Self

Span: TypeAlias = tuple[int, int, int]
"""A line, its first column, and the column after its last."""

Chops: TypeAlias = dict[int, "Strip | None"]
"""The strips of one line by first column; None where nothing was rendered."""


class DirtySpanCompositor(Compositor):
    """Its updates equal Textual's, cell for cell."""

    def __init__(self) -> None:
        super().__init__()
        self._behind: dict[int, Strip] = {}
        """The lines that a screen in front of this one has drawn, as far as they are unchanged."""
        self._drawn: dict[int, list[Strip]] = {}
        """The parts of each line that was drawn whole and is unchanged since."""

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        """Textual forgets that the map is of all widgets again, and arranges them anew if it was not before."""
        reflown = super().reflow(parent, size)
        self._full_map_invalidated = False
        return reflown

    def render_strips(self, size: Size | None = None) -> list[Strip]:
        """The whole screen, for the screen in front of it."""
        width, height = size or self.size
        self._behind |= {y: Strip.join(parts) for y, parts in self._drawn.items() if y not in self._behind}
        self._drawn.clear()
        spans = [(y, 0, width) for y in range(min(height, len(self.cuts))) if y not in self._behind]
        if spans:
            chops = cast("list[dict[int, Strip]]", self._render_spans(spans))
            self._behind |= {y: Strip.join(chops[y].values()) for y, _, _ in spans}
        return [self._behind[y] for y in range(min(height, len(self.cuts)))]

    def forget_changed_lines(self) -> None:
        """Render the lines of changed regions again when they are wanted next."""
        for y in {y for region in self._dirty_regions for y in region.line_range}:
            self._behind.pop(y, None)
            self._drawn.pop(y, None)

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        if simplify:
            return super().render_full_update(simplify)
        self._dirty_regions.clear()
        spans = [(y, 0, self.size.width) for y in range(len(self.cuts))]
        chops = cast("list[dict[int, Strip]]", self._render_spans(spans))
        self._keep(chops, spans)
        return LayoutUpdate([line.values() for line in chops], self.size.region)

    def render_partial_update(self) -> ChopsUpdate | None:
        screen_region = self.size.region
        dirty = {region.intersection(screen_region) for region in self._dirty_regions}
        self._dirty_regions.clear()
        spans = list(self._regions_to_spans(region for region in dirty if region))
        if not spans:
            return None
        chops = cast("list[dict[int, Strip]]", self._render_spans(spans))
        self._keep(chops, spans)
        return ChopsUpdate(chops, spans, [line_cuts[1:] for line_cuts in self.cuts])

    def _keep(self, chops: list[dict[int, Strip]], spans: Iterable[Span]) -> None:
        """Keep the lines that were drawn whole for a screen that opens in front of this one."""
        width = self.size.width
        self._drawn |= {y: list(chops[y].values()) for y, first, end in spans if first <= 0 and end >= width}

    def _render_spans(self, spans: Iterable[Span]) -> list[Chops]:
        """The chops of every screen line. Those outside the spans are not rendered."""
        cuts = self.cuts
        chops: list[Chops] = [{} for _ in cuts]
        missing: dict[int, set[int]] = {}
        for y, first, end in spans:
            line_cuts = cuts[y]
            chops[y] = chops[y] or dict.fromkeys(line_cuts[:-1])
            missing.setdefault(y, set()).update(
                x for x, x_end in pairwise(line_cuts) if x < end and x_end > first
            )
        for widget, (region, clip) in self.visible_widgets.items():  # front to back
            shown = region.intersection(clip)
            x1, x2 = shown.column_span
            lines = [
                y for y in shown.line_range if y in missing and any(x1 <= cut < x2 for cut in missing[y])
            ]
            if not lines:
                continue
            top, bottom = lines[0], lines[-1] + 1
            if widget.parent is None:  # removed since the last layout: it has no styles any more
                strips = [Strip.blank(shown.width)] * (bottom - top)
            else:
                strips = widget.render_lines(Region(x1 - region.x, top - region.y, shown.width, bottom - top))
            for y in lines:
                own_cuts = [cut for cut in cuts[y] if x1 <= cut <= x2]
                parts = strips[y - top].divide([cut - x1 for cut in own_cuts[1:]])
                for cut, strip in zip(own_cuts, parts, strict=False):
                    if chops[y].get(cut) is None:  # otherwise another widget is in front
                        chops[y][cut] = strip
                        missing[y].discard(cut)
                if not missing[y]:
                    del missing[y]
            if not missing:
                break
        return chops


class DirtySpanScreen(Screen[ScreenResultType]):
    """A screen with a `DirtySpanCompositor`."""

    _compositor: DirtySpanCompositor
    is_being_covered = False
    """Another screen is about to open in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = DirtySpanCompositor()

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """Textual has the whole screen rendered again as another one covers it, which draws it dimmed."""
        if self.is_being_covered and repaint and not (regions or layout or recompose):
            return self
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def _on_timer_update(self) -> None:
        """A part of the screen that is to be repainted, as what is behind a dialog has changed, makes Textual forget the
        widgets that have changed."""
        if self._repaint_required:
            self._compositor.update_widgets(self._dirty_widgets)
        super()._on_timer_update()

    def _compositor_refresh(self) -> None:
        """Behind a dialog, Textual also has the whole screen repainted at the next change, also where nothing of it is seen."""
        compositor, front = self._compositor, self.app.screen
        compositor.forget_changed_lines()
        if front is self or self not in self.app._background_screens:
            super()._compositor_refresh()
        elif compositor._dirty_regions:
            if front.styles.background.a < 1:
                front.refresh(*compositor._dirty_regions)
            compositor._dirty_regions.clear()
            self._dirty_widgets.clear()

    def _screen_resized(self, size: Size) -> None:
        """Textual lays out a screen again when it opens, and the one behind it: their size is not another then."""
        if size != self._compositor.size:
            super()._screen_resized(size)

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        """A screen that opens is laid out and drawn once. Textual styles all of its widgets once more before that, which
        those need that have a style sheet of their own, and draws all of it once more after it."""
        if self._size != self.app.size and self.is_attached:
            event.prevent_default()
            self.stack_updates += 1
            self.app._refresh_notifications()
            self._update_auto_focus()
            if self.CSS or self.CSS_PATH:
                self.update_node_styles(animate=False)
            self._refresh_layout(self.app.size)
            self._repaint_required = False
            self._exchange_repaint_regions()
