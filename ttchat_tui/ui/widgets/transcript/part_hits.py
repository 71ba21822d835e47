"""The hits in a user's message, also where it is not drawn: of a long text only the part with the current hit is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ttchat_tui.domain.matching import Matcher
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.plain import TAB
from ttchat_tui.ui.widgets.transcript.attached import (
    AttachmentRow,
    Shown,
    TextPart,
    parts_of,
    shown_of,
    slices_of,
)


class HitRun(msgspec.Struct, frozen=True):
    """Hits that are drawn together, or not at all."""

    part: TextPart
    slice: Shown | None
    """None: in the line of a file, which is always drawn."""
    count: int

    def is_drawn(self, opened: Mapping[int, Shown]) -> bool:
        shown = shown_of(self.part, opened)
        return self.slice is None or (shown is not None and shown[0] <= self.slice[0] < shown[1])


class PartHits:
    """Hits by number, from the first to the last. `opened`: what is shown, by part."""

    def __init__(self, text: str, matcher: Matcher) -> None:
        runs: list[HitRun] = []
        for part in parts_of(text):
            if part.block is not None:
                label = AttachmentRow(part.block, part.index, "", is_open=False).plain
                runs.append(HitRun(part, None, len(matcher.spans(label))))
            for start, end in slices_of(part.text) if matcher.is_in(part.text) else ():
                lines = (line.expandtabs(TAB) for line in visible(part.text[start:end]).split("\n"))
                runs.append(HitRun(part, (start, end), sum(len(matcher.spans(line)) for line in lines)))
        self._runs = [run for run in runs if run.count]

    @property
    def count(self) -> int:
        return sum(run.count for run in self._runs)

    def with_firsts(self, opened: Mapping[int, Shown]) -> dict[int, Shown]:
        """`opened` with the first hit of each part."""
        firsts = {run.part.index: run for run in reversed(self._runs) if run.slice is not None}
        hidden = {
            at: run.slice for at, run in firsts.items() if run.slice is not None and not run.is_drawn(opened)
        }
        return {**opened, **hidden}

    def with_hit(self, number: int, opened: Mapping[int, Shown]) -> dict[int, Shown]:
        """`opened` with this hit, in place of what is shown of its part if that does not have it."""
        for run in self._runs:
            if number < run.count:
                is_hidden = run.slice is not None and not run.is_drawn(opened)
                return {**opened, run.part.index: run.slice} if is_hidden and run.slice else dict(opened)
            number -= run.count
        return dict(opened)

    def drawn(self, number: int, opened: Mapping[int, Shown]) -> int:
        """The number of this hit, which is drawn, among those that are."""
        hidden, left = 0, number
        for run in self._runs:
            if left < run.count:
                break
            left -= run.count
            hidden += 0 if run.is_drawn(opened) else run.count
        return number - hidden
