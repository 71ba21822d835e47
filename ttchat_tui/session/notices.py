"""Notices for requests that the session does not carry out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ttchat_tui.domain.conversation import ListedConversation, QueuedMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import PreviousModel
from ttchat_tui.domain.generation import FinishReason
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.text import counted, one_line, visible
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.engine.base import not_loaded

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession

UNCHANGED: Final = ErrorInfo(
    kind=NOTE, message="Nothing was changed.", cure="/retry answers the message again."
)
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
CONTINUED_ELSEWHERE = ErrorInfo(kind=NOTE, message="Another window continues this conversation.")
WRITTEN_BESIDE = ErrorInfo(
    kind=NOTE,
    message="Another window has written in this conversation, in a branch of its own.",
    cure="/tree shows all branches.",
)
OLDEST = ErrorInfo(kind=NOTE, message="This is the oldest version.")
NEWEST = ErrorInfo(kind=NOTE, message="This is the newest version.")
STILL_LOADING = ErrorInfo(
    kind=NOTE, message="The model is still loading.", cure="Press Esc again to cancel the load."
)

ANSWERED_BY_OTHER = ErrorInfo(
    kind="reply_busy",
    message="Another window is answering in this conversation.",
    cure="Try again when the reply has ended.",
)
STOP_IT_THERE = ErrorInfo(
    kind=NOTE, message="The reply is written in another window.", cure="It can be stopped there."
)
OTHER_HAS_ENDED = ErrorInfo(
    kind=NOTE,
    message="The window that was answering here has ended. The text so far is kept.",
    cure="/continue resumes it.",
)

SENT_WITH_ITS_SETTINGS: Final = ErrorInfo(
    kind=NOTE,
    message="The server has the settings of the running reply: yours apply from the next one on.",
)

_RUNS_HERE: Final = "A reply is still running."
_NO_MORE: Final[dict[FinishReason, str]] = {
    "stop": "the model ends its reply here",
    "length": "max tokens was reached",
    "context": "the context is full",
}
_QUOTED: Final = 40
"""The most characters of a title or a message in a sentence."""


def is_over(notice: ErrorInfo, session: ChatSession) -> bool:
    """Whether a notice about what runs, or is or is not loaded, has ceased to be true."""
    match notice.kind:
        case "busy":
            is_there = session.is_busy or session.context.is_summarising
            return not (session.is_answering if notice.message == _RUNS_HERE else is_there)
        case "reply_busy":
            return not session.other_windows.is_answering
        case "not_ready":
            return session.has_model
        case _ if notice == STOP_IT_THERE:
            return not session.other_windows.is_answering
        case _ if notice == SENT_WITH_ITS_SETTINGS:
            return not session.is_answering
        case _:
            return notice == STILL_LOADING and session.engine_state != "loading"


class Unsaved(msgspec.Struct, frozen=True):
    """Something that is lost when the app ends. It has no cure, since the app is gone."""

    message: str
    text: str = ""
    """What the user wrote; `message` then ends with a colon."""


def quoted(text: str) -> str:
    """The beginning of `text`, on one line and without control characters, in a sentence: `“Clock repair”`."""
    words = one_line(text[: 4 * _QUOTED])
    return f"“{words if len(words) <= _QUOTED else words[: _QUOTED - 1].rstrip() + '…'}”"


def previous_again(error: ErrorInfo, before: PreviousModel, model: str) -> ErrorInfo:
    """A load has failed, and `model` is the loaded one again."""
    stays = "stays loaded" if before == "kept" else "is loaded again"
    return msgspec.structs.replace(error, message=f"{error.sentence} {model} {stays}.")


def nothing_added(reason: FinishReason) -> ErrorInfo:
    """A reply was continued, and the model wrote no more."""
    return ErrorInfo(kind=NOTE, message=f"Nothing was added: {_NO_MORE.get(reason, reason)}.")


def answered_elsewhere(name: str, cure: str) -> ErrorInfo:
    """One reply runs at a time: `name` is the conversation that has it."""
    return ErrorInfo(
        kind="busy", message=f"A reply is running in {name}, and only one can run at a time.", cure=cure
    )


def runs_elsewhere(name: str) -> ErrorInfo:
    """Nothing on screen can be stopped; `name` is the conversation with the running reply."""
    return ErrorInfo(kind="busy", message=f"A reply is still running in {name}. Open it to stop the reply.")


def still_running(cure: str) -> ErrorInfo:
    """A reply runs in the conversation on screen. The cure depends on the request."""
    return ErrorInfo(kind="busy", message=_RUNS_HERE, cure=cure)


def not_sent(queued: QueuedMessage, error: ErrorInfo) -> ErrorInfo:
    """A queued message could not be sent when its turn came."""
    words = quoted(queued.content)
    return msgspec.structs.replace(error, message=f"The queued message {words} was not sent. {error.message}")


def queue_left(count: int) -> ErrorInfo:
    """Another window has ended, and `count` messages waited in it."""
    what = "a message that waits. It is" if count == 1 else f"{count:,} messages that wait. They are"
    return ErrorInfo(kind=NOTE, message=f"Another window has ended with {what} held here.")


def cut_off(conversations: Sequence[ListedConversation]) -> ErrorInfo:
    """Replies in these were cut off as their process died."""
    names = " and ".join(quoted(each.title or "Untitled") for each in conversations)
    return ErrorInfo(
        kind=NOTE,
        message=f"The app ended while a reply was running in {names}. The text so far is kept.",
        cure="/continue resumes it there.",
    )


def held_after(status: str) -> ErrorInfo:
    """A message waited for a reply of another window, which did not end as it should."""
    how = "failed" if status == "error" else "was interrupted"
    return ErrorInfo(
        kind=NOTE, message=f"The reply in another window {how}. What waited for it is held here."
    )


def queue_elsewhere(count: int) -> ErrorInfo:
    """`count` messages of the conversation on screen are in the queue of another window."""
    wait = (
        "A message of this conversation waits"
        if count == 1
        else f"{count:,} messages of this conversation wait"
    )
    return ErrorInfo(
        kind=NOTE,
        message=f"{wait} in another window. Release it there, or close that window: then it is held here.",
    )


def queue_taken(count: int) -> ErrorInfo:
    """`count` messages are no longer in this window's queue, and it has not sent or dropped them."""
    what, they = ("A message", "it") if count == 1 else (f"{count:,} messages", "they")
    return ErrorInfo(
        kind=NOTE,
        message=f"{what} that waited here cannot be sent: {they} went with a deleted conversation, or another window, which "
        f"took this one for closed, holds {they if count == 1 else 'them'}.",
    )


def not_kept(queued: QueuedMessage) -> Unsaved:
    """The app ends, and nothing of this session is kept."""
    name = quoted(queued.title or "Untitled")
    return Unsaved(f"The queued message in {name} was not sent, and is not kept:", queued.content)


def with_served_name(error: ErrorInfo, name: str, info: EngineInfo | None) -> ErrorInfo:
    """`error` about the name of a model, with that of the connected server that is probably meant."""
    meant = info.served_like(name) if info is not None else ""
    return msgspec.structs.replace(error, cure=f"Did you mean {visible(meant)}?") if meant else error


def left_out(count: int) -> str:
    """`count` messages did not fit into the context."""
    were, they = ("was", "it") if count == 1 else ("were", "they")
    return f"{counted(count, 'message')} {were} not sent: {they} did not fit into the context."


def others_deleted(deleted: int, left: int) -> str:
    """So many candidates were deleted beside the one that is kept, and so many left, because messages follow them."""
    said: list[str] = []
    if deleted:
        said.append(
            f"{counted(deleted, 'other candidate')} deleted. /undo brings {'it' if deleted == 1 else 'them'} back."
        )
    if left:
        said.append(
            f"{counted(left, 'version')} with messages below {'it stays' if left == 1 else 'them stay'}."
        )
    return " ".join(said)
