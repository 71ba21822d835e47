"""Ways to edit the draft with keys, on plain text. The field itself handles every key that they leave.

Own code, since the libraries with vi for Textual (textual-vim-textarea 1.2, textual-vimkeys-input 0.3) are widgets with a
command line of their own, tell words from empty lines otherwise than vi, and cannot be held to vim without an app for each case.
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
from ttchat_tui.ui.widgets.prompt.editing.registers import Clipboard
from ttchat_tui.ui.widgets.prompt.editing.vi import KEYS as VI_KEYS
from ttchat_tui.ui.widgets.prompt.editing.vi import Vi

__all__ = [
    "EMACS_KEYS",
    "VI_KEYS",
    "Buffer",
    "Clipboard",
    "Command",
    "Editing",
    "Emacs",
    "Outcome",
    "Vi",
    "difference",
    "index_of",
    "location_of",
]
