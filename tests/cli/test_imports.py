"""`import` on the command line: one line of result, one for each thing that was skipped, and an exit code for scripts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cli import program
from tests.storage.imports.foreign import Turn, chatgpt, write_json


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return program.run("import", *arguments)


def test_an_export_is_tried_and_imported_and_not_twice(own_folders: Path, tmp_path: Path) -> None:
    file = str(write_json([chatgpt(Turn("How?", Turn("So.")))], tmp_path / "export.json"))
    for arguments, said in (
        (("--dry-run", file), "Dry run, nothing is changed: 1 conversation added (2 new messages).\n"),
        ((file,), "1 conversation added (2 new messages).\n"),
        ((file, file), "2 already here.\n"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_what_is_skipped_is_named_and_the_rest_is_imported(own_folders: Path, tmp_path: Path) -> None:
    good = write_json([chatgpt(Turn("How?", Turn("So."))), 7], tmp_path / "export.json")
    (broken := tmp_path / "broken.json").write_text("{")
    done = run(str(broken), str(good))
    assert (done.returncode, done.stdout) == (1, "1 conversation added, 2 skipped (2 new messages).\n")
    assert done.stderr.splitlines() == [
        "ttchat-tui: skipped broken.json: it is not valid JSON (line 1, column 2).",
        "ttchat-tui: skipped export.json, entry 2: it is not an object.",
    ]


def test_a_name_with_control_characters_reaches_the_terminal_as_symbols(
    own_folders: Path, tmp_path: Path
) -> None:
    file = tmp_path / "\x1b[31mred.json"
    file.write_text(json.dumps([{"\x1b]0;title\x07": 1}]))
    done = run(str(file))
    assert done.returncode == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert "\u241b[31mred.json, entry 1: it is not a conversation" in done.stderr


def test_a_database_that_cannot_be_written_is_one_sentence(own_folders: Path, tmp_path: Path) -> None:
    database = own_folders / "data" / "conversations.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 400)
    done = run(str(write_json([chatgpt(Turn("How?"))], tmp_path / "export.json")))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "`ttchat-tui repair`" in done.stderr
