"""A file that goes while it is open, and a log that nobody copies: what was said is at the path all the same."""

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
    """The database file without its companions, as a backup takes it that does not know of them."""
    return Path(shutil.copyfile(path, folder / "copy.db"))


def lose_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def lose_the_file(path: Path) -> None:
    path.unlink()


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize("lose", [lose_the_folder, lose_the_file, move_the_folder])
def test_a_file_that_has_gone_is_written_anew_with_everything_and_that_is_said(
    store: ConversationStore, path: Path, lose: object
) -> None:
    asked = ask(store, "Before")
    assert callable(lose)
    lose(path)
    store.add_user_message(asked.conversation_id, asked.id, "After")
    news = store.pop_file_notice()
    assert news is not None
    assert str(path) in news.message
    assert news.cure
    assert store.pop_file_notice() is None, "it is told once"
    assert mode_of(path) == 0o600
    assert said_in(path) == ["Before", "After"]
    answer(store, asked)
    assert store.pop_file_notice() is None
    store.close()
    assert list(path.parent.iterdir()) == [path]
    assert said_in(path) == ["Before", "After", "Hello."]


WRITES: dict[str, Callable[[ConversationStore, int], object]] = {
    "draft": lambda store, it: store.set_draft(it, "typed"),
    "new draft": lambda store, it: store.set_new_draft("typed"),
    "title": lambda store, it: store.rename(it, "Renamed"),
    "settings": lambda store, it: store.set_settings(it, system_prompt="Be brief.", sampling=None, model=""),
    "deletion": lambda store, it: store.delete(it),
    "partial reply": lambda store, it: store.begin_reply(it, 1, STARTED),
}


@pytest.mark.parametrize("what", WRITES)
def test_whatever_is_written_goes_to_a_file_at_the_path(
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
def test_whatever_is_written_is_in_a_copy_of_the_file_alone_once_merged(
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
def test_where_a_link_leads_to_a_file_that_has_gone_it_leads_to_the_new_one(
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
        news = store.pop_file_notice()
        assert news is not None
        assert news.kind == "database_written_anew"
        assert str(link) in news.message
    assert link.is_symlink()
    assert list(link.parent.iterdir()) == [link]
    assert list(path.parent.iterdir()) == [path], "and no log of the file before lies beside it"
    assert said_in(path) == ["Before", "After"]


def test_a_link_that_has_gone_is_written_anew_as_a_file(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "conversations.db"
    open_store(path).close()
    link.symlink_to(path)
    with closing(open_store(link)) as store:
        asked = ask(store, "Before")
        link.unlink()
        store.add_user_message(asked.conversation_id, asked.id, "After")
    assert said_in(link) == ["Before", "After"]
    assert said_in(path) == ["Before"]


def test_a_folder_that_may_not_be_entered_any_more_is_said_and_has_not_gone(
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


def test_it_may_go_twice(store: ConversationStore, path: Path) -> None:
    for text in ("one", "two", "three"):
        ask(store, text)
        shutil.rmtree(path.parent)
    ask(store, "four")
    assert said_in(path) == ["one", "two", "three", "four"]


def test_another_file_in_its_place_is_never_touched_and_this_session_goes_on_beside_it(
    store: ConversationStore, path: Path
) -> None:
    asked = ask(store, "Mine")
    path.rename(path.with_name("mine.db"))
    other = open_store(path)
    ask(other, "Theirs")  # and only in the log yet
    answer(store, asked, "Mine too.")
    news = store.pop_file_notice()
    assert news is not None
    assert f"Another file has replaced {path}" in news.message
    (beside,) = path.parent.glob("conversations.db.rescued-????????")
    assert str(beside) in news.message
    assert mode_of(beside) == 0o600
    assert said_in(beside) == ["Mine", "Mine too."]
    assert said_in(path) == ["Theirs"], "its log is there as well"
    ask(store, "Still mine")
    assert store.pop_file_notice() is None, "it is told once"
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
    news = second.pop_file_notice()
    assert news is not None
    before, command = news.cure.split(", then: ")
    assert "quit every window, move the other file away (with its -wal and -journal" in before
    first.close()
    second.close()
    away = path.rename(path.with_name("away.db"))
    subprocess.run(command, shell=True, check=True)
    assert said_in(path) == ["Before", "Second"]
    assert said_in(away) == ["Before", "First"]


@pytest.mark.parametrize("content", [b"", b"no database", b"folder", b"pipe"])
def test_whatever_takes_its_place_nothing_is_lost(
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


def test_where_it_cannot_be_written_anew_that_is_said_and_it_goes_on_once_it_can(
    store: ConversationStore, path: Path
) -> None:
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


def test_somebody_who_reads_does_not_hold_the_merge_up(store: ConversationStore, path: Path) -> None:
    ask(store, "Hello?")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM messages").fetchall()
        ask(store, "Again?")
        store.merge_log()
        assert store.is_log_filled, "what comes after that reader's look is still to be merged"
