"""`export` with what a person may get wrong: one line, and an exit code that a script can go by."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli import program
from ttchat_tui.domain.conversation import ReplyRecord
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.opening import open_store

RECORD = ReplyRecord(model="m", engine="cpu", sampling=SamplingParams(), seed=1)


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return program.run("export", *arguments)


@pytest.fixture
def number(own_folders: Path) -> int:
    """That of the one conversation there is."""
    store = open_store(own_folders / "data" / "conversations.db")
    try:
        return store.create_conversation().id
    finally:
        store.close()


@pytest.mark.parametrize("wanted", ["99", "0"])
def test_a_number_that_there_is_not_is_a_usage_error(number: int, wanted: str) -> None:
    done = export(wanted)
    assert (done.returncode, done.stdout) == (2, "")
    said = f"There is no conversation {wanted}. `ttchat-tui export --list` shows the numbers."
    assert done.stderr == f"ttchat-tui: {said}\n"


def test_all_conversations_are_not_one_of_them(number: int) -> None:
    done = export(str(number), "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--all: it goes without a number" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--all",), 1), (("--list",), 0)])
def test_where_there_is_no_conversation_yet_it_is_said(arguments: tuple[str, ...], code: int) -> None:
    done = export(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (
        code,
        "",
        "ttchat-tui: There is no conversation yet.\n",
    )


def test_json_has_every_version_of_a_reply_and_markdown_the_one_on_screen(own_folders: Path) -> None:
    store = open_store(own_folders / "data" / "conversations.db")
    conversation = store.create_conversation(model="m", system_prompt="", sampling=None)
    asked = store.add_user_message(conversation.id, None, "hello")
    for text in ("first answer", "second answer"):
        reply = store.begin_reply(conversation.id, asked.id, RECORD)
        store.finish_reply(reply.id, text, "complete", RECORD)
    store.close()
    written = json.loads(Path(export("-f", "json").stdout.strip()).read_text())
    contents = [message["content"] for message in written["messages"]]
    assert contents == ["hello", "first answer", "second answer"]
    markdown = Path(export().stdout.strip()).read_text()
    assert "second answer" in markdown
    assert "first answer" not in markdown


def test_what_cannot_be_read_is_told_once_and_ends_with_1(own_folders: Path) -> None:
    path = own_folders / "data" / "conversations.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no database" * 1000)
    for arguments in ((), ("--list",), ("--all",)):
        done = export(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "ttchat-tui repair" in done.stderr


def test_a_file_where_the_folder_should_be_is_told_as_that(number: int, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    done = export(str(number), "-o", str(tmp_path / "taken"))
    assert done.returncode == 1
    assert "There is a file where the folder should be" in done.stderr
    assert (tmp_path / "taken").read_text() == "mine"
