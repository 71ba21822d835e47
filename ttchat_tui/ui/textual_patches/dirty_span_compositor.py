"""A compositor whose partial updates render only the cells that they send.

Overrides `Compositor.render_partial_update` and sets `Screen._compositor` of Textual 8.2.8. Textual renders every widget
whose *clip* meets the bounding box of all changes, on all of the widget's lines there, and the containers behind it. All
messages share the transcript's clip, so each streamed word would render every message in view, and five hidden layers of
background.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeAlias, cast

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip

Span: TypeAlias = tuple[int, int, int]
"""A line, its first column, and the column after its last."""

Chops: TypeAlias = dict[int, "Strip | None"]
"""The strips of one line by first column; None where nothing was rendered."""


class DirtySpanCompositor(Compositor):
    """Its updates equal Textual's, cell for cell."""

    def render_partial_update(self) -> ChopsUpdate | None:
        screen_region = self.size.region
        dirty = {region.intersection(screen_region) for region in self._dirty_regions}
        self._dirty_regions.clear()
        spans = list(self._regions_to_spans(region for region in dirty if region))
        if not spans:
            return None
        chops = cast("list[dict[int, Strip]]", self._render_spans(spans))
        return ChopsUpdate(chops, spans, [line_cuts[1:] for line_cuts in self.cuts])

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

    def __init__(self) -> None:
        super().__init__()
        self._compositor = DirtySpanCompositor()
