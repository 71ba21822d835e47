"""What a chat session tells whoever shows it (the screen, the plain REPL), as one closed family."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from ttchat_tui.domain.conversation import Conversation, Message, MessageStatus
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineState, LoadProgress
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo


class ConversationOpened(msgspec.Struct, frozen=True):
    """Another conversation (None: a new one, not stored before its first message) is on screen from here on."""

    conversation: Conversation | None
    messages: tuple[Message, ...]


class MessageAdded(msgspec.Struct, frozen=True):
    message: Message


class MessageRemoved(msgspec.Struct, frozen=True):
    message_id: int


class ReplyBegan(msgspec.Struct, frozen=True):
    """A reply streams into this message; its content is what it had before (a continued reply has some)."""

    message: Message


class ReplyStarted(msgspec.Struct, frozen=True):
    """The prompt was built; `dropped_messages` of the oldest did not fit and were left out of it."""

    message_id: int
    dropped_messages: int


class ReplyPrefilling(msgspec.Struct, frozen=True):
    """Of the prompt's tokens, how many the model has read; all of them: the reply begins."""

    message_id: int
    done: int
    total: int


class ReplyDelayed(msgspec.Struct, frozen=True):
    """A server could not take the request, which is sent again by itself: `lab is busy (429): try 2 of 4 in 5 s`."""

    message_id: int
    words: str


class ReplyStreamed(msgspec.Struct, frozen=True):
    message_id: int
    text: str


class ReplyRewritten(msgspec.Struct, frozen=True):
    """All of the reply so far is `text` now: what came first has turned out to be a thought."""

    message_id: int
    text: str


class ReplyEnded(msgspec.Struct, frozen=True):
    """The reply's final state. `error` is set when the engine failed; what came before is in the message."""

    message: Message
    error: ErrorInfo | None = None
    siblings: tuple[Message, ...] = ()
    """Other candidates of the same batch, stored beside the message in order of row; what came to nothing is left out."""
    batch: GenerationStats | None = None
    """Of all candidates together; None where there was one."""


class ReplyEndedElsewhere(msgspec.Struct, frozen=True):
    """A reply has ended in a conversation that is not on screen."""

    conversation: Conversation
    status: MessageStatus
    error: ErrorInfo | None = None


class MessageWaits(msgspec.Struct, frozen=True):
    """A message that was added waits for the end of the reply that runs, or (`behind` is empty) does so no longer."""

    message: Message
    behind: str = ""
    """Title of the conversation that is being answered."""


class DraftReturned(msgspec.Struct, frozen=True):
    """The message was not sent (see `error`); its text goes back to the prompt, so that nothing is lost."""

    text: str
    error: ErrorInfo


class ConversationsChanged(msgspec.Struct, frozen=True):
    """The list of conversations is not what it was: titles, order, one more or one less."""


class PromptCost(msgspec.Struct, frozen=True):
    """What the conversation with the draft would cost if it were sent now."""

    prompt_tokens: int
    context_length: int
    """0: not known."""
    dropped_messages: int
    is_estimate: bool = False
    """`prompt_tokens` is a guess from the length of the text."""


class EngineChanged(msgspec.Struct, frozen=True):
    state: EngineState
    detail: str = ""


class EngineProgress(msgspec.Struct, frozen=True):
    progress: LoadProgress


class EngineReady(msgspec.Struct, frozen=True):
    info: EngineInfo


class CapabilitiesChanged(msgspec.Struct, frozen=True):
    """The loaded engine can do other things than it said: a server has refused a parameter."""

    capabilities: Capabilities


class EngineFault(msgspec.Struct, frozen=True):
    """A load failed or the engine died: there is no model until another load succeeds."""

    error: ErrorInfo


NOTE: Final = "note"
"""The kind of a notice that only informs."""


class Notice(msgspec.Struct, frozen=True):
    """Something went wrong, or needs saying, that is not part of a reply."""

    error: ErrorInfo


Update: TypeAlias = (
    ConversationOpened
    | MessageAdded
    | MessageRemoved
    | ReplyBegan
    | ReplyStarted
    | ReplyPrefilling
    | ReplyDelayed
    | ReplyStreamed
    | ReplyRewritten
    | ReplyEnded
    | ReplyEndedElsewhere
    | MessageWaits
    | DraftReturned
    | ConversationsChanged
    | PromptCost
    | EngineChanged
    | EngineProgress
    | EngineReady
    | CapabilitiesChanged
    | EngineFault
    | Notice
)
