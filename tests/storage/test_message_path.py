"""A path that is read when it is wanted: it is the list that it would be if it were read at once, and reads little."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.size import sized
from tests.storage.examples import ask
from ttchat_tui.domain.conversation import Message
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import PAGE, MessagePath


def message(message_id: int, content: str = "") -> Message:
    return Message(
        id=message_id,
        conversation_id=1,
        parent_id=message_id - 1 or None,
        sibling_index=0,
        sibling_count=1,
        role="user",
        content=content or f"message {message_id}",
        status="complete",
        created_at=0.0,
    )


class Stored:
    """Messages 1 to `count`, and what was read of them."""

    def __init__(self, count: int) -> None:
        self.all = {each: message(each) for each in range(1, count + 1)}
        self.read: list[int] = []

    def __call__(self, ids: Sequence[int]) -> list[Message]:
        self.read += ids
        return [self.all[each] for each in reversed(ids)]


@settings(max_examples=sized(25, 1500), deadline=None)
@given(st.data())
def test_whatever_is_done_to_a_path_it_is_the_list_of_its_messages(data: st.DataObject) -> None:
    stored = Stored(data.draw(st.integers(0, 4 * PAGE)))
    path, model = MessagePath(stored, list(stored.all)), list(stored.all.values())
    newest = len(model)
    for _ in range(data.draw(st.integers(1, 14))):
        place = data.draw(st.integers(0, max(0, len(model) - 1)))
        match data.draw(
            st.sampled_from(
                ["at", "end", "slice", "append", "add", "replace", "drop", "more", "back", "joined"]
            )
        ):
            case "at" if model:
                assert path[place] == model[place] == path.message(model[place].id)
                assert path.place_of(model[place].id) == place
            case "end" if model:
                assert path[-1] == model[-1]
            case "slice":
                path, model = path[: place + 1], model[: place + 1]
            case "append":
                newest += 1000
                path.append(message(newest))
                model.append(message(newest))
            case "add":
                newest += 2000
                path += [message(newest), message(newest + 1)]
                model += [message(newest), message(newest + 1)]
            case "replace" if model:
                before, old = path, model[place]
                newer = replace(old, content="newer")
                path = path.with_messages(newer)
                model[place] = newer
                assert path is not before
                assert before[place] == old, "what others hold stays"
            case "joined" if model:
                path, rest = path[: place + 1], path[place + 1 :]
                model[place] = replace(path[place], content="newest")
                path = path.with_messages(model[place])
                path += rest
            case "drop" if model:
                path, model = path.without({model[place].id}), model[:place] + model[place + 1 :]
            case "more":
                path.read_some()
            case "back":
                assert next(iter(reversed(path)), None) == (model[-1] if model else None)
            case _:
                pass
        assert (len(path), bool(path), path.ids) == (len(model), bool(model), [each.id for each in model])
    for gone in (None, 0, newest + 2, *(each.id + 1 for each in model if each.id + 1 not in path.ids)):
        assert path.place_of(gone) is None
    assert path == model
    assert path.is_read


def test_what_is_on_screen_is_read_and_no_more() -> None:
    stored = Stored(1000)
    path = MessagePath(stored, list(stored.all))
    assert path[-1].id == 1000
    assert path[500].id == 501
    assert len(stored.read) == 2 * PAGE
    assert not path.is_read
    path.read_some()
    assert set(stored.read) >= set(range(1000 - 2 * PAGE, 1000)), "the newest first"
    while not path.is_read:
        path.read_some()
    assert sorted(stored.read) == list(stored.all)


def test_another_branch_keeps_what_both_have_and_reads_the_rest_anew() -> None:
    stored = Stored(10)
    path = MessagePath(stored, list(stored.all))
    assert path == list(stored.all.values())
    other = path.switched([1, 2, 3, 7, 8], 3)
    assert [each.id for each in other] == [1, 2, 3, 7, 8]
    assert stored.read[10:] == [7, 8]


def test_a_message_that_is_gone_is_an_error_with_a_sentence(store: ConversationStore) -> None:
    asked = ask(store)
    path = store.path(asked.id)
    store.remove_message(asked.id)
    with pytest.raises(StorageError, match="This message no longer exists"):
        path[0]
    assert not path.is_read


def test_beside_a_message_that_cannot_be_read_the_others_are() -> None:
    stored = Stored(PAGE)
    del stored.all[5]
    path = MessagePath(lambda ids: [] if 5 in ids else stored(ids), range(1, PAGE + 1))
    assert [path[at].id for at in (3, 5)] == [4, 6]
    with pytest.raises(StorageError):
        path[4]
