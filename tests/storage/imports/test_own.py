"""Our own JSON comes back as it was, and only once."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from tests.size import sized
from tests.storage.examples import answer, ask
from tests.storage.imports.conversations import conversation_files, exported, numbered, run, write
from ttchat_tui.storage.export import ConversationFile, export_json
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.titles import title_from


@settings(max_examples=sized(12, 2000), deadline=None)
@given(conversation_files())
def test_export_import_export_gives_the_same(file: ConversationFile) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = run(folder / "first.db", write(file, folder / "talk.json"))
        assert (report.added, report.messages, report.problems) == (1, len(file.messages), ())
        (first,) = exported(folder / "first.db")
        if not file.conversation.title:
            asked = next((each.content for each in file.messages if each.role == "user"), "")
            file = msgspec.structs.replace(
                file, conversation=msgspec.structs.replace(file.conversation, title=title_from(asked))
            )
        assert numbered(first) == numbered(file)
        run(folder / "second.db", write(first, folder / "again.json"))
        (second,) = exported(folder / "second.db")
        assert second == first
        again = run(folder / "first.db", folder / "again.json", folder / "talk.json")
        assert (again.added, again.messages, again.unchanged) == (0, 0, 2)
        assert exported(folder / "first.db") == [first]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """One conversation: a question with two replies, and another question below the second."""
    path = tmp_path / "conversations.db"
    store = open_store(path)
    asked = ask(store)
    answer(store, asked, "First.")
    second = answer(store, asked, "Second.")
    store.add_user_message(second.conversation_id, second.id, "And now?")
    store.close()
    return path


@pytest.fixture
def file(database: Path, tmp_path: Path) -> Path:
    return write(exported(database)[0], tmp_path / "talk.json")


def test_a_dry_run_reports_the_same_and_changes_nothing(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    dry = run(other, file, is_dry_run=True)
    assert exported(other) == []
    assert run(other, file) == dry
    assert (dry.added, dry.messages) == (1, 4)


def test_what_was_said_since_is_added_below_and_shown(file: Path, database: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    run(other, file)
    store = open_store(database)
    conversation = store.conversations()[0]
    last = store.shown_path(conversation)[-1]
    answer(store, last, "Now as well.")
    answer(store, store.shown_path(conversation)[0], "Third.")
    store.set_head(conversation.id, store.leaf_of(last.id).id)
    store.close()
    report = run(other, write(exported(database)[0], tmp_path / "later.json"))
    assert (report.added, report.extended, report.messages) == (0, 1, 2)
    assert numbered(exported(other)[0]) == numbered(exported(database)[0])


def test_what_was_said_here_stays(file: Path, database: Path) -> None:
    store = open_store(database)
    conversation = store.conversations()[0]
    answer(store, store.shown_path(conversation)[-1], "Only here.")
    store.close()
    before = exported(database)
    report = run(database, file)
    assert (report.unchanged, report.extended) == (1, 0)
    assert exported(database) == before


def test_a_deleted_conversation_comes_back_in_its_place(file: Path, database: Path) -> None:
    before = exported(database)
    store = open_store(database)
    store.delete(before[0].conversation.id)
    store.close()
    report = run(database, file)
    assert (report.added, report.restored, str(report)) == (0, 1, "1 conversation restored")
    assert exported(database) == before


def test_equal_replies_are_counted_one_by_one(tmp_path: Path) -> None:
    database, other = tmp_path / "a.db", tmp_path / "b.db"
    store = open_store(database)
    asked = ask(store)
    answer(store, asked, "Same.")
    store.close()
    run(other, write(exported(database)[0], tmp_path / "one.json"))
    store = open_store(database)
    answer(store, asked, "Same.")
    store.close()
    assert run(other, write(exported(database)[0], tmp_path / "two.json")).messages == 1


def test_a_reply_that_was_being_written_is_interrupted(database: Path, tmp_path: Path) -> None:
    made = json.loads(export_json(exported(database)[0].conversation, exported(database)[0].messages))
    made["messages"][-2]["status"] = "streaming"
    path = tmp_path / "streaming.json"
    path.write_text(json.dumps(made))
    other = tmp_path / "other.db"
    run(other, path)
    assert [each.status for each in exported(other)[0].messages][-2] == "interrupted"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "a newer ttchat-tui wrote it (version 2 of the format, this one knows 1)"),
        ({"messages": 7}, "messages is not a list"),
        ({"messages": [{"id": 1}]}, "item 1 of messages has no "),
        ({"conversation": None}, "conversation is not an object"),
        ({"format": "another"}, "format has an unknown value: 'another'"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named_with_the_place(
    file: Path, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    report = run(tmp_path / "other.db", file)
    assert (report.added, report.skipped) == (0, 1)
    assert report.problems[0].place == "talk.json"
    assert report.problems[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", 1), ("parent_id", 4), ("seed", -1), ("seed", 2**64), ("token_ids", [2**32]), ("temperature", 9)],
)
def test_a_value_that_the_database_cannot_hold_costs_the_conversation_and_no_other(
    file: Path, tmp_path: Path, field: str, value: object
) -> None:
    made = json.loads(file.read_text())
    reply = made["messages"][2]
    at = reply if field in reply else reply["reply"]["sampling"] if field == "temperature" else reply["reply"]
    at[field] = value
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(made))
    report = run(tmp_path / "other.db", bad, file)
    assert (report.added, report.skipped) == (1, 1)
    assert report.problems[0].place == "bad.json"
