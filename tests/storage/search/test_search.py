"""What is said is found, wherever and however it is written, and the index follows every change."""

from __future__ import annotations

import os
import shutil
import sqlite3
import string
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.examples import FINISHED, STARTED, HandClock, answer, mode_of
from tests.storage.examples import ask as say
from tests.storage.search.conftest import Ask, found
from ttchat_tui.domain.matching import folded
from ttchat_tui.domain.search import MOST_RANKED
from ttchat_tui.storage.backups import back_up, backups_of
from ttchat_tui.storage.conversations import KEPT_AFTER_DELETE_S, ConversationStore
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.repair import repair
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import REMOVED_FOR_S, SearchIndex, index_file, remove_unused
from ttchat_tui.storage.search.query import parse_query

SAID = "Die Straße in Zürich: getUserName(日本語のテスト), foo_bar.baz() C++ 🎉 ภาษาไทย 서울에서"


@pytest.mark.parametrize(
    "typed",
    [
        "straße", "STRASSE", "zurich", "Zür", "getusername", "getUs", "username", "serNam", "日", "日本", "本語", "のテスト",
        "foo_bar", "foo_b", "bar.baz", "foo_bar.baz()", "c++", "🎉", "ไทย", "서울", "울에", "in zürich", '"in zürich:"', "traß",
    ],
)  # fmt: skip
def test_what_is_said_is_found(store: ConversationStore, ask: Ask, typed: str) -> None:
    said, _ = say(store, SAID), say(store, "Something else entirely.")
    results = ask(typed)
    assert found(results) == [said.id]
    (hit,) = (hit for hit in results.hits if hit.message_id is not None)
    assert hit.spans
    assert (results.count, results.is_cut, results.indexed) == (1, False, 1.0)


@pytest.mark.parametrize("typed", ["xyzzy", "zürich xyzzy", '"zürich in"', "c#", "日語"])
def test_what_is_not_said_is_not_found(store: ConversationStore, ask: Ask, typed: str) -> None:
    say(store, SAID)
    assert ask(typed).hits == ()


def test_a_single_letter_is_found_as_a_word_only(store: ConversationStore, ask: Ask) -> None:
    say(store, "the fox")
    said = say(store, "f(x)")
    assert found(ask("f")) == [said.id]


def test_a_phrase_is_found_through_markers_of_emphasis(store: ConversationStore, ask: Ask) -> None:
    reply = answer(store, say(store), "A **mesh** device.")
    (hit,) = ask('"mesh device"').hits
    assert hit.message_id == reply.id
    assert [hit.snippet[start:end] for start, end in hit.spans] == ["mesh device"]


def test_a_snippet_shows_the_hit_of_a_long_message_on_one_line(store: ConversationStore, ask: Ask) -> None:
    say(store, f"{'Before it. ' * 500}\n\nA needle\x1b[31m here.\n\n{'After it. ' * 500}")
    (hit,) = ask("needle").hits
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert "A needle␛[31m here." in hit.snippet
    assert "\n" not in hit.snippet
    assert [hit.snippet[start:end] for start, end in hit.spans] == ["needle"]


def test_operators_narrow_a_search(store: ConversationStore, ask: Ask, clock: HandClock) -> None:
    clock.now = datetime(2026, 3, 1, 12).timestamp()
    asked = say(store, "a mesh?")
    clock.now = datetime(2026, 3, 2, 12).timestamp()
    reply = answer(store, asked, "A mesh.")
    cases = {
        "mesh": [asked.id, reply.id],
        "mesh role:user": [asked.id],
        "mesh role:assistant": [reply.id],
        "mesh model:SMOL": [reply.id],
        "mesh model:llama": [],
        "mesh before:2026-03-02": [asked.id],
        "mesh after:2026-03-02": [reply.id],
        "role:assistant": [reply.id],
        "after:2026-03": [asked.id, reply.id],
        "in:title mesh": [],
        "role:robot mesh": [asked.id, reply.id],
        "tag:work mesh": [],
        "in:archive": [],
    }
    assert {typed: found(ask(typed)) for typed in cases} == cases
    assert [hit.conversation_id for hit in ask("in:title mesh").hits] == [asked.conversation_id]
    other = say(store, "another mesh")
    store.retag([other.conversation_id], add=["mine/work", "work/plans"])
    store.set_archived([other.conversation_id], True)
    cases = {
        "mesh": [asked.id, reply.id, other.id],
        "tag:work": [other.id],
        "tag:Mine mesh tag:work/p": [other.id],
        "tag:plans": [],
        "in:archive mesh": [other.id],
        "in:title tag:wor another": [],
    }
    assert {typed: found(ask(typed)) for typed in cases} == cases
    assert [hit.is_archived for hit in ask("in:title tag:wor another").hits] == [True]
    assert ask("in:title tag:rust another").hits == ()


def test_a_title_is_found_where_no_message_is(store: ConversationStore, ask: Ask) -> None:
    said = say(store, "How late is it?")
    assert ask("repair").hits == ()
    store.rename(said.conversation_id, "Clock repair")
    (hit,) = ask("repair").hits
    assert (hit.conversation_id, hit.message_id, hit.title) == (said.conversation_id, None, "Clock repair")
    assert hit.spans == ((6, 12),)
    store.rename(said.conversation_id, "Something else")
    assert ask("repair").hits == ()


def test_a_better_match_comes_first_and_of_equals_the_newer(store: ConversationStore, ask: Ask) -> None:
    weak = say(store, f"One needle in {'a very long haystack ' * 60}")
    strong = say(store, "needle, needle and needle again")
    again = say(store, "needle, needle and needle again")
    assert [hit.message_id for hit in ask("needle").hits] == [again.id, strong.id, weak.id]


def test_of_very_many_hits_the_newest_are_ranked(store: ConversationStore, ask: Ask) -> None:
    first = last = say(store, "needle")
    for number in range(MOST_RANKED):
        last = store.add_user_message(first.conversation_id, first.id, f"needle {number:04}")
    results = ask("needle")
    assert (results.count, results.is_cut) == (MOST_RANKED, True)
    assert results.hits[0].message_id == last.id


# --- following the database


def test_a_growing_reply_is_found_once_it_ends(store: ConversationStore, ask: Ask) -> None:
    asked = say(store, "Question?")
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    changes = store._database.rows("SELECT count(*) FROM changes")[0][0]
    store.checkpoint(reply.id, "A needle", (1,))
    assert store._database.rows("SELECT count(*) FROM changes")[0][0] == changes
    assert ask("needle").hits == ()
    store.finish_reply(reply.id, "A needle.", "complete", FINISHED)
    assert found(ask("needle")) == [reply.id]
    store.resume_reply(reply.id)
    assert found(ask("needle")) == [reply.id]
    store.finish_reply(reply.id, "A haystack.", "complete", FINISHED)
    assert (found(ask("needle")), found(ask("haystack"))) == ([], [reply.id])


def test_a_reply_of_a_dead_process_is_found_once_recovered(store: ConversationStore, ask: Ask) -> None:
    asked = say(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    store.checkpoint(reply.id, "A needle", (1,))
    store._database._connection.execute("UPDATE messages SET writer = '{}' WHERE id = ?", (reply.id,))
    assert ask("needle").hits == ()
    assert [each.id for each in store.recover()] == [reply.id]
    assert found(ask("needle")) == [reply.id]


def test_what_is_deleted_is_not_found_until_it_comes_back(store: ConversationStore, ask: Ask) -> None:
    said = say(store, "needle")
    store.delete(said.conversation_id)
    assert ask("needle").hits == ()
    store.undelete(said.conversation_id)
    assert found(ask("needle")) == [said.id]
    store.remove_message(said.id)
    assert ask("needle").hits == ()


def test_another_window_writes_and_both_find_it(store: ConversationStore, ask: Ask, path: Path) -> None:
    first = say(store, "first needle")
    assert found(ask("needle")) == [first.id]
    with closing(open_store(path)) as other, closing(SearchIndex(path, index_file(path))) as theirs:
        second = say(other, "second needle")
        while theirs.is_behind:
            theirs.advance()
        assert found(find(theirs, "needle", parse_query("needle"))) == [first.id, second.id]
    assert found(ask("needle")) == [first.id, second.id]


def test_words_of_removed_messages_leave_the_index_within_a_day(
    store: ConversationStore,
    index: SearchIndex,
    ask: Ask,
    clock: HandClock,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    say(store, "harmless")
    said = say(store, "privateword")
    ask("privateword")
    store.delete(said.conversation_id)
    clock.now += KEPT_AFTER_DELETE_S + 1
    store.purge_deleted()
    ask("privateword")
    built = index.connection.execute("SELECT built_at FROM state").fetchone()[0]
    monkeypatch.setattr("ttchat_tui.storage.search.index.time.time", lambda: built + REMOVED_FOR_S + 1)
    assert len(ask("harmless").hits) == 1
    index.close()
    assert b"privateword" not in index_file(path).read_bytes()
    index.connection = index._open()


def test_words_of_old_titles_leave_the_index_within_a_day_and_nothing_else_is_built_again(
    store: ConversationStore,
    index: SearchIndex,
    ask: Ask,
    clock: HandClock,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def state() -> sqlite3.Row:
        return index.connection.execute("SELECT * FROM state").fetchone()

    kept, renamed, purged = (say(store, text).conversation_id for text in ("one", "two", "three"))
    store.rename(kept, "harmless")
    store.rename(renamed, "privateone")
    store.rename(purged, "privatetwo")
    ask("x")
    store.rename(renamed, "renamed")
    store.delete(purged)
    clock.now += KEPT_AFTER_DELETE_S + 1
    store.purge_deleted()
    ask("x")
    assert state()["titles_removed"] > 0
    built = state()["built_at"]
    index.connection.execute(
        "UPDATE state SET removed = 0"
    )  # the purged message would build everything again
    monkeypatch.setattr("ttchat_tui.storage.search.index.time.time", lambda: built + REMOVED_FOR_S + 1)
    assert len(ask("in:title renamed").hits) == len(ask("in:title harmless").hits) == 1
    assert (state()["titles_removed"], state()["built_at"]) == (0, built)
    index.close()
    data = index_file(path).read_bytes()
    assert b"renamed" in data
    assert b"privateone" not in data
    assert b"privatetwo" not in data
    index.connection = index._open()


def test_versions_of_the_app_have_an_index_each_and_an_unused_one_goes_in_the_end(
    store: ConversationStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(store, "needle")
    files: list[Path] = []
    for version in (9, 10, 9):
        monkeypatch.setattr("ttchat_tui.storage.search.index.VERSION", version)
        with closing(SearchIndex(path, index_file(path))) as index:
            assert index.is_behind == (index_file(path) not in files)
            while index.is_behind:
                index.advance()
            files.append(index_file(path))
        remove_unused(path)
    ours, theirs, _ = files
    legacy = path.with_name("search.db")
    legacy.touch()
    for each in (ours, theirs, legacy):
        os.utime(each, (0, 0))
    remove_unused(path)
    assert [each.exists() for each in (ours, theirs, legacy, path)] == [True, False, False, True]


def test_a_restored_backup_is_indexed_anew(
    store: ConversationStore, index: SearchIndex, ask: Ask, path: Path, clock: HandClock
) -> None:
    kept = say(store, "kept needle")
    back_up(path, clock=clock)
    lost = say(store, "lost needle")
    assert found(ask("needle")) == [kept.id, lost.id]
    index.close()  # first: the last connection to close merges the log, and the index may not
    store.close()
    (backup,) = backups_of(path, now=clock.now)
    shutil.copyfile(backup, path)
    with closing(open_store(path)) as restored, closing(SearchIndex(path, index_file(path))) as opened:
        other = say(restored, "other haystack")
        assert other.id == lost.id
        while opened.is_behind:
            opened.advance()
        assert found(find(opened, "needle", parse_query("needle"))) == [kept.id]
        assert found(find(opened, "haystack", parse_query("haystack"))) == [other.id]


def test_a_repaired_database_is_indexed_anew(
    store: ConversationStore, index: SearchIndex, ask: Ask, path: Path
) -> None:
    said = say(store, "needle")
    assert found(ask("needle")) == [said.id]
    index.close()
    store.close()
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
    assert repair(path) is not None
    with closing(open_store(path)) as repaired, closing(SearchIndex(path, index_file(path))) as opened:
        assert repaired.message(said.id).content == "needle"
        while opened.is_behind:
            opened.advance()
        assert found(find(opened, "needle", parse_query("needle"))) == [said.id]


def test_an_index_that_is_too_far_behind_is_built_again(
    store: ConversationStore, index: SearchIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ttchat_tui.storage.conversations.KEPT_CHANGES", 2)
    say(store, "needle 1")
    ask("needle")
    for number in range(2, 8):
        say(store, f"needle {number}")
    store.purge_deleted()
    assert store._database.rows("SELECT count(*) FROM changes")[0][0] == 2
    assert len(ask("needle").hits) == 7


def test_a_batch_that_does_not_end_leaves_the_index_as_it_was(
    store: ConversationStore, index: SearchIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = say(store, "needle")
    ask("needle")
    second = say(store, "needle again")

    def die(_index: SearchIndex) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SearchIndex, "_add_fresh_words", die)
        with pytest.raises(KeyboardInterrupt):
            index.advance()
    assert found(find(index, "needle", parse_query("needle"))) == [first.id]
    assert found(ask("needle")) == [first.id, second.id]


def test_older_messages_are_found_as_the_build_goes_on(
    store: ConversationStore, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ttchat_tui.storage.search.index.BATCH_MESSAGES", 3)
    said = [say(store, f"needle {number}") for number in range(10)]
    assert index.share == 0
    index.advance()
    index.advance()
    results = find(index, "needle", parse_query("needle"))
    assert found(results) == [each.id for each in said[-3:]]
    assert results.indexed == pytest.approx(0.3)
    late = say(store, "needle late")
    while index.is_behind:
        index.advance()
    assert found(find(index, "needle", parse_query("needle"))) == [each.id for each in (*said, late)]


def test_an_import_that_is_not_indexed_yet_is_known(
    store: ConversationStore, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ttchat_tui.storage.search.index.BATCH_MESSAGES", 3)
    say(store, "needle")
    while index.is_behind:
        index.advance()
    for number in range(9):
        say(store, f"imported {number}")
    assert 0 < find(index, "imported", parse_query("imported")).indexed < 1
    while index.is_behind:
        index.advance()
    assert find(index, "imported", parse_query("imported")).indexed == 1


def test_a_batch_locks_only_the_index(store: ConversationStore, index: SearchIndex) -> None:
    index.advance()
    index.connection.execute("BEGIN IMMEDIATE")
    say(store, "meanwhile")
    index.connection.execute("ROLLBACK")


def test_the_index_is_private_and_no_part_of_the_database(
    store: ConversationStore, ask: Ask, path: Path
) -> None:
    say(store, "needle")
    ask("needle")
    assert mode_of(index_file(path)) == 0o600
    tables = {row[0] for row in store._database.rows("SELECT name FROM sqlite_master WHERE sql LIKE '%fts%'")}
    assert tables == set()


# --- any input

TYPED = st.one_of(
    st.text(),
    st.text(alphabet=string.punctuation + " \n\0\x1b", max_size=40),
    st.lists(
        st.sampled_from(
            ["NEAR(", "AND", "OR", "NOT", "*", '"', "^", "said:", "-", "+", "{a b}:", "a", "日", "🎉"]
        )
    ).map(" ".join),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=3), st.just(3_500)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(typed=TYPED)
def test_anything_can_be_asked(index: SearchIndex, typed: str) -> None:
    while index.is_behind:
        index.advance()
    find(index, typed, parse_query(typed))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.text(min_size=1, max_size=60), cut=st.integers(1, 12), start=st.integers(0, 30))
def test_what_begins_a_word_of_any_message_is_found(
    store: ConversationStore, ask: Ask, content: str, cut: int, start: int
) -> None:
    """Every needle of two characters or more that begins with a word, quoted so that it is one."""
    said = say(store, content)
    words = content.split()
    if not words:
        return
    needle = words[start % len(words)][: cut + 1].replace('"', "")
    letters = "".join(character for character in folded(needle) if character.isalnum())
    if len(letters) < 2 or ":" in needle or not needle[0].isalnum() or not needle[-1].isalnum():
        return
    assert said.id in found(ask(f'"{needle}"'))
    store.remove_message(said.id)
