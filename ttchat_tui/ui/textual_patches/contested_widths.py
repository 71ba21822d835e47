"""Emoji whose width terminals do not agree on: what follows one is at its column in every terminal.

Wraps `Strip.render_style` (public) of Textual 8.2.8, which writes a line as one text. Textual measures whole grapheme clusters: two
cells for a heart with U+FE0F. tmux 3.3 and many terminals add up characters: one cell for that, four for a hand with a skin tone.
Then all that follows in the row is shifted, borders too.
"""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip

_TONES: Final = "\U0001f3fb-\U0001f3ff"
_FOLLOWERS: Final = f"\u200d\ufe0e\ufe0f\u20e3{_TONES}\U000e0020-\U000e007f"
"""Joiner, variation selectors, keycap, skin tones, and tags of flags."""
_BASES: Final = (
    "#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
)
_FLAG_LETTERS: Final = "\U0001f1e6-\U0001f1ff"

CONTESTED: Final = re.compile(
    f"([{_BASES}][{_FOLLOWERS}]+(?:(?<=\u200d)[{_BASES}][{_FOLLOWERS}]*)*|[{_FLAG_LETTERS}]{{1,2}}|[{_TONES}])"
)
"""A cluster on whose width terminals do not agree. Not those of Indic scripts: a terminal that draws one wider needs the room."""

_SAVE: Final = "\x1b7"
_RESTORE: Final = "\x1b8"
"""DECSC and DECRC: the cursor's place, where the strip's column on the screen is not known."""

_plain = Strip.render_style


def _render_style(style: Style, text: str, color_system: ColorSystem) -> str:
    """Around a contested cluster: blanks of its measured width, for a terminal that draws it narrower; the cluster over them; then
    on from the measured column, over what a terminal has drawn too far."""
    if text.isascii() or len(parts := CONTESTED.split(text)) == 1:
        return _plain(style, text, color_system)
    out: list[str] = []
    for index, part in enumerate(parts):
        drawn = _plain(style, part, color_system)
        if index % 2:
            cells = cell_len(part)
            blank = _plain(style, " " * cells, color_system)
            step = f"\x1b[{cells}C" if cells else ""
            drawn = f"{_SAVE}{blank}{_RESTORE}{_SAVE}{drawn}{_RESTORE}{step}"
        out.append(drawn)
    return "".join(out)


Strip.render_style = staticmethod(_render_style)  # type: ignore[method-assign, assignment]
