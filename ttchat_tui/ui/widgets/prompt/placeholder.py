"""What an empty prompt says: what sending does now, and what ends the reply on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ttchat_tui.ui.widgets.prompt.prompt import PLACEHOLDER

if TYPE_CHECKING:
    from ttchat_tui.session import ChatSession

PAUSED: Final = "Paused: space resumes, . makes one token, esc stops"
BUSY: Final = "Type ahead: it is sent next; esc stops the reply"
FAILED: Final = "No model is loaded; esc stops the other one's reply"
"""The session's own model has failed while a second one replies: what is sent comes back."""
ANSWERED: Final = "Another window answers here: what you send waits"
ANSWERED_PAUSED: Final = "Another window has paused here: what you send waits"


def placeholder_of(session: ChatSession) -> str:
    """The words for the conversation on screen."""
    if not session.is_answering:
        others = session.other_windows
        return ANSWERED_PAUSED if others.is_paused else ANSWERED if others.is_answering else PLACEHOLDER
    if session.pausing.is_paused:
        return PAUSED
    return FAILED if session.has_failed else BUSY
