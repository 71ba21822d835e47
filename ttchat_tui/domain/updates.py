"""The updates of a chat session for its view (the screen or the plain REPL): a closed family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.conversation import Conversation, Message, MessageStatus
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineState, LoadProgress
from ttchat_tui.domain.generation import GenerationStats, ThoughtFigures
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo


class ConversationOpened(msgspec.Struct, frozen=True):
    """Another conversation is open now. None: a new one, which is stored with its first message."""

    conversation: Conversation | None
    messages: Sequence[Message]
    """Read when they are asked for."""


class BranchShown(msgspec.Struct, frozen=True):
    """Another branch of the conversation on screen: its first `kept` messages stay, and `messages` follow them."""

    kept: int
    messages: Sequence[Message]
    at: int | None = None
    """The message to bring into view; None: the end."""


class MessageAdded(msgspec.Struct, frozen=True):
    message: Message


class MessageChanged(msgspec.Struct, frozen=True):
    """What is known of a message on screen has changed, but not its text."""

    message: Message


class ReplyFollowed(msgspec.Struct, frozen=True):
    """A reply on screen that another window writes, or has written: with its text so far, or as it has ended."""

    message: Message


class MessageRemoved(msgspec.Struct, frozen=True):
    message_id: int


class ReplyBegan(msgspec.Struct, frozen=True):
    """A reply begins to stream into this message. A continued reply has content already."""

    message: Message


class ReplyStarted(msgspec.Struct, frozen=True):
    """The prompt is built. `dropped_messages` of the conversation's messages did not fit and were left out."""

    message_id: int
    dropped_messages: int


class ReplyPrefilling(msgspec.Struct, frozen=True):
    """The progress of prefill, in tokens of the prompt. The reply begins when `done` equals `total`."""

    message_id: int
    done: int
    total: int


class ReplyDelayed(msgspec.Struct, frozen=True):
    """A server could not serve the request, which is sent again: `lab is busy (429): try 2 of 4 in 5 s`."""

    message_id: int
    words: str


class ReplyStreamed(msgspec.Struct, frozen=True):
    message_id: int
    text: str
    thoughts: tuple[ThoughtFigures, ...] = ()
    """The figures so far of each thought in the reply."""


class ReplyRewritten(msgspec.Struct, frozen=True):
    """The whole reply so far is now `text`, because its beginning has turned out to be a thought."""

    message_id: int
    text: str
    thoughts: tuple[ThoughtFigures, ...] = ()


class ReplyEnded(msgspec.Struct, frozen=True):
    """The final state of a reply. `error` is set if the engine failed; the message has the text before that."""

    message: Message
    error: ErrorInfo | None = None
    siblings: tuple[Message, ...] = ()
    """The other candidates of the batch that have text, in the order of their rows."""
    batch: GenerationStats | None = None
    """The figures of all candidates together; None without candidates."""


class ReplyEndedElsewhere(msgspec.Struct, frozen=True):
    """A reply has ended in a conversation that is not open."""

    conversation: Conversation
    status: MessageStatus
    error: ErrorInfo | None = None
    text: str = ""
    """The reply."""


class QueueChanged(msgspec.Struct, frozen=True):
    """The messages that wait, their order, or whether they are held."""


class DraftReturned(msgspec.Struct, frozen=True):
    """The message was not sent, for the reason in `error`. Its text goes back to the prompt."""

    text: str
    error: ErrorInfo


class ConversationsChanged(msgspec.Struct, frozen=True):
    """The list of conversations has changed: a title, the order, or an entry."""


class PromptCost(msgspec.Struct, frozen=True):
    """The tokens of the conversation and the draft, if it were sent now."""

    prompt_tokens: int
    context_length: int
    """0: unknown."""
    dropped_messages: int
    """Messages of the conversation that would not fit."""
    is_estimate: bool = False
    """`prompt_tokens` is estimated from the length of the text."""


class ContextChanged(msgspec.Struct, frozen=True):
    """Another part of the conversation on screen is sent from now on. What each message is to the prompt may have changed."""


class SummaryWritten(msgspec.Struct, frozen=True):
    """The model has written the summary that was asked for (`session.context.proposal`), or an error was shown."""


class PreviewChanged(msgspec.Struct, frozen=True):
    """The sampler's preview has a newer token (`session.preview.token`)."""


class EngineChanged(msgspec.Struct, frozen=True):
    state: EngineState
    detail: str = ""


class EngineProgress(msgspec.Struct, frozen=True):
    progress: LoadProgress


class EngineReady(msgspec.Struct, frozen=True):
    info: EngineInfo


class CapabilitiesChanged(msgspec.Struct, frozen=True):
    """The capabilities of the loaded engine have changed, because a server refused a parameter."""

    capabilities: Capabilities


class EngineFault(msgspec.Struct, frozen=True):
    """A load failed or the engine died. No model is loaded until another load succeeds."""

    error: ErrorInfo


NOTE: Final = "note"
"""The kind of a notice that only informs."""


class ConstraintChecked(msgspec.Struct, frozen=True):
    """A constraint was set for the conversation on screen, or could not be."""

    constraint: Constraint | None
    """The one that applies now. None: replies have any form."""
    error: ErrorInfo | None = None
    """Why the one that was wanted cannot be used."""
    is_said: bool = False
    """The error is on screen already, of a request that was refused."""
    is_awaited: bool = False
    """The engine cannot check it yet; another update follows."""

    @property
    def what_applies(self) -> str:
        """Where another one is refused: `json-schema "Person" stays.`"""
        return f"{self.constraint.summary} stays." if self.constraint else "Replies have any form."


class BiasRefused(msgspec.Struct, frozen=True):
    """A ban or boost that was just set is not one of a token. The bias before applies again."""

    error: ErrorInfo


class Notice(msgspec.Struct, frozen=True):
    """An error, or information of kind `note`, that is not part of a reply."""

    error: ErrorInfo


Update: TypeAlias = (
    ConversationOpened
    | BranchShown
    | MessageAdded
    | MessageChanged
    | ReplyFollowed
    | MessageRemoved
    | ReplyBegan
    | ReplyStarted
    | ReplyPrefilling
    | ReplyDelayed
    | ReplyStreamed
    | ReplyRewritten
    | ReplyEnded
    | ReplyEndedElsewhere
    | QueueChanged
    | DraftReturned
    | ConversationsChanged
    | PromptCost
    | ContextChanged
    | SummaryWritten
    | PreviewChanged
    | EngineChanged
    | EngineProgress
    | EngineReady
    | CapabilitiesChanged
    | EngineFault
    | ConstraintChecked
    | BiasRefused
    | Notice
)
