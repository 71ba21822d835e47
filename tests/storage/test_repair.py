"""Repair replaces a damaged file by its backup and its readable rows, and keeps the damaged file."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.storage.examples import HandClock, answer, ask, mode_of, version_of, without_root
from tests.storage.test_recordings import RECORDED, recorded_reply
from ttchat_tui.storage.backups import back_up, backup_folder, backups_of
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.migration import MIGRATIONS, steps
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.repair import repair

PAGE = 4096
TABLE_LEAF = 13
"""The first byte of such a page (sqlite.org/fileformat2.html, 1.6)."""
CONVERSATIONS, TURNS = 5, 8


def fill(path: Path, *, clock: HandClock | None = None) -> Path:
    """Conversations of many pages, some messages longer than one; in each, the first reply was tried twice."""
    store = open_store(path, clock=clock or HandClock())
    for number in range(CONVERSATIONS):
        asked = ask(store, f"Question {number}")
        answer(store, asked, "A first try.")
        for turn in range(TURNS):
            reply = answer(store, asked, f"Reply {turn} " + "of many words " * (turn % 4) ** 4 * 3)
            asked = store.add_user_message(asked.conversation_id, reply.id, f"And {turn}, ünï?")
    store.drafts.set(None, "not sent")
    store.close()
    return path


@pytest.fixture
def filled(path: Path) -> Path:
    return fill(path)


def rows_in(path: Path, table: str = "messages") -> dict[int, tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0]: row for row in connection.execute(f"SELECT * FROM {table}")}


def parents_in(path: Path) -> dict[int, int | None]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT id, parent_id FROM messages").fetchall())


def overwrite(path: Path, offset: int, damage: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(damage)


def ids_by_page(path: Path) -> dict[int, list[int]]:
    """The ids of the messages that are lost without a page of the table, by the page's offset."""
    data = path.read_bytes()
    found: dict[int, list[int]] = {}
    for start in range(PAGE, len(data), PAGE):
        if data[start] == TABLE_LEAF and b"CREATE T" not in data[start : start + PAGE]:
            probe = path.with_name("probe.db")
            probe.write_bytes(data[:start] + bytes(PAGE) + data[start + PAGE :])
            kept = readable_ids(probe)
            if kept and (
                lost := rows_in(path).keys() - kept
            ):  # without a page of the schema, none is readable
                found[start] = sorted(lost)
            probe.unlink()
    return found


def readable_ids(path: Path) -> set[int]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        found: set[int] = set()
        for message_id in range(1, 200):
            with suppress(sqlite3.DatabaseError):
                found.update(
                    each
                    for (each,) in connection.execute(
                        "SELECT id FROM messages NOT INDEXED WHERE id = ?", (message_id,)
                    )
                )
    return found


def pages_of(path: Path, name: str) -> list[int]:
    """The offset of the root page of a table or index."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return [(number - 1) * PAGE for (number,) in connection.execute(query, (name,))]


def assert_sound(path: Path) -> None:
    assert mode_of(path) == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    store = open_store(path)
    assert store.mode == "read-write"
    for conversation in store.conversations():
        assert conversation.head_id is not None
        assert store.path(conversation.head_id)
        assert len(store.tree(conversation.id)) == conversation.message_count
    store.close()


def test_a_lost_page_costs_its_messages_and_no_others(filled: Path) -> None:
    before, parents = rows_in(filled), parents_in(filled)
    pages = ids_by_page(filled)
    place, lost = next((place, ids) for place, ids in pages.items() if 25 in ids)
    overwrite(filled, place, b"\xff" * PAGE)
    damaged = filled.read_bytes()
    done = repair(filled)
    assert done is not None
    assert (done.messages, done.known_messages) == (len(before) - len(lost), len(before))
    assert done.conversations == CONVERSATIONS
    assert done.kept_as == filled.with_name("conversations.db.damaged-1")
    assert done.kept_as.read_bytes() == damaged
    assert_sound(filled)
    after = rows_in(filled)
    assert after.keys() == before.keys() - set(lost)
    for message_id, row in after.items():
        above = parents[message_id]
        while above in lost:
            above = parents[above]
        assert row == (*before[message_id][:2], above, *before[message_id][3:])


def test_without_a_backup_a_lost_root_page_changes_nothing(filled: Path) -> None:
    on_the_root_of_messages(filled)
    before = files_in(filled.parent)
    with pytest.raises(StorageError, match="No conversation can be read"):
        repair(filled)
    assert files_in(filled.parent) == before


def say_more(path: Path) -> None:
    """Add what no backup has yet: a new conversation, a message in an old one, a title."""
    store = open_store(path, clock=HandClock(1_700_000_100.0))
    answer(store, ask(store, "Said since?"), "Yes.")
    old = store.conversation(1)
    store.add_user_message(1, old.head_id, "And one more.")
    store.rename(2, "Renamed since")
    store.close()


def test_lost_rows_come_from_the_backup_and_newer_ones_from_the_file(
    filled: Path,
) -> None:
    back_up(filled)
    say_more(filled)
    before = [rows_in(filled, table) for table in ("messages", "conversations")]
    place, lost = next((place, ids) for place, ids in ids_by_page(filled).items() if 25 in ids)
    overwrite(filled, place, b"\xff" * PAGE)
    done = repair(filled)
    assert done is not None
    assert done.backup == backups_of(filled)[0]
    assert done.from_backup == len(lost)
    assert done.messages == done.known_messages == len(before[0])
    assert_sound(filled)
    assert [rows_in(filled, table) for table in ("messages", "conversations")] == before


def test_an_unreadable_file_is_restored_from_the_backup(filled: Path) -> None:
    before = [rows_in(filled, table) for table in ("messages", "conversations")]
    back_up(filled)
    filled.write_bytes(b"Dear diary, " * 4000)
    done = repair(filled)
    assert done is not None
    assert done.from_backup == done.messages == len(before[0])
    assert_sound(filled)
    assert [rows_in(filled, table) for table in ("messages", "conversations")] == before
    store = open_store(filled)
    assert store.drafts.of(None).text == "not sent"
    store.close()


def test_a_damaged_backup_is_skipped(filled: Path) -> None:
    clock = HandClock()
    back_up(filled, clock=clock)
    clock.now += 24 * 3600.0
    back_up(filled, clock=clock)
    newest, oldest = backups_of(filled)
    overwrite(newest, 2 * PAGE, b"\xff" * 3 * PAGE)
    on_the_root_of_messages(filled)
    done = repair(filled)
    assert done is not None
    assert done.backup == oldest
    assert done.messages == len(rows_in(oldest))


def test_a_folder_of_backups_that_cannot_be_read_is_reported(reachable_path: Path) -> None:
    fill(reachable_path)
    in_an_index(reachable_path)
    folder = backup_folder(reachable_path)
    folder.mkdir()
    folder.chmod(0)
    with without_root(reachable_path.parent), pytest.raises(StorageError) as caught:
        repair(reachable_path)
    assert caught.value.info.kind == "permission_denied"
    assert str(folder) in caught.value.info.message
    folder.chmod(0o700)


def test_a_backup_of_an_earlier_database_is_not_mixed_with_a_new_one(filled: Path) -> None:
    back_up(filled)
    filled.unlink()
    store = open_store(filled, clock=HandClock(1_700_009_000.0))
    answer(store, ask(store, "A new start?"))
    store.close()
    before = rows_in(filled)
    in_an_index(filled)
    done = repair(filled)
    assert done is not None
    assert done.backup is None
    assert rows_in(filled) == before


def test_a_conversation_deleted_since_the_backup_stays_deleted(filled: Path) -> None:
    back_up(filled)
    store = open_store(filled)
    store.delete(3)
    store.close()
    in_an_index(filled)
    assert repair(filled) is not None
    store = open_store(filled)
    assert 3 not in {each.id for each in store.conversations()}
    store.close()


def in_the_middle_of_a_page_of_messages(path: Path) -> None:
    overwrite(path, list(ids_by_page(path))[3] + 1700, b"\xa5" * 300)


def on_the_root_of_messages(path: Path) -> None:
    overwrite(path, pages_of(path, "messages")[0], b"\xff" * PAGE)


def in_an_index(path: Path) -> None:
    overwrite(path, pages_of(path, "messages_by_parent")[0], b"\xff" * PAGE)


def on_the_header(path: Path) -> None:
    overwrite(path, 0, b"This is a letter, not a database." * 3)


def on_the_schema(path: Path) -> None:
    overwrite(path, 100, bytes(3000))


def on_the_first_page(path: Path) -> None:
    overwrite(path, 0, bytes(PAGE))


def on_the_version(path: Path) -> None:
    overwrite(path, 60, bytes(4))


BESIDE_THE_ROOT = [in_an_index, on_the_header, on_the_schema, on_the_first_page, on_the_version]


@pytest.mark.parametrize(
    ("damage", "has_backup"),
    [(on_the_root_of_messages, True), *itertools.product(BESIDE_THE_ROOT, [True, False])],
)
def test_damage_beside_the_messages_costs_none(
    filled: Path, damage: Callable[[Path], None], has_backup: bool
) -> None:
    before = [rows_in(filled, table) for table in ("messages", "conversations")]
    if has_backup:
        back_up(filled)
    damage(filled)
    damaged = filled.read_bytes()
    done = repair(filled)
    assert done is not None
    assert done.messages == done.known_messages == len(before[0])
    assert done.kept_as.read_bytes() == damaged
    assert_sound(filled)
    assert [rows_in(filled, table) for table in ("messages", "conversations")] == before
    store = open_store(filled)
    assert store.drafts.of(None).text == "not sent"
    store.close()


def test_recordings_are_kept_if_they_can_be_read(filled: Path) -> None:
    store = open_store(filled)
    reply_id, damaged_id = recorded_reply(store), recorded_reply(store)
    store.close()
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE recordings SET data = 'text' WHERE message_id = ?", (damaged_id,))
        connection.execute("UPDATE messages SET sampling = '{' WHERE id = ?", (damaged_id,))
    assert repair(filled) is not None
    store = open_store(filled)
    assert store.recordings.of(reply_id) == RECORDED
    assert not store.recordings.of(damaged_id).tokens
    assert store.message(damaged_id).content == " ab"
    store.close()


def test_what_waits_in_the_queue_is_kept_if_it_can_be_read(filled: Path) -> None:
    store = open_store(filled)
    store.queue.add(1, "Later, please", 2)
    store.queue.add(1, "damaged", 1)
    store.close()
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE queue SET candidates = 'two' WHERE id = 2")
    in_an_index(filled)
    assert repair(filled) is not None
    store = open_store(filled)
    assert [(each.content, each.candidates) for each in store.queue.messages()] == [("Later, please", 2)]
    store.close()


@pytest.mark.parametrize(
    "column", ["conversation_id", "parent_id", "content", "created_at", "head_id", "title"]
)
def test_a_damaged_name_of_a_column_costs_nothing(filled: Path, column: str) -> None:
    before = [rows_in(filled, table) for table in ("messages", "conversations")]
    name = f"\n    {column} ".encode()
    overwrite(filled, filled.read_bytes().index(name) + 5, b"x")
    assert repair(filled) is not None
    assert_sound(filled)
    assert [rows_in(filled, table) for table in ("messages", "conversations")] == before


def test_overwritten_bytes_cost_only_the_rows_they_hit(filled: Path) -> None:
    before = rows_in(filled)
    hit = set(list(ids_by_page(filled).values())[3])
    in_the_middle_of_a_page_of_messages(filled)
    done = repair(filled)
    assert done is not None
    assert_sound(filled)
    after = rows_in(filled)
    assert len(before) - 3 <= len(after) <= len(before)
    assert before.keys() - after.keys() <= hit
    assert all(after[each][15] == before[each][15] for each in before.keys() - hit)


def test_the_rest_of_a_truncated_file_is_saved(filled: Path) -> None:
    before = rows_in(filled)
    size = filled.stat().st_size * 3 // 4 + 77
    os.truncate(filled, size)
    done = repair(filled)
    assert done is not None
    assert 0 < done.messages < len(before)
    assert done.kept_as.stat().st_size == size
    assert_sound(filled)
    after = rows_in(filled)
    assert after.keys() < before.keys()
    assert all(after[each][15] == before[each][15] for each in after)


def test_a_lost_conversation_is_rebuilt_from_its_messages(filled: Path) -> None:
    before = rows_in(filled)
    overwrite(filled, pages_of(filled, "conversations")[0], bytes(PAGE))
    done = repair(filled)
    assert done is not None
    assert (done.messages, done.conversations) == (len(before), CONVERSATIONS)
    assert_sound(filled)
    assert rows_in(filled) == before
    store = open_store(filled)
    found = store.conversations()
    assert sorted(each.title for each in found) == [f"Question {number}" for number in range(CONVERSATIONS)]
    assert all(each.head_id == max(message.id for message in store.tree(each.id)) for each in found)
    assert {each.model for each in found} == {"smollm2"}
    store.close()


def test_a_lost_head_becomes_the_newest_message(filled: Path) -> None:
    last = max(rows_in(filled))
    pages = ids_by_page(filled)
    place, lost = next((place, ids) for place, ids in pages.items() if last in ids)
    overwrite(filled, place, bytes(PAGE))
    assert repair(filled) is not None
    assert_sound(filled)
    store = open_store(filled)
    heads = {each.head_id for each in store.conversations()}
    assert min(lost) - 1 in heads
    assert ask(store).id == last + 1  # an id is never given twice
    store.close()


LEAVES_A_LOG = """
import os, sys
from pathlib import Path
from tests.storage.examples import answer, ask
from ttchat_tui.storage.migration import MIGRATIONS, steps
from ttchat_tui.storage.opening import open_store
store = open_store(Path(sys.argv[1]))
answer(store, ask(store, "In the log?"), "In the log.")
os._exit(9)
"""


@pytest.mark.parametrize("damage", [None, on_the_header, on_the_first_page])
def test_rows_that_are_only_in_the_log_are_saved_and_the_log_is_kept(
    filled: Path, damage: Callable[[Path], None] | None
) -> None:
    subprocess.run([sys.executable, "-c", LEAVES_A_LOG, str(filled)], check=False, timeout=60)
    log = Path(f"{filled}-wal").read_bytes()
    assert b"In the log." in log
    assert b"In the log." not in filled.read_bytes()
    if damage is not None:
        damage(filled)
    done = repair(filled)
    assert done is None or Path(f"{done.kept_as}-wal").read_bytes() == log
    store = open_store(filled)
    assert store.mode == "read-write"
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    assert [each.content for each in store.path(latest.head_id)] == ["In the log?", "In the log."]
    store.close()


def test_a_kept_file_is_never_overwritten(filled: Path) -> None:
    for number in (1, 2, 3):
        on_the_header(filled)
        damaged = filled.read_bytes()
        done = repair(filled)
        assert done is not None
        assert done.kept_as.name == f"conversations.db.damaged-{number}"
        assert done.kept_as.read_bytes() == damaged
        assert mode_of(done.kept_as) == 0o600
    assert sorted(each.name for each in filled.parent.iterdir()) == [
        "conversations.db",
        *(f"conversations.db.damaged-{number}" for number in (1, 2, 3)),
    ]


def test_a_title_with_invalid_bytes_is_damage(filled: Path) -> None:
    overwrite(filled, filled.read_bytes().index(b"Question 2"), b"\x80")
    done = repair(filled)
    assert done is not None
    assert done.messages == done.known_messages
    assert_sound(filled)
    assert rows_in(filled, "conversations")[3][5] == "\ufffduestion 2"


def test_text_with_invalid_bytes_is_shown_with_replacements(filled: Path) -> None:
    content = filled.read_bytes()
    overwrite(filled, content.index(b"And 3, \xc3\xbcn") + 8, b"\xff")
    store = open_store(filled)
    assert any("And 3, \ufffd" in message.content for message in store.tree(1))
    store.close()
    done = repair(filled)
    assert done is not None
    assert done.messages == done.known_messages
    assert_sound(filled)
    assert any("And 3, \ufffd" in str(row[15]) for row in rows_in(filled).values())


def test_unreadable_statistics_go_and_the_text_stays(filled: Path) -> None:
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET stats = '{' WHERE id = 5")
        connection.execute("UPDATE conversations SET sampling = '[' WHERE id = 2")
    before = rows_in(filled)
    assert repair(filled) is not None
    assert_sound(filled)
    after = rows_in(filled)
    assert {each: row[15] for each, row in after.items()} == {each: row[15] for each, row in before.items()}
    assert [each for each in before if before[each] != after[each]] == [5]


def files_in(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_a_file_of_an_older_schema_is_saved_into_the_newest(filled: Path, tmp_path: Path) -> None:
    before = rows_in(filled)
    migrations = Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))
    number = steps(migrations)[-1][0] + 1
    changes = "ALTER TABLE messages RENAME COLUMN engine TO ran_by; ALTER TABLE messages ADD COLUMN stars DEFAULT 3;"
    (migrations / f"{number:03}.sql").write_text(changes.replace("; ", ";\n"), encoding="utf-8")
    in_an_index(filled)
    assert repair(filled, migrations=migrations) is not None
    assert version_of(filled) == number
    after = rows_in(filled)
    assert {each: (*row[:9], *row[10:]) for each, row in before.items()} == {
        each: (*row[:9], *row[10:-1]) for each, row in after.items()
    }
    assert {row[-1] for row in after.values()} == {3}


def test_an_intact_file_is_not_changed(filled: Path) -> None:
    before = files_in(filled.parent)
    assert repair(filled) is None
    assert files_in(filled.parent) == before


def test_an_empty_file_is_intact(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert repair(path) is None


@pytest.mark.parametrize("content", [bytes(10 * PAGE), b"Dear diary, " * 4000])
def test_an_unreadable_file_without_a_backup_is_not_changed(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageError, match="No conversation can be read") as caught:
        repair(path)
    assert caught.value.info.kind == "database_corrupt"
    assert f"mv {path} {path}.damaged" in caught.value.info.cure
    assert files_in(path.parent) == {path.name: content}


HOLDS = """
import sys
from pathlib import Path
from ttchat_tui.storage.migration import MIGRATIONS, steps
from ttchat_tui.storage.opening import open_store
store = open_store(Path(sys.argv[1]))
print(store.mode, flush=True)
sys.stdin.read()
"""


def test_a_file_that_a_running_app_has_open_is_left_alone(filled: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(filled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "read-write\n"
    in_an_index(filled)
    damaged = filled.read_bytes()
    with pytest.raises(StorageError, match="open; nothing was changed") as caught:
        repair(filled)
    assert caught.value.info.kind == "database_locked"
    assert filled.read_bytes() == damaged
    holder.communicate()
    assert repair(filled) is not None


def test_a_missing_file_is_not_created(path: Path) -> None:
    path.parent.mkdir()
    with pytest.raises(StorageError, match="does not exist"):
        repair(path)
    assert files_in(path.parent) == {}


def test_the_file_of_a_newer_app_is_not_changed(filled: Path) -> None:
    overwrite(filled, 60, (47).to_bytes(4, "big"))
    in_an_index(filled)
    before = files_in(filled.parent)
    with pytest.raises(StorageError, match="newer ttchat-tui") as caught:
        repair(filled)
    assert caught.value.info.kind == "database_newer"
    assert files_in(filled.parent) == before


def test_if_the_new_file_cannot_be_renamed_the_old_one_is_restored(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_an_index(filled)
    before = files_in(filled.parent)
    rename = os.rename

    def fail(source: str | Path, target: str | Path) -> None:
        if Path(source).name == "repaired.db":
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StorageError) as caught:
        repair(filled)
    assert caught.value.info.kind == "disk_full"
    assert files_in(filled.parent) == before


def test_there_is_a_file_at_the_path_at_every_moment(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_an_index(filled)
    Path(f"{filled}-wal").write_bytes(b"a log")
    rename = os.rename

    def watched(source: str | Path, target: str | Path) -> None:
        assert filled.exists()
        rename(source, target)
        assert filled.exists()

    monkeypatch.setattr(os, "rename", watched)
    done = repair(filled)
    assert done is not None
    assert Path(f"{done.kept_as}-wal").read_bytes() == b"a log"
    assert_sound(filled)


def test_without_hard_links_the_damaged_file_is_renamed(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str | Path, target: str | Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    in_an_index(filled)
    damaged = filled.read_bytes()
    monkeypatch.setattr(os, "link", refuse)
    done = repair(filled)
    assert done is not None
    assert done.kept_as.read_bytes() == damaged
    assert_sound(filled)


@cache
def good() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return fill(Path(folder) / "conversations.db").read_bytes()


@settings(max_examples=sized(12, 600), deadline=None)
@given(data=st.data())
def test_no_damage_invents_rows_and_the_file_is_kept(data: st.DataObject) -> None:
    content = bytearray(good())
    for _ in range(data.draw(st.integers(1, 4))):
        page = data.draw(st.integers(0, len(content) // PAGE - 1)) * PAGE
        offset = page + data.draw(st.integers(0, PAGE - 1))
        damage = data.draw(st.binary(min_size=1, max_size=60)) * data.draw(st.sampled_from([1, 1, 80]))
        end = min(offset + len(damage), len(content))
        content[offset:end] = damage[: end - offset]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversations.db"
        path.write_bytes(content)
        open_store(path).close()  # never raises
        for each in path.parent.iterdir():
            each.unlink()
        path.write_bytes(content)
        path.chmod(0o600)
        try:
            done = repair(path)
        except StorageError:
            assert files_in(path.parent) == {path.name: bytes(content)}
            return
        assert_sound(path)
        whole = path.with_name("good.db")
        whole.write_bytes(good())
        before, after = rows_in(whole), rows_in(path)
        assert after.keys() <= before.keys()
        if done is not None:
            assert done.kept_as.read_bytes() == content
            assert done.messages == len(after)


@pytest.mark.parametrize("version", [steps(MIGRATIONS)[-1][0] + 1, 9999, 2**31 - 1])
def test_the_schema_of_a_newer_app_is_refused_and_not_changed(filled: Path, version: int) -> None:
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = filled.read_bytes()
    with pytest.raises(StorageError, match=f"newer ttchat-tui .schema {version}") as caught:
        repair(filled)
    assert caught.value.info.kind == "database_newer"
    assert filled.read_bytes() == before


def test_a_damaged_version_is_repaired(filled: Path) -> None:
    before = rows_in(filled)
    overwrite(filled, 60, b"\xff\xa5\xff\xa5")
    assert repair(filled) is not None
    assert_sound(filled)
    assert rows_in(filled) == before
