"""Ways to edit the draft with keys, on plain text. The field itself handles every key that they leave.

No well-kept library has vi or emacs keys for Textual's `TextArea` (2026-11).
"""

from ttchat_tui.ui.widgets.prompt.editing.buffer import (
    Buffer,
    Command,
    Editing,
    Outcome,
    difference,
    index_of,
    location_of,
)
from ttchat_tui.ui.widgets.prompt.editing.emacs import KEYS as EMACS_KEYS
from ttchat_tui.ui.widgets.prompt.editing.emacs import Emacs
from ttchat_tui.ui.widgets.prompt.editing.vi import KEYS as VI_KEYS
from ttchat_tui.ui.widgets.prompt.editing.vi import Vi

__all__ = [
    "EMACS_KEYS",
    "VI_KEYS",
    "Buffer",
    "Command",
    "Editing",
    "Emacs",
    "Outcome",
    "Vi",
    "difference",
    "index_of",
    "location_of",
]
