"""Any sequence of branches, removals, deletions and restarts leaves the same tree as a model in a dict."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from tests.size import sized
from tests.storage.examples import FINISHED, STARTED
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_store


class TreeMachine(RuleBasedStateMachine):
    """The model: `parents` maps a message to its parent, in order of creation."""

    messages = Bundle("messages")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "conversations.db"
        self.store = open_store(self.path)
        self.conversation_id = self.store.create_conversation(title="T").id
        self.parents: dict[int, int | None] = {}
        self.contents: dict[int, str] = {}
        self.head: int | None = None
        self.is_deleted = False

    def _children(self, parent: int | None) -> list[int]:
        return [each for each, above in self.parents.items() if above == parent]

    def _added(self, message_id: int, parent: int | None, content: str) -> int:
        assert message_id not in self.parents
        self.parents[message_id], self.contents[message_id], self.head = parent, content, message_id
        return message_id

    @precondition(lambda self: not self.is_deleted)
    @rule(target=messages, content=st.text(max_size=5))
    def add_root(self, content: str) -> int:
        return self._added(self.store.add_user_message(self.conversation_id, None, content).id, None, content)

    @precondition(lambda self: not self.is_deleted)
    @rule(target=messages, parent=messages, content=st.text(max_size=5))
    def ask(self, parent: int, content: str) -> int:
        return self._added(
            self.store.add_user_message(self.conversation_id, parent, content).id, parent, content
        )

    @precondition(lambda self: not self.is_deleted)
    @rule(target=messages, parent=messages, content=st.text(max_size=5))
    def reply(self, parent: int, content: str) -> int:
        reply = self.store.begin_reply(self.conversation_id, parent, STARTED)
        self.store.checkpoint(reply.id, content[:2], (1,))
        self.store.finish_reply(reply.id, content, "complete", FINISHED)
        return self._added(reply.id, parent, content)

    @rule(target=messages, message=consumes(messages))
    def remove(self, message: int):  # type: ignore[no-untyped-def]
        if self._children(message):
            with pytest.raises(StorageError):
                self.store.remove_message(message)
            return message
        self.store.remove_message(message)
        parent = self.parents.pop(message)
        if self.head == message:
            self.head = parent
        return multiple()

    @precondition(lambda self: not self.is_deleted)
    @rule(message=messages)
    def show(self, message: int) -> None:
        self.store.set_head(self.conversation_id, message)
        self.head = message

    @precondition(lambda self: not self.is_deleted)
    @rule()
    def delete(self) -> None:
        self.store.delete(self.conversation_id)
        self.is_deleted = True

    @rule()
    def undelete(self) -> None:
        self.store.undelete(self.conversation_id)
        self.is_deleted = False

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = open_store(self.path)
        assert self.store.recover() == []

    @invariant()
    def listed_as_it_is(self) -> None:
        listed = [each.id for each in self.store.conversations()]
        assert listed == ([self.conversation_id] if self.parents and not self.is_deleted else [])
        if not self.is_deleted:
            found = self.store.conversation(self.conversation_id)
            assert (found.head_id, found.message_count) == (self.head, len(self.parents))

    @invariant()
    def branches_as_they_are(self) -> None:
        for parent in (None, *self.parents):
            children = self.store.children(parent, self.conversation_id)
            assert [each.id for each in children] == self._children(parent)
            assert [each.sibling_index for each in children] == list(range(len(children)))
            assert all(each.sibling_count == len(children) for each in children)

    def _path(self, message: int | None) -> list[int]:
        return [] if message is None else [*self._path(self.parents[message]), message]

    @invariant()
    def paths_as_they_are(self) -> None:
        paths = {message: self._path(message) for message in self.parents}
        for message, path in paths.items():
            found = self.store.path(message)
            assert [each.id for each in found] == path
            assert found[-1].content == self.contents[message]
            assert self.store.leaf_of(message).id == max(each for each in paths if message in paths[each])

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TreeMachine.TestCase.settings = settings(max_examples=sized(13, 400), stateful_step_count=20, deadline=None)
TestTree = TreeMachine.TestCase
