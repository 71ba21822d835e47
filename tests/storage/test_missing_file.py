"""A file that is lost while it is open, and the write-ahead log: messages are at the path in any case."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.examples import STARTED, answer, ask, mode_of, without_root
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_store


def said_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return [text for (text,) in connection.execute("SELECT content FROM messages ORDER BY id")]


def alone(path: Path, folder: Path) -> Path:
    """The database file without its companions, as backup programs copy it."""
    return Path(shutil.copyfile(path, folder / "copy.db"))


def lose_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def lose_the_file(path: Path) -> None:
    path.unlink()


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize("lose", [lose_the_folder, lose_the_file, move_the_folder])
def test_a_lost_file_is_restored_with_everything_and_reported(
    store: ConversationStore, path: Path, lose: object
) -> None:
    asked = ask(store, "Before")
    assert callable(lose)
    lose(path)
    store.add_user_message(asked.conversation_id, asked.id, "After")
    notice = store.pop_file_notice()
    assert notice is not None
    assert str(path) in notice.message
    assert notice.cure
    assert store.pop_file_notice() is None, "it is reported once"
    assert mode_of(path) == 0o600
    assert said_in(path) == ["Before", "After"]
    answer(store, asked)
    assert store.pop_file_notice() is None
    store.close()
    assert list(path.parent.iterdir()) == [path]
    assert said_in(path) == ["Before", "After", "Hello."]


WRITES: dict[str, Callable[[ConversationStore, int], object]] = {
    "draft": lambda store, it: store.drafts.set(it, "typed"),
    "new draft": lambda store, it: store.drafts.set(None, "typed"),
    "title": lambda store, it: store.rename(it, "Renamed"),
    "settings": lambda store, it: store.set_system_prompt(it, "Be brief."),
    "deletion": lambda store, it: store.delete(it),
    "partial reply": lambda store, it: store.begin_reply(it, 1, STARTED),
}


@pytest.mark.parametrize("what", WRITES)
def test_every_kind_of_write_goes_to_a_file_at_the_path(
    store: ConversationStore, path: Path, what: str
) -> None:
    asked = ask(store, "Before")
    shutil.rmtree(path.parent)
    WRITES[what](store, asked.conversation_id)
    assert store.pop_file_notice() is not None
    assert path.exists()
    with closing(sqlite3.connect(path)) as found, closing(sqlite3.connect(":memory:")) as memory:
        found.backup(memory)
        dump = "\n".join(memory.iterdump())
    changed = {
        "deletion": "1700000000.0,1700000000.0,1700000000.0",
        "title": "Renamed",
        "settings": "Be brief.",
    }
    assert changed.get(what, "streaming" if what == "partial reply" else "typed") in dump


@pytest.mark.parametrize("what", WRITES)
def test_after_a_merge_a_copy_of_the_file_alone_has_every_write(
    store: ConversationStore, path: Path, tmp_path: Path, what: str
) -> None:
    asked = ask(store, "Before")
    store.merge_log()
    WRITES[what](store, asked.conversation_id)
    assert store.is_log_filled
    store.merge_log()
    with closing(sqlite3.connect(path)) as whole, closing(sqlite3.connect(alone(path, tmp_path))) as copy:
        assert list(copy.iterdump()) == list(whole.iterdump())


@pytest.mark.parametrize("lose", [lose_the_folder, lose_the_file, move_the_folder])
def test_a_link_to_a_lost_file_leads_to_the_restored_one(
    path: Path, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    link = tmp_path / "linked" / "conversations.db"
    open_store(path).close()
    link.parent.mkdir()
    link.symlink_to(path)
    with closing(open_store(link)) as store:
        asked = ask(store, "Before")
        lose(path)
        store.add_user_message(asked.conversation_id, asked.id, "After")
        notice = store.pop_file_notice()
        assert notice is not None
        assert notice.kind == "database_written_anew"
        assert str(link) in notice.message
    assert link.is_symlink()
    assert list(link.parent.iterdir()) == [link]
    assert list(path.parent.iterdir()) == [path], "and no log of the file before lies beside it"
    assert said_in(path) == ["Before", "After"]


def test_a_lost_link_is_restored_as_a_file(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "conversations.db"
    open_store(path).close()
    link.symlink_to(path)
    with closing(open_store(link)) as store:
        asked = ask(store, "Before")
        link.unlink()
        store.add_user_message(asked.conversation_id, asked.id, "After")
    assert said_in(link) == ["Before", "After"]
    assert said_in(path) == ["Before"]


def test_an_unreadable_folder_is_reported_and_not_taken_for_lost(
    reachable_path: Path,
) -> None:
    path = reachable_path
    open_store(path).close()
    with without_root(path.parent), closing(open_store(path)) as store:
        path.parent.chmod(0)
        try:
            with pytest.raises(StorageError, match="No permission") as caught:
                ask(store)
            assert caught.value.info.kind == "permission_denied"
        finally:
            path.parent.chmod(0o700)
        assert ask(store).content == "Hello?"
        assert store.pop_file_notice() is None


def test_a_file_can_be_lost_twice(store: ConversationStore, path: Path) -> None:
    for text in ("one", "two", "three"):
        ask(store, text)
        shutil.rmtree(path.parent)
    ask(store, "four")
    assert said_in(path) == ["one", "two", "three", "four"]


def test_a_file_that_replaced_it_is_not_touched_and_the_session_continues_beside_it(
    store: ConversationStore, path: Path
) -> None:
    asked = ask(store, "Mine")
    path.rename(path.with_name("mine.db"))
    other = open_store(path)
    ask(other, "Theirs")  # and only in the log yet
    answer(store, asked, "Mine too.")
    notice = store.pop_file_notice()
    assert notice is not None
    assert f"Another file has replaced {path}" in notice.message
    (beside,) = path.parent.glob("conversations.db.rescued-????????")
    assert str(beside) in notice.message
    assert mode_of(beside) == 0o600
    assert said_in(beside) == ["Mine", "Mine too."]
    assert said_in(path) == ["Theirs"], "its log is there as well"
    ask(store, "Still mine")
    assert store.pop_file_notice() is None, "it is reported once"
    store.close()
    ask(other, "And theirs")
    other.close()
    assert said_in(beside) == ["Mine", "Mine too.", "Still mine"]
    assert said_in(path) == ["Theirs", "And theirs"]


def test_the_cure_for_two_windows_that_lost_their_folder_keeps_the_messages_of_both(tmp_path: Path) -> None:
    path = tmp_path / "Application Support" / "conversations.db"
    first, second = open_store(path), open_store(path)
    asked = ask(first, "Before")
    shutil.rmtree(path.parent)
    first.add_user_message(asked.conversation_id, asked.id, "First")
    second.add_user_message(asked.conversation_id, asked.id, "Second")
    notice = second.pop_file_notice()
    assert notice is not None
    before, command = notice.cure.split(", then: ")
    assert "quit every window, move the other file away (with its -wal and -journal" in before
    first.close()
    second.close()
    away = path.rename(path.with_name("away.db"))
    subprocess.run(command, shell=True, check=True)
    assert said_in(path) == ["Before", "Second"]
    assert said_in(away) == ["Before", "First"]


@pytest.mark.parametrize("content", [b"", b"no database", b"folder", b"pipe"])
def test_nothing_is_lost_whatever_replaces_the_file(
    store: ConversationStore, path: Path, content: bytes
) -> None:
    asked = ask(store, "Mine")
    path.unlink()
    if content == b"folder":
        path.mkdir()
    elif content == b"pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    answer(store, asked, "Mine too.")
    store.close()
    (beside,) = path.parent.glob("conversations.db.rescued-*")
    assert said_in(beside) == ["Mine", "Mine too."]
    assert content in (b"folder", b"pipe") or path.read_bytes() == content


def test_a_failed_restore_is_reported_and_works_once_it_can(store: ConversationStore, path: Path) -> None:
    asked = ask(store, "Before")
    shutil.rmtree(path.parent)
    path.parent.write_text("a file in the way of the folder")
    with pytest.raises(StorageError, match="cannot be restored") as caught:
        store.add_user_message(asked.conversation_id, asked.id, "After")
    assert caught.value.info.kind == "database_gone"
    path.parent.unlink()
    store.add_user_message(asked.conversation_id, asked.id, "After")
    assert said_in(path) == ["Before", "After"]


def test_a_copy_of_a_new_database_alone_has_its_tables(
    store: ConversationStore, path: Path, tmp_path: Path
) -> None:
    assert store.latest() is None
    assert said_in(alone(path, tmp_path)) == [], "the tables are there"
    copy = open_store(alone(path, tmp_path))
    assert (copy.mode, copy.notice) == ("read-write", None)
    copy.close()


def test_the_log_is_merged_when_asked_and_at_the_next_start(
    store: ConversationStore, path: Path, tmp_path: Path
) -> None:
    answer(store, ask(store, "Hello?"))
    assert store.is_log_filled
    assert said_in(alone(path, tmp_path)) == []
    store.merge_log()
    assert not store.is_log_filled
    assert said_in(alone(path, tmp_path)) == ["Hello?", "Hello."]
    ask(store, "And now?")
    open_store(path).close()
    assert said_in(alone(path, tmp_path)) == ["Hello?", "Hello.", "And now?"]


def test_a_reader_does_not_delay_the_merge(store: ConversationStore, path: Path) -> None:
    ask(store, "Hello?")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM messages").fetchall()
        ask(store, "Again?")
        store.merge_log()
        assert store.is_log_filled, "what comes after that reader's look is still to be merged"
