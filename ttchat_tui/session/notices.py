"""What the session says when it does not do what it was asked for."""

from __future__ import annotations

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.engine.base import not_loaded

NO_MODEL = msgspec.structs.replace(not_loaded().info, cure="Load one (/reload, /model), then send.")
ASKED_IN_WORDS = ErrorInfo(
    kind=NOTE,
    message="This server cannot continue an unfinished reply. The model is asked in words for the rest: the seam may "
    "show.",
)
NOTHING_TO_DO = ErrorInfo(kind="nothing_to_do", message="There is no reply to work on yet.")


BEFORE_WAITS = ErrorInfo(
    kind="busy", message="The message before still waits for its turn.", cure="Esc takes it back; then send."
)
TAKEN_BACK = ErrorInfo(kind=NOTE, message="The message was taken back, and is not sent.")
OFFER = "Enter again puts this one in line: it is sent when that has ended. Esc takes it back."


class Unsaved(msgspec.Struct, frozen=True):
    """What the app ends without. No cure: it would be for an app that still runs."""

    message: str
    text: str = ""
    """What the user wrote, as it was written; the message ends with a colon then."""


def answered_elsewhere(name: str, cure: str) -> ErrorInfo:
    """One reply at a time: which conversation has it."""
    return ErrorInfo(
        kind="busy", message=f"{name} is being answered, and one reply runs at a time.", cure=cure
    )


def runs_elsewhere(name: str) -> ErrorInfo:
    """Esc was pressed where nothing runs."""
    return ErrorInfo(kind=NOTE, message=f"{name} is still being answered: open it to stop that.")


def still_running(cure: str) -> ErrorInfo:
    """Why what was asked for cannot be had now; the cure depends on what it was."""
    return ErrorInfo(kind="busy", message="A reply is still running.", cure=cure)


def not_sent(name: str, text: str) -> Unsaved:
    """The app ends while this message waits in the conversation of that name."""
    return Unsaved(f"The message that waited in {name} was not sent; /retry there sends it:", text)
