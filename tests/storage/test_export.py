"""Transcript files: complete, private, never overwriting, written completely or not at all."""

from __future__ import annotations

import errno
import json
import os
import shlex
from pathlib import Path

import msgspec
import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from tests.storage.examples import SAMPLING, answer, ask, mode_of
from ttchat_tui.cli.wanted_export import Wanted
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import (
    ConversationFile,
    export_json,
    export_jsonl,
    file_name,
    file_path,
    format_of,
    missing_folder,
    place_for,
    preview,
    render,
    without_thoughts,
    write_export,
)

TALK = Conversation(id=7, title="A talk", created_at=0.0, updated_at=1.0)


def said(content: str) -> Message:
    return Message(id=1, conversation_id=7, parent_id=None, role="user", content=content, created_at=0.0)


@pytest.fixture
def branched(store: ConversationStore) -> tuple[Conversation, list[Message], list[Message]]:
    """A conversation, the path on screen, and the whole tree."""
    made = store.create_conversation(system_prompt="Be brief.", sampling=SAMPLING)
    asked = store.add_user_message(made.id, None, "Hello?\n\u2028 \x1b[31m ünï 👩‍🚀")
    answer(store, asked, "First.")
    last = answer(store, asked, "Second.")
    return store.conversation(made.id), list(store.path(last.id)), store.tree(made.id)


def test_json_has_everything_and_decodes_to_the_same(
    branched: tuple[Conversation, list[Message], list[Message]],
) -> None:
    conversation, _, tree = branched
    text = export_json(conversation, tree)
    found = msgspec.json.decode(text, type=ConversationFile)
    assert found.conversation == conversation
    assert list(found.messages) == tree
    assert json.loads(text)["version"] == 1
    assert text.count("\n") == 7 + len(tree)


def test_json_of_nothing_is_json() -> None:
    assert msgspec.json.decode(export_json(TALK, []), type=ConversationFile).messages == ()


def test_an_unsent_draft_is_not_exported() -> None:
    assert "secret" not in export_json(msgspec.structs.replace(TALK, draft="secret"), [])


def test_jsonl_is_one_line_in_the_messages_format(
    branched: tuple[Conversation, list[Message], list[Message]],
) -> None:
    conversation, path, _ = branched
    line = export_jsonl(conversation, path)
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": path[0].content},
            {"role": "assistant", "content": "Second."},
        ]
    }


def test_jsonl_leaves_empty_messages_out() -> None:
    path = [said(""), msgspec.structs.replace(said("x"), id=2, parent_id=1)]
    assert json.loads(export_jsonl(TALK, path)) == {"messages": [{"role": "user", "content": "x"}]}


def test_jsonl_of_the_whole_tree_has_a_line_for_each_branch(
    branched: tuple[Conversation, list[Message], list[Message]],
) -> None:
    conversation, _, tree = branched
    lines = export_jsonl(conversation, tree).rstrip("\n").split("\n")
    assert [json.loads(line)["messages"][-1]["content"] for line in lines] == ["First.", "Second."]
    assert all(len(json.loads(line)["messages"]) == 3 for line in lines)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("markdown", ".md"), ("json", ".json"), ("jsonl", ".jsonl"), ("html", ".html"), ("text", ".txt")],
)
def test_a_folder_is_made_and_the_file_named_after_the_title(tmp_path: Path, name: str, suffix: str) -> None:
    place = place_for("new/exports/", tmp_path, TALK)
    assert missing_folder(place) == tmp_path / "new" / "exports"
    written = write_export(place, name, TALK, [said("Hello")])
    assert written == tmp_path / "new" / "exports" / f"a-talk{suffix}"
    assert missing_folder(place) is None
    assert "Hello" in written.read_text(encoding="utf-8")
    assert mode_of(written) == 0o600
    assert list(written.parent.iterdir()) == [written]


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    written = [write_export(tmp_path, "markdown", TALK, [said(text)]) for text in "abc"]
    assert [each.name for each in written] == ["a-talk.md", "a-talk-2.md", "a-talk-3.md"]
    assert ["\na\n" in each.read_text() for each in written] == [True, False, False]
    chosen = tmp_path / "my notes.v1.json"
    assert write_export(chosen, "json", TALK, []) == chosen
    assert write_export(chosen, "json", TALK, []).name == "my notes.v1-2.json"


def test_what_may_be_replaced_is_replaced_unless_it_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "a-talk.md").symlink_to("/dev/null")
    names: list[str] = []
    for text in "abc":  # two conversations of one title in the first run, one in the next
        kept = names[:1] if text == "b" else []

        def may_replace(file: Path, kept: list[str] = kept) -> bool:
            return file.name not in kept

        names.append(write_export(tmp_path, "markdown", TALK, [said(text)], may_replace).name)
    assert names == ["a-talk-2.md", "a-talk-3.md", "a-talk-2.md"]
    assert (tmp_path / "a-talk.md").is_symlink()
    assert "\nc\n" in (tmp_path / "a-talk-2.md").read_text()


@pytest.mark.parametrize(
    ("typed", "written", "format"),
    [
        ("notes", "notes.md", "markdown"),
        ("dir/noext", "dir/noext.md", "markdown"),
        ("dir/", "dir/a-talk.md", "markdown"),
        ("there", "there/a-talk.md", "markdown"),
        ("v1.d", "v1.d/a-talk.md", "markdown"),
        ("NOTES.MD", "NOTES.MD", "markdown"),
        ("notes.markdown", "notes.markdown", "markdown"),
        ("a.b.json", "a.b.json", "json"),
        (".jsonl", ".jsonl.md", "markdown"),
        ("x.JsonL", "x.JsonL", "jsonl"),
    ],
)
def test_the_typed_path_names_the_file_and_its_suffix_the_format(
    tmp_path: Path, typed: str, written: str, format: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "v1.d").mkdir()
    place = place_for(typed, tmp_path, TALK)
    assert (place.is_dir() or format_of(place)) in (True, format)
    assert write_export(place, format, TALK, []) == tmp_path / written


@pytest.mark.parametrize("name", ["x.pdf", "x.rtf", "x.md.bak", "dir/x.docx", "x.JSON5"])
def test_an_unknown_suffix_is_refused_with_a_list_of_the_known_ones(tmp_path: Path, name: str) -> None:
    for refuse in (
        lambda: format_of(tmp_path / name),
        lambda: write_export(tmp_path / name, "json", TALK, []),
    ):
        with pytest.raises(StorageError, match=f"the suffix {Path(name).suffix}") as caught:
            refuse()
        assert caught.value.info.cure.startswith("Known suffixes: .md, .markdown, .json, .jsonl")
        assert caught.value.info.cure.endswith(f"For example: {Path(name).stem}.md")
    assert list(tmp_path.iterdir()) == []


def test_the_suffix_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="suffix of json") as caught:
        write_export(tmp_path / "x.md", "json", TALK, [])
    assert "x.json" in caught.value.info.cure


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "a-talk.md").symlink_to(victim)
    assert write_export(tmp_path, "markdown", TALK, []).name == "a-talk-2.md"
    assert not victim.exists()


def test_a_folder_with_a_dot_in_its_name_is_still_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "notes.d"
    folder.mkdir()
    assert write_export(folder, "json", TALK, []).parent == folder


def test_home_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write_export(Path("~/talk.md"), "markdown", TALK, []) == tmp_path / "talk.md"


def test_a_write_that_fails_leaves_no_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        write_export(tmp_path, "markdown", TALK, [])
    assert caught.value.info.kind == "export_failed"
    assert str(tmp_path) in caught.value.info.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "Free some space (`df -h {folder}`), or choose another folder."),
        (errno.EROFS, "That disk is read-only: choose another folder."),
        (errno.EACCES, "No permission to write there (`ls -ld {folder}`): choose another folder."),
        (errno.EIO, "Choose another folder."),
    ],
)
def test_the_cure_is_that_of_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cure: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    folder = tmp_path / "my talks"
    folder.mkdir()
    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StorageError) as caught:
        write_export(folder / "new" / "talk.md", "markdown", TALK, [])
    assert caught.value.info.cure == cure.format(folder=shlex.quote(str(folder)))


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.touch()
    for target in (file, file / "talk.md", file / "new" / "talk.md"):
        with pytest.raises(StorageError) as caught:
            write_export(target, "markdown", TALK, [])
        assert caught.value.info.cure.startswith(
            f"{file} is not a folder: choose a folder, or a file with a suffix"
        )
    assert file.read_bytes() == b""


def test_a_pipe_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "pipe").symlink_to("/dev/null")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for target in tmp_path.iterdir():
        with pytest.raises(StorageError) as caught:
            write_export(target, "markdown", TALK, [])
        assert caught.value.info.cure.startswith(f"{target} is not a folder: ")
    assert not (tmp_path / "nowhere").exists()


def test_an_invalid_path_is_reported(tmp_path: Path) -> None:
    for typed in ("a\0b.md", "\0", "~\0/x.md"):
        with pytest.raises(StorageError, match="is not a valid file name"):
            place_for(typed, tmp_path, TALK)


def test_a_name_that_is_too_long_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="too long") as caught:
        write_export(tmp_path / f"{'x' * 300}.md", "markdown", TALK, [])
    assert caught.value.info.cure == "Choose a shorter name."


def test_an_impossible_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="could not be written"):
        write_export(tmp_path / "file" / "exports", "markdown", TALK, [])
    with pytest.raises(StorageError, match="'pdf'"):
        write_export(tmp_path, "pdf", TALK, [])


@given(st.text(max_size=60))
@example("../../etc/passwd")
@example("..")
@example("CON: a/b\\c\x00\n")
@example("漢" * 60)
@example("")
def test_every_title_gives_a_harmless_name(title: str) -> None:
    name = file_name(msgspec.structs.replace(TALK, title=title))
    assert 0 < len(name.encode()) <= 120
    assert not name.startswith((".", "-"))
    assert all(char.isalnum() or char in "-_" for char in name)
    name.encode("utf-8")


def test_a_name_is_the_title_s_words() -> None:
    assert file_name(TALK) == "a-talk"
    assert (
        file_name(msgspec.structs.replace(TALK, title="Ünïcode & Rust's `life-times`?"))
        == "ünïcode-rust-s-life-times"
    )
    assert file_name(msgspec.structs.replace(TALK, title="?!")) == "conversation-7"


@pytest.mark.parametrize("typed", ["a\0b.md", "half \ud83d.md"])
def test_an_invalid_file_name_is_refused(typed: str) -> None:
    with pytest.raises(StorageError, match="is not a valid file name"):
        file_path(typed)


@pytest.mark.parametrize("format", ["markdown", "jsonl", "html", "text"])
def test_thoughts_can_be_left_out(store: ConversationStore, format: str) -> None:
    asked = ask(store, "Why?")
    answer(store, asked, "<think>\nHm.\n</think>\n\nYes.\n\n<think>\nOr no?\n</think>\n\nIndeed.")
    conversation = store.conversation(asked.conversation_id)
    path = store.shown_path(conversation)
    whole = render(format, conversation, path)
    assert "Hm." in whole
    assert "Or no?" in whole
    part = render(format, conversation, without_thoughts(path))
    assert "Hm." not in part
    assert "Or no?" not in part
    assert all(word in part for word in ("Why?", "Yes.", "Indeed."))


def test_json_cannot_be_asked_to_leave_thoughts_out(store: ConversationStore, tmp_path: Path) -> None:
    wanted = Wanted(
        place=str(tmp_path / "talk.json"),
        is_place_given=True,
        format=None,
        has_branches=False,
        message=None,
        code=None,
        has_thoughts=False,
    )
    conversation = store.conversation(ask(store, "Why?").conversation_id)
    with pytest.raises(typer.BadParameter, match="JSON has everything"):
        wanted.export(store, conversation)


@pytest.mark.parametrize("format", ["markdown", "json", "jsonl", "html", "text"])
@pytest.mark.parametrize("count", [2, 5])
def test_a_preview_shows_the_first_words_and_counts_every_message(format: str, count: int) -> None:
    every = [msgspec.structs.replace(said(f"Message {number}"), id=number) for number in range(1, count + 1)]
    shown = preview(format, TALK, every, 3)
    assert [f"Message {number}" in shown for number in (1, 2, 4)] == [True, True, False]
    assert "Message 1" in "".join(shown.splitlines()[:8])  # of which a small terminal shows no more
    if format == "markdown":
        assert shown.splitlines()[0].endswith(f"messages: {count} ---")
