"""The sampler's preview: what the settings on screen do to one token's distribution, redrawn with each of their changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.recording import Cut
from ttchat_tui.domain.sampler_view import Rest, SamplerView
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import visible_piece
from ttchat_tui.session import DRAWS, PreviewedToken
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.inspector.alternatives import share_text
from ttchat_tui.ui.widgets.metrics.figures import bar_text

LINES: Final = 13
"""Of tokens and rests: at least eight tokens, as no more than four rules cut."""
_MARK_CELLS: Final = 2
_SHARE_CELLS: Final = 8
_CUT_CELLS: Final = 8
_WIDE_CUT_CELLS: Final = 12
"""A blank and a rule's name, short (`_SHORT`) or whole; whole from a width of `_WIDE_FROM`."""
_WIDE_FROM: Final = 40
_SHORT: Final = {"temperature": "temp.", "constraint": "constr."}
_MOST_BAR: Final = 16


class PreviewRows(Widget, can_focus=True):
    """Computes when it is drawn: nothing while it is folded away."""

    ALLOW_SELECT = False
    help_title = "In the sampler's preview"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "preview--head",
        "preview--kept",
        "preview--cut",
        "preview--bar",
        "preview--written",
    }
    DEFAULT_CSS = "PreviewRows { height: 15; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "draw", "draw", tooltip="Draw twenty tokens; again, another twenty")
    ]

    def __init__(self) -> None:
        super().__init__()
        self._token: PreviewedToken | None = None
        self._why_not = ""
        self._params = SamplingParams()
        self._uniforms: Sequence[float] = ()
        """The numbers of the draws on screen; empty: the shares are on screen."""

    def show(self, token: PreviewedToken | None, why_not: str) -> None:
        """Show another token, or why there is none."""
        if token is not self._token or why_not != self._why_not:
            self._token, self._why_not, self._uniforms = token, why_not, ()
            self.refresh()

    def set_params(self, params: SamplingParams) -> None:
        if params != self._params:
            self._params, self._uniforms = params, ()
            self.refresh()

    def action_draw(self) -> None:
        """Draw twenty tokens and show how often each came; again: another twenty. Another setting shows the shares again."""
        if self._token is None or self._token.is_listed:
            self.app.bell()
            return
        self._uniforms = [random.random() for _ in range(DRAWS)]
        self.refresh()

    # --- drawing

    def render(self) -> Content:
        token, width = self._token, self.content_size.width
        if token is None:
            return Content.styled(self._why_not, self.get_visual_style("preview--cut"))
        try:
            view = token.under(self._params, LINES)
            drawn = token.draws(self._params, self._uniforms) if self._uniforms else {}
        except AppError as error:
            return Content.styled(error.info.message, self.get_visual_style("preview--cut"))
        rows = self._draws(token, drawn, width) if drawn else self._shares(token, view, width)
        name = f"{_name_of(token, token.token_id)} · token {token.number:,}{self._other_constraint(token)}"
        about = f"{DRAWS} draws · d draws again" if drawn else _summary(token, view)
        head = [
            Content.styled(cut_to_cells(name, width), self.get_visual_style("preview--written")),
            Content.styled(cut_to_cells(about, width), self.get_visual_style("preview--head")),
        ]
        return Content("\n").join([*head, *rows])

    def _shares(self, token: PreviewedToken, view: SamplerView, width: int) -> list[Content]:
        rows = [
            self._row(
                _name_of(token, each.token_id),
                each.share,
                share_text(each.share),
                self._word(each.cut, width),
                width,
                is_cut=each.cut not in ("kept", "unknown"),
                is_written=each.token_id == token.token_id,
            )
            for each in view.tokens
        ]
        return [*rows, *(self._rest(each, width) for each in view.rests)]

    def _other_constraint(self, token: PreviewedToken) -> str:
        """What the token was drawn under, if the constraint of now begins with the next reply."""
        if token.is_listed or token.constraint == self._params.constraint:
            return ""
        return f" · under {token.constraint.summary}" if token.constraint else " · unconstrained"

    def _rest(self, rest: Rest, width: int) -> Content:
        name = f"{rest.tokens:,} more" if rest.tokens else "not listed"
        is_cut = rest.cut != "kept"
        return self._row(
            name, None, share_text(rest.share), self._word(rest.cut, width), width, is_cut=is_cut
        )

    def _draws(self, token: PreviewedToken, drawn: dict[int, int], width: int) -> list[Content]:
        """The histogram: each token that was drawn, the most frequent first."""
        listed = list(drawn.items())[: LINES - 1]
        rows = [
            self._row(
                _name_of(token, token_id),
                count / DRAWS,
                f"{count}/{DRAWS}",
                "",
                width,
                is_written=token_id == token.token_id,
            )
            for token_id, count in listed
        ]
        others = DRAWS - sum(count for _, count in listed)
        if others:
            name = f"{len(drawn) - len(listed)} more"
            rows.append(self._row(name, None, f"{others}/{DRAWS}", "", width, is_cut=True))
        return rows

    def _row(
        self,
        name: str,
        share: float | None,
        number: str,
        word: str,
        width: int,
        *,
        is_cut: bool = False,
        is_written: bool = False,
    ) -> Content:
        """`share`: of its bar; None: it has none."""
        cut_cells = _WIDE_CUT_CELLS if width >= _WIDE_FROM else _CUT_CELLS
        room = max(0, width - _MARK_CELLS - _SHARE_CELLS - cut_cells)
        bar = min(_MOST_BAR, room // 3) if share is not None else 0
        full, empty = bar_text(share or 0.0, bar)
        cut, kept = self.get_visual_style("preview--cut"), self.get_visual_style("preview--kept")
        style = self.get_visual_style("preview--written") if is_written else cut if is_cut else kept
        return Content.assemble(
            ("▸ " if is_written else "  ", style),
            (pad_to_cells(cut_to_cells(name, room - bar - 1), room - bar), style),
            (full, cut if is_cut else self.get_visual_style("preview--bar")),
            (empty, cut),
            (number.rjust(_SHARE_CELLS), cut if is_cut else kept),
            (pad_to_cells(f" {word}", cut_cells), cut),
        )

    def _word(self, cut: Cut, width: int) -> str:
        """The rule that cuts; shortened in rows that are not wide."""
        if cut in ("kept", "unknown"):
            return ""
        if cut == "temperature" and self._params.temperature == 0:
            return "greedy"
        return cut if width >= _WIDE_FROM else _SHORT.get(cut, cut)


def _name_of(token: PreviewedToken, token_id: int) -> str:
    piece = token.pieces.get(token_id)
    return f"id {token_id:,}" if piece is None else visible_piece(piece) or "–"


def _summary(token: PreviewedToken, view: SamplerView) -> str:
    """`kept 5 of 49,152 · 93.1 %`; of an earlier token `kept 4 of 20 recorded · 98.1 %`."""
    if token.is_listed:
        return f"the server's top {view.total}; it samples itself"
    recorded = "" if token.is_whole else " recorded"
    return f"kept {view.kept:,} of {view.total:,}{recorded} · {share_text(view.kept_mass)}"
