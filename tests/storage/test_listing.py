"""The list of conversations in memory: whatever happens to the database, it is what a fresh reading shows."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from tests.size import sized
from tests.storage.examples import HandClock, ask
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.listing import Listing
from ttchat_tui.storage.opening import open_store

Step = Callable[[ConversationStore, int, str], object]

STEPS: dict[str, Step] = {
    "ask": lambda store, number, text: ask(store, text),
    "answer": lambda store, number, text: store.add_user_message(number, None, text),
    "rename": lambda store, number, text: store.rename(number, text),
    "pin": lambda store, number, text: store.set_pinned([number], len(text) % 2 == 0),
    "archive": lambda store, number, text: store.set_archived([number], len(text) % 2 == 0),
    "tag": lambda store, number, text: store.retag([number], add=[text], remove=["a"]),
    "delete": lambda store, number, text: store.delete(number),
    "undelete": lambda store, number, text: store.undelete(*store.last_deleted()),
    "remove": lambda store, number, text: store.remove_message(number),
    "discard": lambda store, number, text: store.discard(number),
    "create": lambda store, number, text: store.create_conversation(title=text),
}


def test_the_list_follows_every_change_of_this_window_and_of_others(path: Path, clock: HandClock) -> None:
    chance = random.Random(7)
    with closing(open_store(path, clock=clock)) as store, closing(open_store(path, clock=clock)) as other:
        for step in range(sized(120, 3000)):
            clock.now += 1
            name = chance.choice(list(STEPS))
            try:
                STEPS[name](
                    other if chance.random() < 0.2 else store, chance.randint(1, 12), "abcd"[: step % 5]
                )
            except StorageError:
                pass  # there is no such conversation
            assert store.listed() == Listing(other._database).read(), (step, name)
        assert len(store.listed()) > 3


def test_a_list_read_on_another_thread_has_what_this_window_did_meanwhile(
    path: Path, clock: HandClock
) -> None:
    chance = random.Random(11)
    with closing(open_store(path, clock=clock)) as store, closing(open_store(path, clock=clock)) as other:

        def change(changed: ConversationStore, count: int) -> None:
            for _ in range(count):
                clock.now += 1
                with suppress(StorageError):  # there is no such conversation
                    STEPS[chance.choice(list(STEPS))](changed, chance.randint(1, 12), chance.choice("abcd"))

        adopted = 0
        for _ in range(sized(40, 1000)):
            store.listed()
            change(other, 3)
            change(store, chance.randrange(3))
            before = store.listing.read(waits=False)
            read = store.listing.read_aside()
            if read is None:  # no step of `other` was possible
                continue
            change(store, chance.randrange(3))
            found = read()
            change(store, chance.randrange(3))
            store.listing.read(waits=False)
            if chance.random() < 0.2:  # it is read whole here meanwhile
                change(other, 3)
                store.listed()
            change(store, chance.randrange(3))
            store.listing.adopt(found)
            fresh = Listing(other._database).read()
            assert store.listing.read(waits=False) == fresh
            adopted += before != fresh
        assert adopted > 10


def test_an_unchanged_list_is_the_same_object(store: ConversationStore) -> None:
    ask(store)
    before = store.listed()
    assert store.listed() is before
    store.set_pinned([1], True)
    assert store.listed()[0].is_pinned


def test_the_list_is_read_again_from_a_file_that_was_written_anew(
    store: ConversationStore, path: Path
) -> None:
    ask(store)
    store.listed()
    path.unlink()
    ask(store, "after the loss")
    assert [each.title for each in store.listed()] == ["after the loss", "Hello?"]
    store.rename(1, "renamed")
    assert {each.title for each in store.listed()} == {"after the loss", "renamed"}
