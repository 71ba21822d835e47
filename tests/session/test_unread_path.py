"""A conversation of which only the end is read: where the rest cannot be read, nothing is stored, sent or lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.fakes import Script
from tests.session.test_chat import Chat
from tests.storage.examples import answer
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.updates import ContextChanged, DraftReturned, Notice, Update
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import PAGE, MessagePath

TURNS = PAGE


def refuse(_: Sequence[int]) -> list[Message]:
    raise StorageError(ErrorInfo(kind="database_corrupt", message="It cannot be read."))


@pytest.fixture
def chat(start: Callable[..., Chat]) -> Chat:
    """A conversation whose last page is read; the others cannot be."""
    chat = start(Script(replies=("A", "B")))
    home, parent = chat.store.create_conversation(), None
    for number in range(TURNS):
        parent = answer(chat.store, chat.store.add_user_message(home.id, parent, f"question {number}")).id
    chat.session.open(home.id)
    path = chat.session.path
    assert path[-1].id == parent
    chat.session._opened.path = MessagePath(refuse, path.ids, path._known)  # pyright: ignore[reportPrivateUsage]
    return chat


def queue(chat: Chat) -> list[Update]:
    assert chat.session.conversation is not None
    chat.store.queue.add(chat.session.conversation.id, "queued", 1)
    chat.session.queue.refresh()
    return chat.session.queue.release()


ASKS: dict[str, Callable[[Chat, list[int]], list[Update]]] = {
    "submit": lambda chat, ids: chat.session.submit("more"),
    "queue": lambda chat, ids: queue(chat),
    "regenerate": lambda chat, ids: chat.session.branching.regenerate(ids[-3]),
    "continue": lambda chat, ids: chat.session.branching.continue_reply(),
    "continue a copy": lambda chat, ids: chat.session.branching.continue_reply(ids[-3]),
    "edit": lambda chat, ids: chat.session.branching.edit(ids[-2], "edited"),
    "delete": lambda chat, ids: chat.session.branching.delete(ids[3])[1],
    "write": lambda chat, ids: chat.session.branching.write(ids[-1], "mine", to_continue=True),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=list(ASKS))
def test_what_cannot_be_read_is_said_before_anything_is_stored(
    chat: Chat, ask: Callable[[Chat, list[int]], list[Update]]
) -> None:
    ids, rows = list(chat.session.path.ids), chat.store.tree(1)
    try:
        said = [
            each.error.message
            for each in ask(chat, ids)
            if isinstance(each, Notice | DraftReturned) and each.error
        ]
    except StorageError as error:
        said = [str(error)]
    assert "It cannot be read." in said[0]
    assert chat.session.path.ids == ids
    assert chat.store.tree(1) == rows
    assert not chat.session.is_busy


def test_what_reads_all_of_a_conversation_leaves_its_count_to_be_made(start: Callable[..., Chat]) -> None:
    chat = start()
    asked = chat.store.add_user_message(chat.store.create_conversation().id, None, "hello")
    chat.session.open(asked.conversation_id)
    assert chat.session.context.count("") == []
    chat.session.path.read()  # as the ledger does
    assert chat.session.context.read_on() == (True, [ContextChanged()])


def test_a_reply_that_another_window_has_continued_is_continued_from_there(
    start: Callable[..., Chat],
) -> None:
    chat, other = start(Script(replies=("one two",))), start(Script(replies=(" three",)))
    chat.ask("count")
    other.session.open(1)
    other.session.branching.continue_reply()
    other.until(GenerationFinished)
    written = other.session.path[-1].reply
    chat.session.branching.continue_reply()
    chat.until(GenerationFinished)
    assert written is not None
    assert chat.engine.requests[-1].written_ids == written.token_ids
