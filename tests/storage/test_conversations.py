"""The list of conversations and what belongs to each: title, settings, head, draft."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.storage.examples import SAMPLING, STARTED, HandClock, answer, ask
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import without_hidden
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_scratch_store, open_store
from ttchat_tui.storage.titles import TITLE_LENGTH, beginning_of, title_from
from ttchat_tui.storage.writers import this_process


def test_a_conversation_survives_a_restart_unchanged(store: ConversationStore, path: Path) -> None:
    made = store.create_conversation(title="T", model="m", system_prompt="Be brief.", sampling=SAMPLING)
    asked = store.add_user_message(made.id, None, "Zero\x00, emoji 👩‍🚀, bidi \u202e, [bold]")
    replied = answer(store, asked)
    store.drafts.set(made.id, "half a thou")
    store.close()
    again = open_store(path)
    found = again.conversation(made.id)
    assert (found.title, found.system_prompt, found.sampling) == ("T", "Be brief.", SAMPLING)
    assert (found.head_id, found.draft, found.message_count) == (replied.id, "half a thou", 2)
    assert found.model == replied.reply.model if replied.reply else False
    assert again.path(replied.id) == [asked, replied]
    again.close()


def test_the_list_is_newest_first_and_leaves_out_the_empty_and_the_deleted(
    store: ConversationStore, clock: HandClock
) -> None:
    messages = []
    for _ in range(4):
        messages.append(ask(store))
        clock.now += 1
    store.create_conversation(title="empty")
    first, second, third, fourth = (message.conversation_id for message in messages)
    store.delete(third)
    answer(store, messages[0])
    assert [each.id for each in store.conversations()] == [first, fourth, second]
    assert [each.id for each in store.conversations(limit=1, offset=1)] == [fourth]
    latest = store.latest()
    assert latest is not None
    assert latest.id == first


def test_opening_a_conversation_does_not_move_it_up(store: ConversationStore, clock: HandClock) -> None:
    older, newer = ask(store), ask(store)
    clock.now += 1
    store.rename(older.conversation_id, "Renamed")
    store.set_head(older.conversation_id, older.id)
    store.drafts.set(older.conversation_id, "x")
    store.set_sampling(older.conversation_id, SAMPLING)
    store.set_system_prompt(older.conversation_id, "Be brief.")
    assert [each.id for each in store.conversations()] == [newer.conversation_id, older.conversation_id]


def test_the_filter_ignores_case_and_takes_every_character_literally(
    store: ConversationStore,
) -> None:
    for title in ("Über Uhren", "100 % Wolle", "100 Schafe", "back_slash\\"):
        ask(store, title)
    found = {
        text: [each.title for each in store.conversations(filter=text)]
        for text in ("ÜBER", "%", "_", "\\", "é")
    }
    assert found == {
        "ÜBER": ["Über Uhren"],
        "%": ["100 % Wolle"],
        "_": ["back_slash\\"],
        "\\": ["back_slash\\"],
        "é": [],
    }


def test_a_store_without_conversations_has_no_latest_one(store: ConversationStore) -> None:
    store.create_conversation()
    assert store.latest() is None


def test_the_title_comes_from_the_first_message_and_only_from_it(store: ConversationStore) -> None:
    asked = ask(store, "\n\n  What is\ta   mesh? \nIn detail.")
    store.add_user_message(asked.conversation_id, asked.id, "And then?")
    assert store.conversation(asked.conversation_id).title == "What is a mesh?"
    named = store.create_conversation(title="Named")
    store.add_user_message(named.id, None, "Hello")
    assert store.conversation(named.id).title == "Named"


def test_a_new_name_is_one_line(store: ConversationStore) -> None:
    asked = ask(store)
    store.rename(asked.conversation_id, "  two\nlines ")
    assert store.conversation(asked.conversation_id).title == "two lines"


@given(st.text())
@example("word " * 40)
@example("x" * 200)
@example("\ud800")
def test_a_title_is_one_line_and_every_character_of_it_is_the_message_s(content: str) -> None:
    title = title_from(content)
    assert len(title) <= TITLE_LENGTH
    assert title == " ".join(title.split())
    assert bool(title) == bool(without_hidden(content)[0].strip())
    left = iter(" ".join(content.split()))
    assert all(char in left for char in title.removesuffix("…")), "in their order"


def test_a_title_that_is_cut_ends_with_a_whole_word() -> None:
    content = "How does one divide a rather long matrix multiplication over eight chips?"
    assert title_from(content) == "How does one divide a rather long matrix multiplication…"
    assert title_from("y" * 61) == "y" * 59 + "…"
    assert title_from("y" * 60) == "y" * 60


def test_delete_hides_and_undelete_restores_everything(store: ConversationStore) -> None:
    replied = answer(store, ask(store))
    before = store.conversation(replied.conversation_id)
    store.delete(before.id)
    assert store.conversations() == []
    for refused in (
        lambda: store.conversation(before.id),
        lambda: store.rename(before.id, "x"),
        lambda: store.delete(before.id),
        lambda: store.add_user_message(before.id, None, "x"),
        lambda: store.begin_reply(before.id, replied.id, STARTED),
    ):
        with pytest.raises(StorageError) as caught:
            refused()
        assert caught.value.info.kind == "not_found"
    store.undelete(before.id)
    assert store.conversation(before.id) == before
    assert store.path(replied.id)[-1] == replied


def test_a_missing_conversation_is_an_error_with_a_sentence(store: ConversationStore) -> None:
    for missing in (
        lambda: store.conversation(99),
        lambda: store.undelete(99),
        lambda: store.drafts.set(99, "x"),
        lambda: store.message(99),
        lambda: store.path(99),
        lambda: store.leaf_of(99),
        lambda: store.remove_message(99),
    ):
        with pytest.raises(StorageError) as caught:
            missing()
        assert caught.value.info.kind == "not_found"


def test_the_head_is_a_message_of_the_conversation_or_nothing(store: ConversationStore) -> None:
    mine, other = ask(store), ask(store)
    store.set_head(mine.conversation_id, None)
    assert store.conversation(mine.conversation_id).head_id is None
    with pytest.raises(StorageError, match="no longer exists"):
        store.set_head(mine.conversation_id, other.id)


def test_each_setting_is_stored_by_itself(store: ConversationStore) -> None:
    made = store.create_conversation(model="m", system_prompt="s", sampling=SAMPLING)
    store.set_system_prompt(made.id, "t")
    assert store.conversation(made.id) == msgspec.structs.replace(made, system_prompt="t")
    store.set_sampling(made.id, None)
    assert store.conversation(made.id) == msgspec.structs.replace(made, system_prompt="t", sampling=None)


@pytest.mark.parametrize("sampling", [SamplingParams(temperature=9.0), SamplingParams(top_p=float("nan"))])
def test_invalid_sampling_parameters_are_refused(store: ConversationStore, sampling: SamplingParams) -> None:
    made = store.create_conversation()
    with pytest.raises(StorageError) as caught:
        store.set_sampling(made.id, sampling)
    assert caught.value.info.kind == "invalid_settings"
    assert store.conversation(made.id) == made


def test_sampling_parameters_of_a_newer_version_are_ignored(path: Path) -> None:
    store = open_store(path)
    made = store.create_conversation(sampling=SAMPLING)
    with store._database.transaction() as transaction:
        transaction.execute("""UPDATE conversations SET sampling = '{"top_k": 3, "mirostat": 2}'""")
    assert store.conversation(made.id).sampling == SamplingParams(top_k=3)
    store.close()


def test_an_invalid_row_is_a_storage_error(path: Path) -> None:
    store = open_store(path)
    made = store.create_conversation(sampling=SAMPLING)
    with store._database.transaction() as transaction:
        transaction.execute("""UPDATE conversations SET sampling = '{"top_k": -1}'""")
    with pytest.raises(StorageError, match="top_k") as caught:
        store.conversation(made.id)
    assert caught.value.info.kind == "database_corrupt"
    store.close()


def test_the_draft_of_a_new_conversation_survives_a_restart(store: ConversationStore, path: Path) -> None:
    assert store.drafts.of(None).text == ""
    store.drafts.set(None, "one")
    store.drafts.set(None, "two\nlines")
    store.close()
    again = open_store(path)
    assert again.drafts.of(None).text == "two\nlines"
    again.close()


def test_a_new_conversations_draft_belongs_to_its_window_until_that_has_ended(
    store: ConversationStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = this_process()
    other = open_store(path)
    with monkeypatch.context() as patch:  # a process that lives: the one that started this one
        patch.setattr(os, "getpid", os.getppid)
        store.drafts.set(None, "theirs")
        assert store.drafts.of(None).text == "theirs"
    assert other.drafts.of(None).text == ""
    other.drafts.set(None, "mine")
    assert other.drafts.of(None).text == "mine"
    monkeypatch.setattr("ttchat_tui.storage.writers._exists", lambda pid: pid == here.pid)
    assert other.drafts.of(None).text == "mine", "the window of the other draft has ended now"
    other.drafts.set(None, "")
    assert other.drafts.of(None, adopts=False).text == ""
    assert other.drafts.of(None).text == "theirs"
    other.drafts.set(None, "taken over")
    other.drafts.set(None, "")
    assert other.drafts.of(None).text == ""
    other.close()


@given(st.text(alphabet=st.characters()))
@example("\udcff half a byte")
def test_any_text_is_kept_and_lone_surrogates_are_replaced(text: str) -> None:
    store = open_scratch_store()
    kept = ask(store, text).content
    assert kept == "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    store.close()


def test_lone_surrogates_are_replaced_in_every_column(store: ConversationStore) -> None:
    half, mark = "a\udcff", "a\ufffd"
    record = msgspec.structs.replace(STARTED, model=half, engine=half, sampling=SamplingParams(stop=(half,)))
    made = store.create_conversation(
        title=half, model=half, system_prompt=half, sampling=SamplingParams(stop=(half,))
    )
    assert made.sampling is not None
    assert (made.title, made.model, made.system_prompt, made.sampling.stop) == (mark, mark, mark, (mark,))
    asked = store.add_user_message(made.id, None, half)
    reply = store.begin_reply(made.id, asked.id, record)
    store.checkpoint(reply.id, half, ())
    ended = store.finish_reply(reply.id, half, "error", msgspec.structs.replace(record, error=half))
    assert ended.reply is not None
    assert (ended.content, ended.reply.model, ended.reply.engine) == (mark, mark, mark)
    assert ended.reply.sampling is not None
    assert (ended.reply.error, ended.reply.sampling.stop) == (mark, (mark,))
    store.rename(made.id, half)
    store.drafts.set(made.id, half)
    store.drafts.set(None, half)
    store.set_system_prompt(made.id, half)
    assert store.conversation(made.id).system_prompt == mark
    assert [each.draft for each in store.conversations(filter=half)] == [mark]
    assert store.drafts.of(None).text == mark


def test_everything_a_store_returns_is_valid_utf8(store: ConversationStore) -> None:
    replied = answer(store, ask(store))
    assert msgspec.json.decode(msgspec.json.encode(replied), type=type(replied)) == replied


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("```python\nprint(1)\n```", "print(1)"),
        ("~~~ sh\nls\n~~~", "ls"),
        ("---\n\n# Release notes ##\n", "Release notes"),
        ("===\n> > - [x] **Buy** `milk`", "Buy milk"),
        ("> ```\n> quoted", "quoted"),
        ("|---|:-:|\n| name | age |", "name | age"),
        ("+----+\n* a *starred* point", "a starred point"),
        ("***all*** of ~~it~~ and _this_", "all of it and this"),
        ("```print(`x`)```", "print(`x`)"),
        # What only looks like markup is what was said.
        ("What does __init__.py do?", "What does __init__.py do?"),
        ("2 * 3 * 4 and **/*.py and snake_case_name", "2 * 3 * 4 and **/*.py and snake_case_name"),
        ("#hashtag -5 degrees", "#hashtag -5 degrees"),
        ("1. Buy milk", "1. Buy milk"),
        ("C# or F#", "C# or F#"),
        ("<!-- template -->\n<br>\nWhat is <div> for?", "What is <div> for?"),
        ("<!-- hi --> What is <!-- this -->?\nfoo", "<!-- hi --> What is <!-- this -->?"),
        ("<!-- a --><!-- b -->\n<!-- c\nfoo", "foo"),
        ("$$\nx^2\n$$", "x^2"),
        ("[a](https://x.y/z_(w)?q=[1]) and [b](c) [d](e(f", "a and b [d](e(f"),
        ("~~gone~~ ~~a ~~b~~", "gone ~~a b"),
        ("```a``` and ``b`c`` and ``d`", "a and b`c and ``d`"),
        ('{\n  "a": 1\n}', '"a": 1'),
        ("![](plot.png)\n![a plot](plot.png) and [the docs](https://x.y/z)", "a plot and the docs"),
        ("\ufeff\u200b\nhello\u200b", "hello"),
        ("\u202eevil\u202c", "evil"),
        (r"\*not\* starred", r"\*not\* starred"),
        ("<https://x.y>", "<https://x.y>"),
        ("a[0](1)", "a[0](1)"),
        ("💥", "💥"),
        ("???\nWhy?", "Why?"),
        ("...", "..."),
        ("---", "---"),
        ("```", "```"),
        ("", ""),
    ],
)
def test_a_title_is_the_first_line_with_words(content: str, title: str) -> None:
    assert title_from(content) == title


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "line",
    [
        *(
            "[](" * 300_000,
            "~~a " * 200_000,
            "> " * 300_000,
            "<!---->" * 100_000 + "x",
            " " * 1_000_000 + "x",
        ),
        *(f"{'[](' * 333}\n" * 1_000, f"{'`' * 500}{'a' * 500}\n" * 1_000, f"{'~~a ' * 250}\n" * 1_000),
    ],
    ids=lambda line: line[:3],
)
def test_the_title_of_a_long_paste_takes_no_longer(line: str) -> None:
    assert title_from(line)


@given(st.text(alphabet="#>-*_`~|=+[]x \n ab:", max_size=80))
def test_the_title_of_a_message_with_words_is_one_line_and_never_empty(content: str) -> None:
    title = title_from(content)
    assert len(title) <= TITLE_LENGTH
    assert title == " ".join(title.split())
    assert bool(title) == bool(content.strip())


@pytest.mark.parametrize("set_back_s", [0.0, 3600.0])
def test_the_last_deletion_is_undone_first_whatever_the_clock_shows(
    store: ConversationStore, clock: HandClock, set_back_s: float
) -> None:
    one, two, three = (ask(store, text).conversation_id for text in ("one", "two", "three"))
    home = ask(store, "four")
    branch = store.add_user_message(home.conversation_id, home.id, "five")
    store.delete(one)
    clock.now -= set_back_s
    store.delete(two, three)
    clock.now -= set_back_s
    store.branches.cut([branch], home.id)
    (cut,) = store.last_deleted()
    assert store.branches.put_back(cut) == branch.id
    assert store.last_deleted() == [three, two]
    store.undelete(*store.last_deleted())
    assert store.last_deleted() == [one]


def test_the_last_deleted_conversation_is_known_after_a_restart(
    store: ConversationStore, path: Path, clock: HandClock
) -> None:
    made = [ask(store, text).conversation_id for text in ("one", "two", "three")]
    for conversation_id in (made[1], made[0]):
        clock.now += 1
        store.delete(conversation_id)
    store.close()
    again = open_store(path, clock=clock)
    brought_back: list[int] = []
    while last := again.last_deleted():
        again.undelete(*last)
        brought_back += last
    assert brought_back == [made[0], made[1]]
    again.close()


@pytest.mark.parametrize(
    ("content", "begins"),
    [
        ('{\n  "name": "Lena",\n  "age": 25\n}', '{ "name": "Lena", "age": 25 }'),
        ("[\n1,\n2]", "[ 1, 2]"),
        ("# Clocks\n\nThey tick.\n\n---\n- a\n- **b**", "Clocks They tick. a b"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("(", "("),
        ("---", "---"),
        ("", ""),
    ],
)
def test_a_reply_in_a_list_begins_with_its_first_visible_characters(content: str, begins: str) -> None:
    assert beginning_of(content) == begins
    assert len(beginning_of(content * 100)) <= TITLE_LENGTH
