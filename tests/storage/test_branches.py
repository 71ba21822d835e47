"""Deleted branches leave every list and the search, and come back whole; files keep what users did to the tree."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tests.storage.examples import HandClock, ask
from ttchat_tui.domain.conversation import ContextMark, Edit, ReplyRecord
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.export import export_json
from ttchat_tui.storage.imports.importing import import_files
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import SearchIndex, index_file
from ttchat_tui.storage.search.query import parse_query

MINE = ReplyRecord(model="", engine="", sampling=SamplingParams(), seed=0)


def found(index: SearchIndex, words: str) -> list[tuple[int, int | None]]:
    while index.is_behind:
        index.advance()
    hits = find(index, words, parse_query(words)).hits
    return [(hit.conversation_id, hit.message_id) for hit in hits]


def test_a_deleted_branch_is_found_again_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    store = open_store(path)
    home = store.create_conversation()
    asked = store.add_user_message(home.id, None, "apples")
    reply = store.branches.add_reply(home.id, asked.id, "quinces", MINE, is_edited=True)
    index = SearchIndex(path, index_file(path))
    assert found(index, "quinces") == [(home.id, reply)]
    store.branches.cut([store.message(reply)], asked.id)
    assert found(index, "quinces") == []
    assert [each.message_count for each in store.conversations()] == [1]
    (cut,) = store.last_deleted()
    assert store.branches.put_back(cut) == reply
    assert found(index, "quinces") == [(home.id, reply)]
    index.close()
    store.close()


def test_a_deleted_branch_is_purged_with_its_conversation(tmp_path: Path) -> None:
    now = [1e9]
    store = open_store(tmp_path / "conversations.db", clock=lambda: now[0])
    home = store.create_conversation()
    asked = store.add_user_message(home.id, None, "apples")
    reply = store.branches.add_reply(home.id, asked.id, "quinces", MINE, is_edited=True)
    store.branches.cut([store.message(reply)], asked.id)
    other = store.create_conversation()
    for each in (home, other):
        store.drafts.set(each.id, "", Edit(asked.id, "pears"))
    store.delete(home.id)
    now[0] += 31 * 24 * 3600
    store.purge_deleted()
    assert store.last_deleted() == []
    assert (store.drafts.of(home.id).edit, store.drafts.of(other.id).edit) == (None, Edit(asked.id, "pears"))
    store.close()


def test_a_file_keeps_marks_and_names(tmp_path: Path) -> None:
    store = open_store(tmp_path / "conversations.db")
    home = store.create_conversation()
    asked = store.add_user_message(home.id, None, "apples")
    reply = store.branches.add_reply(home.id, asked.id, "quinces", MINE, is_edited=True)
    store.branches.name(reply, "in autumn")
    store.context.set_mark([reply], cast("ContextMark", "pinned"))  # the old name
    assert store.tree(home.id)[1].context == "kept"
    store.context.set_summary(reply, "fruit")
    file = tmp_path / "talk.json"
    exported = export_json(store.conversation(home.id), store.tree(home.id))
    store.close()
    for name in ("kept", "pinned"):
        file.write_text(exported.replace('"kept"', f'"{name}"'), encoding="utf-8")
        import_files(tmp_path / f"{name}.db", [file], lambda *_: None)
        other = open_store(tmp_path / f"{name}.db")
        copy = other.branches.copy_path(other.tree(1))
        for read in (other.tree(1)[1], other.tree(copy)[1]):
            assert (read.content, read.is_edited, read.branch_name) == ("quinces", True, "in autumn")
            assert (read.context, read.summary) == ("kept", "fruit")
        other.close()


def test_a_copied_branch_was_not_said_now(store: ConversationStore, clock: HandClock) -> None:
    first = ask(store, "first")
    clock.now += 10
    ask(store, "second")
    store.branches.copy_path([first])
    assert store.recent_prompts() == ["first", "second"]
