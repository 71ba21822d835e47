"""Titles that the model writes, in side requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import Notice, ReplyEnded, ReplyEndedElsewhere, Update
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.side_request import SideAnswer, SideRequest, SideRequests
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.titles import title_from

INSTRUCTION: Final = "Write a title for this conversation, in its language: at most six words on one line. Answer with the title alone."

_SAMPLING: Final = SamplingParams(temperature=0.2, top_k=0, max_tokens=1024)
"""The limit is for a model that thinks first. Others end after a line."""

_LONGEST_LINE: Final = 200
_LONGEST_TURN: Final = 2_000
"""Characters of each message of which a title is made, where the engine does not have the conversation."""

_REPEATED: Final = 4
"""Words in a row of the instruction that are no title. Three may be one, such as `In six words`."""

_LABEL: Final = re.compile(r"^(?:t[ií]t(?:le|el|re|ulo|olo)|标题|タイトル)\s*[:\uff1a]\s*", re.I)
_QUOTES: Final = "\"'“”„‘’«»「」『』*_` "


class Titles:
    """Asks for titles and stores them."""

    def __init__(
        self,
        store: ConversationStore,
        side_requests: SideRequests,
        last_answered: Callable[[], OpenConversation | None],
        rename: Callable[[int, str], list[Update]],
    ) -> None:
        """`last_answered`: the conversation of the last reply, whose prompt the engine has in its cache."""
        self._store = store
        self._side_requests = side_requests
        self._last_answered = last_answered
        self._rename = rename
        self.is_automatic = False
        """Each new conversation gets a title after its first reply, unless it has been renamed by then."""

    def write(self, conversation_id: int, *, replaced: str | None = None) -> list[Update]:
        """Ask for a title, and rename the conversation. `replaced`: only if this is still its title.

        It is made from the whole conversation if the engine has just answered there, since that is in its cache: then the
        next reply begins as fast as without. Otherwise it is made from the beginning, which is quickly read.
        """

        def on_end(answer: SideAnswer) -> Sequence[Update]:
            title = tidied(answer.text)
            if answer.error is not None or not title:
                return []
            try:
                if replaced not in (None, self._store.conversation(conversation_id).title):
                    return []
                return self._rename(conversation_id, title)
            except StorageError as error:
                return [Notice(error.info)]

        request = SideRequest(
            "title", lambda: self._prompt(conversation_id), _SAMPLING, on_end, is_enough=_has_a_line
        )
        return self._side_requests.ask(request)

    def after(self, updates: Sequence[Update]) -> list[Update]:
        """Ask for the title of a conversation whose first reply has ended, if that is wanted."""
        for update in updates if self.is_automatic else ():
            try:
                if isinstance(update, ReplyEnded):
                    return self._name_new(update.message.conversation_id)
                if isinstance(update, ReplyEndedElsewhere):
                    return self._name_new(update.conversation.id)
            except StorageError as error:
                return [Notice(error.info)]
        return []

    def _name_new(self, conversation_id: int) -> list[Update]:
        conversation = self._store.conversation(conversation_id)
        if conversation.head_id is None:
            return []
        reply = self._store.message(conversation.head_id)
        is_first = reply.status == "complete" and conversation.message_count == 1 + reply.sibling_count
        if not is_first or reply.parent_id is None:
            return []
        if conversation.title != title_from(self._store.message(reply.parent_id).content):
            return []
        return self.write(conversation_id, replaced=conversation.title)

    def _prompt(self, conversation_id: int) -> tuple[ChatMessage, ...]:
        """Raises StorageError."""
        conversation = self._store.conversation(conversation_id)
        answered = self._last_answered()
        if answered is not None and answered.id == conversation_id:
            return answered.next_prompt(INSTRUCTION).messages
        begun = OpenConversation(self._store, "")
        begun.show(conversation, self._store.shown_path(conversation)[:4])
        return tuple(
            ChatMessage(each.role, each.content[:_LONGEST_TURN])
            for each in begun.next_prompt(INSTRUCTION).messages
        )


def _has_a_line(answer: str) -> bool:
    text = answer.lstrip()
    return "\n" in text or len(text) > _LONGEST_LINE


def tidied(answer: str) -> str:
    """The title in what the model wrote: its first line with words, without a label, quotation marks and a full stop. Empty if
    it repeats the instruction, as small models do."""
    title = _LABEL.sub("", title_from(answer).strip(_QUOTES)).strip(_QUOTES)
    if _repeats_the_instruction(title):
        return ""
    return title.rstrip(_QUOTES + ".。") if not title.endswith("...") else title


def _repeats_the_instruction(title: str) -> bool:
    """Whether `_REPEATED` words of it stand in the instruction, in this order."""
    words, instruction = _spaced(title).split(), _spaced(INSTRUCTION)
    runs = zip(*(words[start:] for start in range(_REPEATED)), strict=False)
    return any(f" {' '.join(run)} " in instruction for run in runs)


def _spaced(text: str) -> str:
    """Its words in lower case, with a space before and after each."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words)} "
