"""The context of the conversation on screen: its ledger, kept and left-out messages, and summaries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import ContextMark, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import PromptCounted
from ttchat_tui.domain.ledger import Ledger
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import ContextChanged, Notice, PromptCost, SummaryWritten, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.biasing import BiasTrial
from ttchat_tui.session.constraining import Constraining
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.ledger_rows import PartKey, ledger_rows
from ttchat_tui.session.outgoing import Outgoing
from ttchat_tui.session.side_request import SideAnswer, SideRequest, SideRequests
from ttchat_tui.session.summary import Summary, asked_of, covered_parts, parts_of
from ttchat_tui.storage.conversations import ConversationStore

NOTHING_FALLS_OUT: Final = ErrorInfo(
    kind="nothing_to_do",
    message="Nothing falls out yet.",
    cure="Choose an older message in the ledger: everything up to it is summarised.",
)
SUMMARISED_ALREADY: Final = ErrorInfo(
    kind="nothing_to_do",
    message="This message is summarised already.",
    cure="Choose a newer one, or edit the summary: enter on its row.",
)
BEING_WRITTEN: Final = ErrorInfo(kind="busy", message="A summary is being written already.")


class _Asked(NamedTuple):
    count_id: int
    home: OpenConversation
    sampling: SamplingParams
    outgoing: Outgoing | None
    """None: only the parameters are to be checked."""


@dataclass(eq=False)
class _Counted:
    home: OpenConversation
    outgoing: Outgoing
    counted: PromptCounted

    @cached_property
    def tokens(self) -> dict[PartKey, int]:
        """The tokens of each part. Parts of one message share its tokens by length."""
        tokens: dict[PartKey, int] = {}
        for parts, total in zip(self.outgoing.parts, self.counted.message_tokens, strict=False):
            first, *others = parts
            left, size = total, sum(len(part.content) for part in parts) if others else 1
            for part in others:
                tokens[part.kind, part.message_id] = found = total * len(part.content) // size
                left -= found
            tokens[first.kind, first.message_id] = left
        return tokens

    @cached_property
    def template_tokens(self) -> int:
        """What the chat template adds to the texts that are sent."""
        sent = sum(tokens for key, tokens in self.tokens.items() if key not in self.fallen)
        return max(0, self.counted.prompt_tokens - sent)

    @cached_property
    def fallen(self) -> set[PartKey]:
        """The parts that fall out."""
        gone = (part for at in self.counted.fallen for part in self.outgoing.parts[at])
        return {(part.kind, part.message_id) for part in gone}


class Context:
    """What the next prompt of the conversation on screen holds."""

    def __init__(
        self,
        store: ConversationStore,
        host: EngineHost,
        home: Callable[[], OpenConversation],
        side_requests: SideRequests,
        constraining: Constraining,
    ) -> None:
        """`home`: the conversation on screen."""
        self._store = store
        self._host = host
        self._home = home
        self._side_requests = side_requests
        self._constraining = constraining
        self._asked: _Asked | None = None
        """The count that was asked for last."""
        self._counted: _Counted | None = None
        self._bias_trial = BiasTrial()
        self.draft = ""
        """What would be sent now; `count` sets it too, with the text of attached files."""
        self.edited_id: int | None = None
        """The message of the user in whose place the draft would be sent."""
        self.is_summarising = False
        self._proposal: Summary | None = None

    # --- counting

    def read_on(self) -> tuple[bool, list[Update]]:
        """Read some more of a long conversation on screen, of which only a part was read when it was opened: 3 ms. Returns
        whether all is read now, perhaps by something else, and what has changed then. Raises StorageError."""
        path = self._home().path
        path.read_some()
        return (True, [ContextChanged()]) if path.is_read else (False, [])

    def count(self, draft: str) -> list[Update]:
        """Count the tokens of the conversation with `draft`, and check the parameters. Only the newest request is answered, with
        `PromptCost`. While the conversation is being read, the parameters alone are checked."""
        home, self.draft, self._asked = self._home(), draft, None
        if (info := self._host.info) is None:
            return []
        sampling, prompt = self._constraining.sampling, None
        if home.path.is_read:
            prompt = home.next_prompt(draft, self.edited_id)
            if not prompt.messages:
                self._counted, prompt = None, None
        if prompt is not None or sampling.constraint is not None or sampling.logit_bias:
            messages = prompt.messages if prompt is not None else (ChatMessage("user", ""),)
            count_id = self._host.count(messages, sampling, prompt.keep if prompt is not None else ())
            self._asked = _Asked(count_id, home, sampling, prompt)
        is_empty = prompt is None and home.path.is_read
        return [PromptCost(0, info.context_length, 0)] if is_empty else []

    def apply(self, event: PromptCounted) -> list[Update]:
        """The engine has counted. An answer to an older question is dropped."""
        asked = self._asked
        if asked is None or event.count_id != asked.count_id:
            return []
        self._asked = None
        notices: list[Update] = []
        now = asked.home.sampling or asked.sampling
        if now.logit_bias == asked.sampling.logit_bias and not self._host.is_loading:
            notices += self._bias_trial.decide(asked.home, now, event.bias_problem)
        notices += self._constraining.decide(asked.home, asked.sampling.constraint, event.constraint_problem)
        if asked.outgoing is None:
            return notices
        self._counted = _Counted(asked.home, asked.outgoing, event)
        fallen = len(self._counted.fallen)
        return [
            PromptCost(event.prompt_tokens, event.context_length, fallen, event.is_estimate),
            *notices,
        ]

    def begin_trial(self, sampling: SamplingParams) -> None:
        """The conversation on screen gets these parameters. Bias and constraint are on trial until the next count."""
        self._bias_trial.begin(self._home(), self._constraining.sampling, sampling)
        self._constraining.begin_trial(sampling)

    @property
    def is_counting(self) -> bool:
        """Whether an answer of the engine is to come."""
        return self._asked is not None

    @property
    def _counts(self) -> _Counted | None:
        """The newest counts of the conversation on screen by the loaded model."""
        counted = self._counted
        is_valid = counted is not None and counted.home is self._home() and self._host.info is not None
        return counted if is_valid else None

    # --- the ledger

    def ledger(self) -> Ledger:
        """What sending the draft now would send, with the newest counts that there are."""
        home = self._home()
        prompt = home.next_prompt(self.draft)
        counted = self._counts
        tokens, fallen = (counted.tokens, counted.fallen) if counted is not None else ({}, set[PartKey]())
        rows = ledger_rows(prompt, home.path, tokens, fallen)
        gone = [
            tokens.get(key, 0)
            for parts in (prompt.parts if fallen else ())
            for part in parts
            if (key := (part.kind, part.message_id)) in fallen
        ]
        count = counted.counted if counted is not None else None
        info = self._host.info
        return Ledger(
            rows=rows,
            most_tokens=max(tokens.values(), default=0),
            fallen=len(gone),
            fallen_tokens=sum(gone),
            prompt_tokens=count.prompt_tokens if count else None,
            template_tokens=counted.template_tokens if counted else None,
            context_length=count.context_length if count else info.context_length if info else 0,
            max_tokens=self._constraining.sampling.max_tokens,
            is_current=counted is None or counted.outgoing.messages == prompt.messages,
            is_estimate=count is not None and count.is_estimate,
            is_split_estimated=count is not None and count.is_split_estimated,
        )

    def marks(self) -> Mapping[int, str]:
        """A word for messages on screen, by id: `kept`, or why it is not sent. Those that fall out are not in it. Empty
        while the conversation is being read."""
        if not self._home().path.is_read:
            return {}
        prompt = self._home().next_prompt(self.draft)
        kept = [part for at in prompt.keep for part in prompt.parts[at] if part.is_kept]
        ends_summary = {prompt.summary_of: "summarised to here"} if prompt.summary_of else {}
        return {**prompt.unsent, **ends_summary, **{part.message_id: "kept" for part in kept}}

    def take_ledger_turn(self) -> bool:
        """Whether the ledger may open by itself: true once for each conversation. Raises StorageError."""
        conversation = self._home().conversation
        return conversation is not None and self._store.context.take_ledger_turn(conversation.id)

    # --- what the user decides

    def mark(self, message_ids: Collection[int], mark: ContextMark) -> list[Update]:
        """Keep messages when others fall out, or leave them out; if all are marked so already, send them as usual again.
        Raises StorageError."""
        home = self._home()
        messages = [each for id in message_ids if (each := home.path.message(id)) is not None]
        new: ContextMark = "" if all(message.context == mark for message in messages) else mark
        self._store.context.set_mark([message.id for message in messages], new)
        home.path = home.path.with_messages(
            *(msgspec.structs.replace(message, context=new) for message in messages)
        )
        return [ContextChanged()]

    def set_summary(self, message_id: int, text: str) -> list[Update]:
        """Send `text` in the place of this message and those before it; empty: send them again. Raises StorageError."""
        home = self._home()
        self._store.context.set_summary(message_id, text.strip())
        if (message := home.path.message(message_id)) is not None:
            home.replace(msgspec.structs.replace(message, summary=text.strip()))
        if self._proposal is not None and self._proposal.message_id == message_id:
            self._proposal = None
        return [ContextChanged()]

    @property
    def proposal(self) -> Summary | None:
        """A summary of the conversation on screen that the user has not accepted yet."""
        proposed = self._proposal
        is_here = proposed is not None and proposed.message_id in self._home().path.ids
        return proposed if is_here else None

    def discard_proposal(self) -> None:
        self._proposal = None

    @property
    def summary(self) -> Summary | None:
        """The summary that is sent, or None."""
        home = self._home()
        prompt = home.next_prompt(self.draft)
        found = home.path.message(prompt.summary_of)
        return Summary(found.id, found.summary, _summarised(prompt)) if found is not None else None

    @property
    def has_fallen(self) -> bool:
        """Something falls out, which is what `summarise` would summarise."""
        return self._home().path.message(_last_fallen(self._counts)) is not None

    def summarise(self, through: int = 0) -> list[Update]:
        """Let the model summarise what falls out; if nothing does, everything up to the turn of the message `through`. Ends
        with `SummaryWritten`. Nothing is stored before `set_summary`."""
        if self.is_summarising:
            return [Notice(BEING_WRITTEN)]
        home = self._home()
        counted = self._counts
        covered = self._end_of_summary(through)
        if not covered:
            return [Notice(NOTHING_FALLS_OUT)]
        prompt = home.next_prompt(self.draft)
        if covered <= prompt.summary_of:
            return [Notice(SUMMARISED_ALREADY)]
        info = self._host.info
        parts = parts_of(
            prompt, covered, info.context_length if info else 0, counted.tokens if counted else {}
        )
        self.is_summarising, self._proposal = True, None
        return self._ask(home, covered, parts, SideAnswer())

    def _end_of_summary(self, through: int) -> int:
        """The last message that `summarise` covers; 0: none."""
        # What falls out is perhaps of another branch, if this one has not been counted yet.
        return _last_fallen(self._counts) if self.has_fallen else _end_of_turn(self._home().path, through)

    def _proposed(self, home: OpenConversation, covered: int, answer: SideAnswer) -> Summary:
        prompt, tokens = home.next_prompt(""), self._counted.tokens if self._counted is not None else {}
        parts = covered_parts(prompt, covered)
        sizes = [tokens.get((part.kind, part.message_id)) for part in parts]
        known = [size for size in sizes if size is not None]
        new = sum(part.kind == "message" for part in parts)
        return Summary(
            covered,
            answer.text,
            _summarised(prompt) + new,
            sum(known) if len(known) == len(sizes) else None,
            answer.is_cut,
        )

    def _ask(
        self, home: OpenConversation, covered: int, parts: list[str], before: SideAnswer
    ) -> list[Update]:
        """Ask for a summary of the first part after `before`, the summary of those before it. It is cut if one of them is."""
        info = self._host.info
        messages, sampling = asked_of(
            parts[0], before.text, self._constraining.sampling, info.context_length if info else 0
        )

        def on_end(answer: SideAnswer) -> list[Update]:
            if answer.error is not None:
                self.is_summarising = False
                return [SummaryWritten()]
            answer = msgspec.structs.replace(answer, is_cut=answer.is_cut or before.is_cut)
            if len(parts) > 1:
                return self._ask(home, covered, parts[1:], answer)
            self.is_summarising = False
            self._proposal = self._proposed(home, covered, answer)
            return [SummaryWritten()]

        return self._side_requests.ask(SideRequest("summary", messages, sampling, on_end))


def _summarised(prompt: Outgoing) -> int:
    """Messages in whose place a summary is sent."""
    return sum(fate == "summarised" for fate in prompt.unsent.values())


def _last_fallen(counted: _Counted | None) -> int:
    """The last message that falls out; 0: none does."""
    if counted is None or not counted.counted.fallen:
        return 0
    parts = counted.outgoing.parts[max(counted.counted.fallen)]
    return max(part.message_id for part in parts)


def _end_of_turn(path: Sequence[Message], message_id: int) -> int:
    """The last message of the turn that has this one; 0 in the last turn, which has to be sent."""
    at = next((index for index, message in enumerate(path) if message.id == message_id), None)
    if at is None:
        return 0
    after = next((index for index in range(at + 1, len(path)) if path[index].role == "user"), None)
    return path[after - 1].id if after is not None else 0
