"""The context of the conversation on screen: its ledger, pinned and left-out messages, and summaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.conversation import ContextMark, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import PromptCounted
from ttchat_tui.domain.ledger import Fate, Ledger, LedgerRow
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import ContextChanged, Notice, PromptCost, SummaryWritten, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.outgoing import Outgoing, Part, as_said
from ttchat_tui.session.side_request import SideAnswer, SideRequest, SideRequests
from ttchat_tui.session.summary import Summary, asked_of, parts_of
from ttchat_tui.storage.conversations import ConversationStore

_SHOWN: Final = 200
"""Characters of a text in the ledger."""

NOTHING_FALLS_OUT: Final = ErrorInfo(
    kind="nothing_to_do",
    message="Nothing falls out yet.",
    cure="Choose an older message in the ledger: everything up to it is summarised.",
)
BEING_WRITTEN: Final = ErrorInfo(kind="busy", message="A summary is being written already.")


class _Counted(msgspec.Struct, frozen=True):
    home: OpenConversation
    outgoing: Outgoing
    counted: PromptCounted


class Context:
    """What the next prompt of the conversation on screen holds."""

    def __init__(
        self,
        store: ConversationStore,
        host: EngineHost,
        home: Callable[[], OpenConversation],
        sampling: Callable[[], SamplingParams],
        side_requests: SideRequests,
    ) -> None:
        """`home` and `sampling`: of the conversation on screen."""
        self._store = store
        self._host = host
        self._home = home
        self._sampling = sampling
        self._side_requests = side_requests
        self._asked: tuple[int, OpenConversation, Outgoing] | None = None
        """The count that was asked for last: its id, and of what."""
        self._counted: _Counted | None = None
        self._draft = ""
        self._writing: Summary | None = None
        self.proposal: Summary | None = None
        """A summary that the user has not accepted yet."""

    # --- counting

    def count(self, draft: str) -> list[Update]:
        """Count the tokens of the conversation with `draft`. Only the newest request is answered, with `PromptCost`."""
        home, self._draft, self._asked = self._home(), draft, None
        if self._host.info is None:
            return []
        prompt = home.outgoing(draft)
        if not prompt.messages:
            self._counted = None
            return [PromptCost(0, self._host.info.context_length, 0)]
        self._asked = (self._host.count(prompt.messages, self._sampling(), prompt.pinned), home, prompt)
        return []

    def apply(self, event: PromptCounted) -> list[Update]:
        """The engine has counted. An answer to an older question is dropped."""
        if self._asked is None or event.count_id != self._asked[0]:
            return []
        self._counted = _Counted(self._asked[1], self._asked[2], event)
        return [
            PromptCost(event.prompt_tokens, event.context_length, event.dropped_messages, event.is_estimate)
        ]

    # --- the ledger

    def ledger(self) -> Ledger:
        """What sending the draft now would send, with the newest counts that there are."""
        home = self._home()
        prompt = home.outgoing(self._draft)
        counted = self._counted if self._counted is not None and self._counted.home is home else None
        tokens, fallen = _by_part(counted)
        rows = [_row(part, tokens, fallen) for parts in prompt.parts for part in parts]
        if prompt.unsent:
            rows = _with_unsent(rows, home.path, prompt)
        count = counted.counted if counted is not None else None
        info = self._host.info
        return Ledger(
            rows=tuple(rows),
            prompt_tokens=count.prompt_tokens if count else None,
            context_length=count.context_length if count else info.context_length if info else 0,
            max_tokens=self._sampling().max_tokens,
            is_estimate=count is not None and count.is_estimate,
            is_split_estimated=count is not None and count.is_split_estimated,
        )

    def unsent(self) -> Mapping[int, Fate]:
        """Why messages on screen are not sent, by id: left out or summarised. Those that fall out are not in it."""
        return self._home().outgoing(self._draft).unsent

    def take_ledger_turn(self) -> bool:
        """Whether the ledger may open by itself: true once for each conversation. Raises StorageError."""
        conversation = self._home().conversation
        return conversation is not None and self._store.context.take_ledger_turn(conversation.id)

    # --- what the user decides

    def mark(self, message_id: int, mark: ContextMark) -> list[Update]:
        """Pin a message or leave it out; if it is marked so already, send it as usual again. Raises StorageError."""
        home = self._home()
        message = next((each for each in home.path if each.id == message_id), None)
        if message is None:
            return []
        new: ContextMark = "" if message.context == mark else mark
        self._store.context.set_mark(message_id, new)
        home.replace(msgspec.structs.replace(message, context=new))
        return [ContextChanged()]

    def set_summary(self, message_id: int, text: str) -> list[Update]:
        """Send `text` in the place of this message and those before it; empty: send them again. Raises StorageError."""
        home = self._home()
        self._store.context.set_summary(message_id, text.strip())
        for message in home.path:
            if message.id == message_id:
                home.replace(msgspec.structs.replace(message, summary=text.strip()))
        if self.proposal is not None and self.proposal.message_id == message_id:
            self.proposal = None
        return [ContextChanged()]

    @property
    def summary(self) -> Summary | None:
        """The summary that is sent, or None."""
        home = self._home()
        found = home.outgoing(self._draft).summary_of
        return next((Summary(each.id, each.summary) for each in home.path if each.id == found), None)

    @property
    def is_summarising(self) -> bool:
        return self._writing is not None

    def summarise(self, through: int = 0) -> list[Update]:
        """Let the model summarise what falls out; if nothing does, everything up to the turn of the message `through`. Ends
        with `SummaryWritten`. Nothing is stored before `set_summary`."""
        if self._writing is not None:
            return [Notice(BEING_WRITTEN)]
        home = self._home()
        counted = self._counted if self._counted is not None and self._counted.home is home else None
        covered = _last_fallen(counted) or _end_of_turn(home.path, through)
        if not covered:
            return [Notice(NOTHING_FALLS_OUT)]
        prompt = home.outgoing(self._draft)
        info = self._host.info
        parts = parts_of(prompt, covered, info.context_length if info else 0)
        self._writing, self.proposal = Summary(covered, ""), None
        return self._ask(home, covered, parts, before="")

    def _ask(self, home: OpenConversation, covered: int, parts: list[str], before: str) -> list[Update]:
        """Ask for a summary of the first part after `before`, the summary of those before it."""
        info = self._host.info
        messages, sampling = asked_of(parts[0], before, self._sampling(), info.context_length if info else 0)

        def on_end(answer: SideAnswer) -> list[Update]:
            if answer.error is not None:
                self._writing = None
                return [SummaryWritten()]
            if len(parts) > 1:
                return self._ask(home, covered, parts[1:], answer.text)
            self._writing = None
            if self._home().id == home.id:
                self.proposal = Summary(covered, answer.text)
            return [SummaryWritten()]

        return self._side_requests.ask(SideRequest("summary", messages, sampling, on_end))


def _by_part(counted: _Counted | None) -> tuple[dict[tuple[str, int], int], set[tuple[str, int]]]:
    """The tokens of each part by kind and id, and those that fall out. Parts of one message share its tokens by length."""
    tokens: dict[tuple[str, int], int] = {}
    fallen: set[tuple[str, int]] = set()
    if counted is None:
        return tokens, fallen
    gone = set(counted.counted.fallen)
    for at, (parts, total) in enumerate(
        zip(counted.outgoing.parts, counted.counted.message_tokens, strict=False)
    ):
        size, left = sum(len(part.content) for part in parts), total
        for part in parts[1:]:
            tokens[part.kind, part.message_id] = share = total * len(part.content) // size
            left -= share
        tokens[parts[0].kind, parts[0].message_id] = left
        if at in gone:
            fallen.update((part.kind, part.message_id) for part in parts)
    return tokens, fallen


def _row(part: Part, tokens: Mapping[tuple[str, int], int], fallen: set[tuple[str, int]]) -> LedgerRow:
    key = (part.kind, part.message_id)
    return LedgerRow(
        kind=part.kind,
        message_id=part.message_id,
        role=part.role,
        text=part.content[:_SHOWN],
        tokens=tokens.get(key),
        fate="falls out" if key in fallen else "sent",
        is_pinned=part.is_pinned,
    )


def _with_unsent(rows: list[LedgerRow], path: list[Message], prompt: Outgoing) -> list[LedgerRow]:
    """The rows with those of messages that are not sent, in the order of the conversation."""
    head = [row for row in rows if row.kind in ("system", "summary")]
    sent = {row.message_id: row for row in rows if row.kind == "message"}
    draft = [row for row in rows if row.kind == "draft"]
    said: list[LedgerRow] = []
    for message in path:
        if message.id in sent:
            said.append(sent[message.id])
        elif (fate := prompt.unsent.get(message.id)) is not None:
            text = as_said(message.role, message.content).content[:_SHOWN]
            is_pinned = message.context == "pinned"
            said.append(
                LedgerRow(
                    kind="message",
                    message_id=message.id,
                    role=message.role,
                    text=text,
                    fate=fate,
                    is_pinned=is_pinned,
                )
            )
    return [*head, *said, *draft]


def _last_fallen(counted: _Counted | None) -> int:
    """The last message that falls out; 0: none does."""
    if counted is None or not counted.counted.fallen:
        return 0
    parts = counted.outgoing.parts[max(counted.counted.fallen)]
    return max(part.message_id for part in parts)


def _end_of_turn(path: list[Message], message_id: int) -> int:
    """The last message of the turn that has this one; 0 in the last turn, which has to be sent."""
    at = next((index for index, message in enumerate(path) if message.id == message_id), None)
    if at is None:
        return 0
    after = next((index for index in range(at + 1, len(path)) if path[index].role == "user"), None)
    return path[after - 1].id if after is not None else 0
