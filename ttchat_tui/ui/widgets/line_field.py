"""An `Input` with a key that deletes the next word."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class LineField(Input):
    """See `ui.keys.EDITING_KEYS` for the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("alt+delete", "delete_right_word", "Delete the next word", show=False)
    ]
