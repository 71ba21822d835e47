"""Whatever is written, removed and restored, by whichever window, and however often the index stops: it finds what is there."""

from __future__ import annotations

import random
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.storage.examples import FINISHED, STARTED
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import SearchIndex, index_file
from ttchat_tui.storage.search.query import parse_query

WORDS = ("anchor", "barrel", "getCanvas", "日本", "Straße")
STEPS = (
    "ask",
    "answer",
    "grow",
    "resume",
    "remove",
    "delete",
    "undelete",
    "rename",
    "advance",
    "crash",
    "another",
)


def act(step: str, store: ConversationStore, chance: random.Random) -> None:
    """One change of the database."""
    text = " ".join(chance.choices(WORDS, k=2))
    rows = store._database.rows("SELECT id, conversation_id, role, status FROM messages ORDER BY id")
    if step == "ask" or not rows:
        store.add_user_message(store.create_conversation().id, None, text)
        return
    row = chance.choice(rows)
    if step == "answer":
        reply = store.begin_reply(row["conversation_id"], row["id"], STARTED)
        store.checkpoint(reply.id, text, (1,))
        store.finish_reply(reply.id, " ".join(chance.choices(WORDS, k=2)), "complete", FINISHED)
    elif step == "grow":
        store.checkpoint(store.begin_reply(row["conversation_id"], row["id"], STARTED).id, text, (1,))
    elif step == "resume":
        reply = store.resume_reply(row["id"])
        store.finish_reply(reply.id, text, "complete", FINISHED)
    elif step == "remove":
        store.remove_message(row["id"])
    elif step == "delete":
        store.delete(row["conversation_id"])
    elif step == "undelete":
        store.undelete(*store.last_deleted())
    elif step == "rename":
        store.rename(row["conversation_id"], text)


def there(store: ConversationStore, word: str) -> set[int]:
    """The messages that have the word and can be opened: not those of deleted conversations, nor growing ones."""
    rows = store._database.rows(
        "SELECT m.id, m.content FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE c.deleted_at IS NULL AND m.status != 'streaming'"
    )
    return {row["id"] for row in rows if word in row["content"]}


@settings(max_examples=sized(25, 500), deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=25), seed=st.integers(0, 2**16))
def test_the_index_finds_what_is_there(steps: list[str], seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversations.db"
        with closing(open_store(path)) as store, closing(open_store(path)) as other:
            index = SearchIndex(path, index_file(path))
            for step in steps:
                if step == "advance":
                    index.advance()
                elif step == "crash":
                    index.close()
                    index = SearchIndex(path, index_file(path))
                else:
                    try:
                        if step == "another":
                            act(chance.choice(("ask", "answer", "rename")), other, chance)
                        else:
                            act(step, store, chance)
                    except StorageError as error:
                        if error.info.kind not in ("not_found", "not_a_leaf", "reply_busy"):
                            raise  # the others say that this step cannot be
            while index.is_behind:
                index.advance()
            for word in WORDS:
                hits = find(index, word, parse_query(word)).hits
                found = {hit.message_id for hit in hits if hit.message_id is not None}
                expected = there(store, word)
                assert found == expected, word
            index.close()
