"""Messages: branches, checkpoints, reply records, removal."""

from __future__ import annotations

import msgspec
import pytest

from tests.storage.examples import FINISHED, STARTED, HandClock, answer, ask
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError


def test_a_reply_streams_and_then_keeps_its_whole_record(store: ConversationStore, clock: HandClock) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    assert (reply.role, reply.status, reply.content, reply.reply) == ("assistant", "streaming", "", STARTED)
    assert store.conversation(asked.conversation_id).head_id == reply.id
    clock.now += 5
    store.checkpoint(reply.id, "He", (1, 2))
    partial = store.message(reply.id)
    assert (partial.content, partial.status) == ("He", "streaming")
    assert partial.reply == msgspec.structs.replace(STARTED, token_ids=(1, 2))
    done = store.finish_reply(reply.id, "Hello.", "complete", FINISHED)
    assert (done.content, done.status, done.reply) == ("Hello.", "complete", FINISHED)
    assert store.conversation(asked.conversation_id).updated_at == clock.now
    assert done == store.message(reply.id)


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 - 1])
def test_a_long_seed_keeps_all_its_digits(store: ConversationStore, seed: int) -> None:
    asked = ask(store)
    assert STARTED.sampling is not None
    sampling = msgspec.structs.replace(STARTED.sampling, seed=seed)
    begun = msgspec.structs.replace(STARTED, seed=seed, sampling=sampling)
    kept = store.message(store.begin_reply(asked.conversation_id, asked.id, begun).id).reply
    assert kept is not None
    assert kept.sampling is not None
    assert (kept.seed, kept.sampling.seed) == (seed, seed)


def test_a_conversation_takes_the_model_of_its_last_reply(store: ConversationStore) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    assert store.conversation(asked.conversation_id).model == "smollm2"
    store.finish_reply(reply.id, "", "complete", msgspec.structs.replace(FINISHED, model="swapped"))
    assert store.conversation(asked.conversation_id).model == "swapped"


def test_a_late_checkpoint_does_not_touch_a_finished_reply(store: ConversationStore) -> None:
    done = answer(store, ask(store), "Whole.")
    store.checkpoint(done.id, "Who", (1,))
    assert store.message(done.id) == done


def test_a_failed_reply_keeps_its_error(store: ConversationStore) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    record = msgspec.structs.replace(STARTED, finish_reason="error", error="The engine died.")
    failed = store.finish_reply(reply.id, "Hal", "error", record)
    assert failed.status == "error"
    assert failed.reply == record


def test_an_interrupted_reply_continues_from_its_text(store: ConversationStore) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    stopped = msgspec.structs.replace(FINISHED, finish_reason="cancelled")
    store.finish_reply(reply.id, "Half", "interrupted", stopped)
    resumed = store.resume_reply(reply.id)
    assert (resumed.status, resumed.content) == ("streaming", "Half")
    assert resumed.reply is not None
    assert (resumed.reply.finish_reason, resumed.reply.token_ids) == (None, FINISHED.token_ids)
    with pytest.raises(StorageError) as caught:
        store.resume_reply(reply.id)
    assert caught.value.info.kind == "reply_busy"
    assert store.finish_reply(reply.id, "Half and half", "complete", FINISHED).content == "Half and half"


def test_a_later_checkpoint_drops_the_statistics_of_the_first_part(store: ConversationStore) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    stopped = store.finish_reply(reply.id, "Half", "interrupted", FINISHED)
    assert stopped.reply is not None
    assert stopped.reply.stats is not None
    resumed = store.resume_reply(reply.id)
    assert resumed.reply is not None
    assert resumed.reply.stats == stopped.reply.stats
    store.checkpoint(reply.id, "Half and", FINISHED.token_ids)
    more = store.message(reply.id)
    assert more.content == "Half and"
    assert more.reply is not None
    assert more.reply.stats is None


def test_only_a_reply_can_be_finished_or_resumed(store: ConversationStore) -> None:
    asked = ask(store)
    with pytest.raises(StorageError, match="This reply no longer exists"):
        store.finish_reply(asked.id, "x", "complete", FINISHED)
    with pytest.raises(StorageError, match="This reply no longer exists"):
        store.resume_reply(asked.id)
    with pytest.raises(StorageError, match="no longer exists"):
        store.resume_reply(99)


def test_a_reply_that_was_deleted_in_another_window_is_not_continued(store: ConversationStore) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    reply = store.finish_reply(reply.id, "Half", "interrupted", FINISHED)
    store.branches.cut([reply], asked.id)
    with pytest.raises(StorageError, match="no longer exists"):
        store.resume_reply(reply.id)
    assert store.message(reply.id).status == "interrupted", "the text would go into the deleted branch"


def test_siblings_know_their_place(store: ConversationStore) -> None:
    asked = ask(store)
    replies = [answer(store, asked, text) for text in "abc"]
    found = store.children(asked.id, asked.conversation_id)
    assert [(each.content, each.sibling_index, each.sibling_count) for each in found] == [
        ("a", 0, 3),
        ("b", 1, 3),
        ("c", 2, 3),
    ]
    store.remove_message(replies[1].id)
    last = store.path(replies[2].id)[-1]
    assert (last.sibling_index, last.sibling_count) == (1, 2)


def test_an_edited_first_message_is_a_second_root(store: ConversationStore) -> None:
    asked = ask(store)
    edited = store.add_user_message(asked.conversation_id, None, "Hello again?")
    assert (edited.sibling_index, edited.sibling_count) == (1, 2)
    roots = store.children(None, asked.conversation_id)
    assert [each.id for each in roots] == [asked.id, edited.id]
    ask(store, "elsewhere")
    assert len(store.children(None, asked.conversation_id)) == 2


def test_the_newest_leaf_below_a_message_is_the_branch_that_was_touched_last(
    store: ConversationStore,
) -> None:
    asked = ask(store)
    first, second = answer(store, asked, "a"), answer(store, asked, "b")
    followed = store.add_user_message(asked.conversation_id, first.id, "Why a?")
    assert store.leaf_of(asked.id).id == followed.id
    assert store.leaf_of(first.id).id == followed.id
    assert store.leaf_of(second.id).id == second.id


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 10**40, -(2**63) - 1])
def test_there_is_no_message_with_a_number_beyond_sqlites(store: ConversationStore, number: int) -> None:
    ask(store)
    for look in (store.message, store.conversation):
        with pytest.raises(StorageError) as caught:
            look(number)
        assert caught.value.info.kind == "not_found"


def test_a_message_of_another_conversation_cannot_be_answered(store: ConversationStore) -> None:
    mine, other = ask(store), ask(store)
    with pytest.raises(StorageError) as caught:
        store.begin_reply(mine.conversation_id, other.id, STARTED)
    assert caught.value.info.kind == "not_found"
    with pytest.raises(StorageError):
        store.add_user_message(mine.conversation_id, 99, "x")
    assert store.conversation(mine.conversation_id).head_id == mine.id


def test_a_message_with_children_cannot_be_removed(store: ConversationStore) -> None:
    asked = ask(store)
    answer(store, asked)
    with pytest.raises(StorageError) as caught:
        store.remove_message(asked.id)
    assert caught.value.info.kind == "not_a_leaf"
    assert store.message(asked.id) == store.children(None, asked.conversation_id)[0]


def test_a_removed_first_message_takes_its_title_along(store: ConversationStore) -> None:
    asked = ask(store, "Far too long")
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    store.remove_message(reply.id)
    assert store.conversation(asked.conversation_id).head_id == asked.id
    store.remove_message(asked.id)
    left = store.conversation(asked.conversation_id)
    assert (left.title, left.head_id, left.message_count) == ("", None, 0)
    assert store.conversations() == []
    store.add_user_message(left.id, None, "Shorter")
    assert store.conversation(left.id).title == "Shorter"


def test_a_tree_lists_parents_before_children(store: ConversationStore) -> None:
    asked = ask(store)
    replies = [answer(store, asked, text) for text in "ab"]
    followed = store.add_user_message(asked.conversation_id, replies[0].id, "Why?")
    assert [each.id for each in store.tree(asked.conversation_id)] == [
        asked.id,
        *(r.id for r in replies),
        followed.id,
    ]


def test_the_ids_of_a_path_are_one_row_however_long_it_is(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = store.create_conversation(model="m", system_prompt="", sampling=None)
    first = last = store.add_user_message(conversation.id, None, "one")
    for number in range(40):
        last = store.add_user_message(conversation.id, last.id, f"more {number}")
    monkeypatch.setattr(store._database, "rows", lambda *_: pytest.fail("a row for each message"))
    assert store.path(last.id).ids == store.newest_ids(first) == list(range(first.id, last.id + 1))
