"""Notices for requests that the session does not carry out."""

from __future__ import annotations

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.engine.base import not_loaded

NO_MODEL = msgspec.structs.replace(
    not_loaded().info, cure="Load it again with /reload, or another one with /model."
)
LOAD_AND_SEND = "Press Enter again to load the last one and send, or choose another one (ctrl+o)."
ASKED_IN_WORDS = ErrorInfo(
    kind=NOTE,
    message="This server cannot continue an unfinished reply, so the model is asked in a message to continue. The join "
    "may be visible.",
)
NOTHING_TO_DO = ErrorInfo(kind="nothing_to_do", message="There is no reply yet.")
STILL_QUEUED = ErrorInfo(
    kind="busy", message="The previous message is still queued.", cure="Press Esc to take it back, then send."
)
STILL_LOADING = ErrorInfo(
    kind=NOTE, message="The model is still loading.", cure="Press Esc again to cancel the load."
)
TAKEN_BACK = ErrorInfo(kind=NOTE, message="The message was taken back and not sent.")
OFFER = "Press Enter again to queue this message behind it. Esc takes it back."


class Unsaved(msgspec.Struct, frozen=True):
    """Something that is lost when the app ends. It has no cure, since the app is gone."""

    message: str
    text: str = ""
    """What the user wrote; `message` then ends with a colon."""


def answered_elsewhere(name: str, cure: str) -> ErrorInfo:
    """One reply runs at a time: `name` is the conversation that has it."""
    return ErrorInfo(
        kind="busy", message=f"A reply is running in {name}, and only one can run at a time.", cure=cure
    )


def runs_elsewhere(name: str) -> ErrorInfo:
    """Nothing on screen can be stopped; `name` is the conversation with the running reply."""
    return ErrorInfo(kind=NOTE, message=f"A reply is still running in {name}. Open it to stop the reply.")


def still_running(cure: str) -> ErrorInfo:
    """A reply runs in the conversation on screen. The cure depends on the request."""
    return ErrorInfo(kind="busy", message="A reply is still running.", cure=cure)


def not_sent(name: str, text: str) -> Unsaved:
    """The app ends while this message is queued in the conversation `name`."""
    return Unsaved(f"The queued message in {name} was not sent. /retry there sends it:", text)


def left_out(count: int) -> str:
    """The oldest `count` messages did not fit into the context."""
    what, them = ("oldest message", "it") if count == 1 else (f"{count:,} oldest messages", "them")
    return f"The {what} did not fit into the context, so the model does not see {them}."
