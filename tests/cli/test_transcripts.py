"""`export` with wrong arguments: one line and an exit code for scripts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli import program
from tests.storage.examples import STARTED, answer, ask
from tests.storage.test_recordings import recorded_reply
from ttchat_tui.storage import writers
from ttchat_tui.storage.export import ENDINGS
from ttchat_tui.storage.opening import open_store


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
def test_an_unknown_number_is_a_usage_error(number: int, wanted: str) -> None:
    done = export(wanted)
    assert (done.returncode, done.stdout) == (2, "")
    said = f"There is no conversation {wanted}. `ttchat-tui export --list` shows the numbers."
    assert done.stderr == f"ttchat-tui: {said}\n"


def test_all_cannot_be_combined_with_a_number(number: int) -> None:
    done = export(str(number), "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--all: it cannot be combined with a number" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--all",), 1), (("--list",), 0)])
def test_without_conversations_that_is_reported(arguments: tuple[str, ...], code: int) -> None:
    done = export(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (
        code,
        "",
        "ttchat-tui: There is no conversation yet.\n",
    )


def test_json_has_every_version_of_a_reply_and_markdown_the_one_on_screen(own_folders: Path) -> None:
    store = open_store(own_folders / "data" / "conversations.db")
    asked = ask(store, "hello")
    answer(store, asked, "first answer")
    answer(store, asked, "second answer")
    store.close()
    written = json.loads(Path(export("-f", "json").stdout.strip()).read_text())
    contents = [message["content"] for message in written["messages"]]
    assert contents == ["hello", "first answer", "second answer"]
    markdown = Path(export().stdout.strip()).read_text()
    assert "second answer" in markdown
    assert "first answer" not in markdown


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_file_suffix_names_its_format_too(own_folders: Path, ending: str) -> None:
    store = open_store(own_folders / "data" / "conversations.db")
    recorded_reply(store)
    store.close()
    by_name = export("-f", ENDINGS[ending], "--to", "-")
    by_suffix = export("-f", ending.removeprefix("."), "--to", "-")
    assert (by_suffix.returncode, by_suffix.stdout) == (0, by_name.stdout)
    file = Path(export("-f", ending.removeprefix(".")).stdout.strip())
    assert file.is_file()


def test_trace_adds_what_was_recorded_of_each_token_to_json(own_folders: Path) -> None:
    store = open_store(own_folders / "data" / "conversations.db")
    recorded_reply(store)
    store.close()
    document = json.loads(export("--trace", "--to", "-").stdout)
    (recording,) = document["recordings"]
    assert recording["message_id"] == document["messages"][-1]["id"]
    assert recording["pieces"] == [[5, " a"], [7, [0xE2, 0x80]], [9, "b"]]
    assert recording["tokens"][0]["alternatives"] == [[5, -0.125, "kept"], [7, -3.5, "top-p"]]
    assert "recordings" not in json.loads(export("-f", "json", "--to", "-").stdout)
    refused = export("--trace", "-f", "text")
    assert (refused.returncode, "it is for --format json" in refused.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [(), ("--list",), ("--all",), ("1",)])
@pytest.mark.parametrize(
    ("offset", "damage", "said"),
    [(0, bytes(200), "`ttchat-tui repair`"), (60, (47).to_bytes(4, "big"), "newer ttchat-tui")],
    ids=["damaged", "newer"],
)
def test_an_unreadable_file_gives_one_line_with_the_reason(
    number: int, own_folders: Path, offset: int, damage: bytes, said: str, arguments: tuple[str, ...]
) -> None:
    path = own_folders / "data" / "conversations.db"
    content = bytearray(path.read_bytes())
    content[offset : offset + len(damage)] = damage
    path.write_bytes(content)
    done = export(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr
    assert "this session" not in done.stderr


def test_a_reply_whose_process_died_is_exported_as_interrupted(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(own_folders / "data" / "conversations.db")
    asked = ask(store)
    with monkeypatch.context() as patch:
        patch.setattr(writers, "_start_time", lambda pid: "another life")  # pyright: ignore
        reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    store.checkpoint(reply.id, "Half of", (1,))
    store.close()
    written = json.loads(Path(export("-f", "json").stdout.strip()).read_text())
    assert written["messages"][1]["status"] == "interrupted"


def test_a_file_in_the_place_of_a_folder_is_reported(number: int, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    done = export(str(number), "-o", str(tmp_path / "taken"))
    assert done.returncode == 1
    assert "taken is not a folder: choose a folder" in done.stderr
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.fixture
def branched(own_folders: Path) -> None:
    """Two replies to a question; the second has two code blocks and is on screen."""
    store = open_store(own_folders / "data" / "conversations.db")
    asked = ask(store, "hello")
    answer(store, asked, "first")
    answer(store, asked, "second\n```python\nx = 1\n```\n~~~\n<b> \x1b[31m\n~~~")
    store.close()


def test_branches_are_lines_of_the_messages_format(branched: None) -> None:
    lines = export("--branches", "-o", "-").stdout.splitlines()
    assert [json.loads(line)["messages"][1]["content"][:6] for line in lines] == ["first", "second"]


@pytest.mark.parametrize(
    ("arguments", "stdout"),
    [
        (("--code", "1"), "x = 1\n"),
        (("--code", "2", "--message", "2"), "<b> \x1b[31m\n"),
        (("--message", "1", "-f", "jsonl"), '{"messages":[{"role":"user","content":"hello"}]}\n'),
    ],
)
def test_a_message_or_a_code_block_goes_to_stdout_unchanged(
    branched: None, arguments: tuple[str, ...], stdout: str
) -> None:
    done = export(*arguments, "-o", "-")
    assert (done.returncode, done.stdout) == (0, stdout)


def test_every_conversation_goes_to_stdout_one_after_the_other(branched: None, own_folders: Path) -> None:
    store = open_store(own_folders / "data" / "conversations.db")
    ask(store, "another")
    store.close()
    lines = export("--all", "-f", "jsonl", "-o", "-").stdout.splitlines()
    assert [json.loads(line)["messages"][0]["content"] for line in lines] == ["another", "hello"]


def test_a_code_block_gets_the_suffix_of_its_language(branched: None, tmp_path: Path) -> None:
    written = [
        Path(export("--code", number, "-o", str(tmp_path / "block")).stdout.strip()) for number in "12"
    ]
    assert [each.name for each in written] == ["block.py", "block.txt"]
    assert written[0].read_text() == "x = 1\n"
    assert Path(export("--code", "1", "-o", f"{tmp_path}/made.rs").stdout.strip()).name == "made.rs"


def test_the_suffix_makes_a_page_or_plain_text(branched: None, tmp_path: Path) -> None:
    page = Path(export("-o", str(tmp_path / "talk.html")).stdout.strip()).read_text()
    assert page.startswith("<!doctype html>")
    assert "&lt;b&gt;" in page
    text = Path(export("-o", str(tmp_path / "talk.txt")).stdout.strip()).read_text()
    assert "\n\nhello\n\n=== smollm2" in text


def test_only_force_replaces_a_file_and_a_number_is_reported(branched: None, tmp_path: Path) -> None:
    file = tmp_path / "talk.md"
    file.write_text("mine")
    done = export("-o", str(file))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/talk-2.md\n")
    assert "talk.md exists; it is kept, and this is talk-2.md. --force" in done.stderr
    assert file.read_text() == "mine"
    done = export("-o", str(file), "--force")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}\n", "")
    assert "second" in file.read_text()


def test_a_format_that_does_not_exist_is_a_usage_error(branched: None, tmp_path: Path) -> None:
    for arguments in (("-o", "foo.pdf"), ("-o", "foo.md", "-f", "json")):
        done = export(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--message", "3"), "there is no message 3; the conversation shows 2 messages"),
        (("--code", "3"), "the message has 2 code blocks"),
        (("--code", "1", "--message", "1"), "the message has no code blocks"),
        (("--branches", "--message", "1"), "--message: it cannot be combined with --branches"),
        (("--code", "1", "-f", "json"), "--code: it cannot be combined with --format"),
        (("--branches", "-f", "html"), "--branches: it is for --format jsonl"),
        (("--all", "--code", "1"), "--code: it cannot be combined with --all"),
    ],
)
def test_what_there_is_not_is_a_usage_error(branched: None, arguments: tuple[str, ...], said: str) -> None:
    done = export(*arguments, "-o", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
