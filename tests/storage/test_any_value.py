"""Any value in any column: the app starts, lists, opens, continues, and repair works."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.storage.examples import answer, ask
from ttchat_tui.domain.conversation import Edit, Message
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import export_json
from ttchat_tui.storage.export_markdown import export_markdown
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.repair import repair
from ttchat_tui.ui.widgets.transcript.message_format import view_of

COLUMNS = {
    "conversations": (
        "created_at", "updated_at", "deleted_at", "head_id", "title", "model", "sampling", "system_prompt", "draft",
    ),
    "messages": (
        "conversation_id", "parent_id", "role", "status", "created_at", "writer", "written_at", "model", "engine",
        "seed", "finish_reason", "error", "sampling", "stats", "content", "token_ids",
    ),
    "app_state": ("value",),
    "queue": ("place", "conversation_id", "candidates", "created_at", "writer", "content"),
}  # fmt: skip
PLACES = [(table, column) for table, columns in COLUMNS.items() for column in columns]
VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=9)
    | st.text(max_size=9)
    | st.sampled_from(
        ["{}", "[]", "[" * 5000, '{"temperature": 1e999}', '["m", 0, ""]', '["m", -1, "x"]', "\x00"]
    )
)
AWKWARD: tuple[object, ...] = (
    253_402_300_800.0,
    1e18,
    -1e18,
    float("inf"),
    "soon",
    b"\xff",
    -1,
    0,
    1,
    2,
    "",
    "streaming",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of two conversations, one of them deleted, and a draft."""
    path = tmp_path_factory.mktemp("whole") / "conversations.db"
    store = open_store(path)
    first = answer(store, ask(store, "Hello?"))
    answer(store, store.add_user_message(first.conversation_id, first.id, "And now?"))
    store.delete(answer(store, ask(store, "Gone")).conversation_id)
    store.drafts.set(None, "a draft")
    store.drafts.set(first.conversation_id, "", Edit(first.id, "Hello!"))
    store.queue.add(first.conversation_id, "Later", 2)
    store.close()
    return path.read_bytes()


def use(store: ConversationStore) -> None:
    """Do what the app does at its start, with each conversation, and for an undo."""
    store.recover()
    store.listed()
    store.conversations(filter="a")
    store.recent_prompts()
    assert isinstance(store.drafts.of(None).text, str)
    store.queue.adopt()
    for queued in store.queue.messages():
        assert queued.candidates >= 1
        store.queue.edit(queued, queued.content + "!")
        store.queue.swap(queued, queued)
    for last in store.last_deleted():
        with suppress(StorageError):
            store.undelete(last)
    for listed in store.conversations():
        with suppress(StorageError):  # settings that cannot be read are said, with `repair` as the cure
            store.drafts.of(listed.id)
            conversation = store.conversation(listed.id)
            path = list(store.shown_path(conversation))
            assert path, "every listed conversation has messages, and shows them"
            look_at(path)
            export_markdown(conversation, path)
            export_json(conversation, store.tree(listed.id))


def look_at(path: list[Message]) -> None:
    for message in path:
        assert view_of(message).text == message.content
        assert (message.reply is not None) == (message.role == "assistant")


def damaged(path: Path, whole: bytes, table: str, column: str, value: object) -> bool:
    """Whether SQLite accepts `value` there, with all checks off."""
    path.write_bytes(whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        except (sqlite3.IntegrityError, OverflowError):  # NOT NULL
            return False
    return True


@pytest.mark.parametrize(("table", "column"), PLACES)
def test_an_awkward_value_costs_at_most_its_own_row(
    path: Path, whole: bytes, table: str, column: str
) -> None:
    """Every fourth value, another one in each place, by default; `test_any_value_in_any_column` draws from all the others."""
    path.parent.mkdir()
    first = PLACES.index((table, column))
    for value in AWKWARD[first % sized(4, 1) :: sized(4, 1)]:
        costs_at_most_its_own_row(path, whole, table, column, value)


def costs_at_most_its_own_row(path: Path, whole: bytes, table: str, column: str, value: object) -> None:
    if not damaged(path, whole, table, column, value):
        return
    print(f"{value!r} in {table}.{column}")
    store = open_store(path)
    if (
        store.mode != "read-write"
    ):  # against the schema's own rules: SQLite finds it, and the file stays as it is
        assert store.notice is not None
        assert store.notice.kind == "database_corrupt"
        assert repair(path) is not None
        store.close()
        store = open_store(path)
    assert store.mode == "read-write"
    use(store)
    store.close()


@settings(
    max_examples=sized(25, 1500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(PLACES), VALUES)
@example(("conversations", "updated_at"), 253_402_300_800)
@example(("messages", "parent_id"), 2)
def test_any_value_in_any_column(tmp_path: Path, whole: bytes, place: tuple[str, str], value: object) -> None:
    path = tmp_path / "conversations.db"
    if not damaged(path, whole, *place, value):
        return
    store = open_store(path)
    use(store)
    store.close()
    with suppress(StorageError):
        repair(path)
    mended = open_store(path)
    use(mended)
    mended.close()


def test_a_message_that_is_its_own_parent_ends_the_path(path: Path, whole: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET parent_id = id")
    store = open_store(path)
    assert [message.id for message in store.path(3)] == [3]
    assert store.leaf_of(3).id == 3
    store.close()
