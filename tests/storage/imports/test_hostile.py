"""Broken and hostile files: a sentence with the place, and nothing half-written."""

from __future__ import annotations

import copy
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.storage.examples import HandClock, answer, ask
from tests.storage.imports.conversations import exported, run
from tests.storage.imports.foreign import FORMATS, Turn, chatgpt, llm_logs, messages, write_json
from ttchat_tui.domain.imports import ImportReport
from ttchat_tui.storage.export import export_json
from ttchat_tui.storage.imports import array, entries
from ttchat_tui.storage.opening import open_store

TREE = Turn("How?", Turn("First.", Turn("Why?", Turn("So."))), Turn("Second."))
OTHER = Turn("Other?", Turn("Yes."))


def own(tree: Turn) -> dict[str, Any]:
    """Our own format, as a program that rewrites JSON leaves it."""
    with tempfile.TemporaryDirectory() as name:
        store = open_store(Path(name) / "own.db", clock=HandClock())
        asked = ask(store, tree.text)
        answer(store, asked, tree.below[0].text)
        conversation = store.conversations()[0]
        text = export_json(conversation, store.tree(conversation.id))
        store.close()
    return json.loads(text)


WRITERS = {**{name: write for name, (write, _) in FORMATS.items()}, "own": own}
VALUES = st.sampled_from(
    [None, True, -1, 1.5, 2**70, 1e300, "", "x", "node-0", [], [[]], {}, {"x": []}, [None, {}]]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value."""
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, below in children:
        yield from places(below, (*path, key))


def with_value(made: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(made)
    if not path:
        return value
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def require_whole(database: Path, report: ImportReport) -> None:
    """Every problem is a sentence, and the database is sound."""
    for problem in report.problems:
        assert problem.place
        assert problem.reason
        assert "\n" not in str(problem)
        assert not any(mark in str(problem) for mark in ("`", "$.", "..")), "in words"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        stored = connection.execute("SELECT count(*) FROM conversations").fetchone()[0]
    assert stored == report.added
    assert len(exported(database)) == report.added


@pytest.mark.parametrize("program", WRITERS)
@settings(max_examples=sized(12, 3000), deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_costs_at_most_its_own_conversation(program: str, data: st.DataObject) -> None:
    good = chatgpt(OTHER)
    made = WRITERS[program](TREE)
    bad = with_value(made, data.draw(st.sampled_from(list(places(made)))), data.draw(VALUES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = run(folder / "store.db", write_json([bad, good], folder / "export.json"))
        assert report.added + report.skipped + report.empty == 2
        assert "Other?" in {each.messages[0].content for each in exported(folder / "store.db")}
        require_whole(folder / "store.db", report)


@pytest.mark.parametrize("program", WRITERS)
@settings(max_examples=sized(10, 1000), deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_keeps_what_is_before_the_cut(program: str, data: st.DataObject) -> None:
    text = json.dumps([chatgpt(OTHER), WRITERS[program](TREE)])
    cut = data.draw(st.integers(0, len(text) - 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cut.json").write_text(text[:cut])
        report = run(folder / "store.db", folder / "cut.json")
        assert (report.skipped, report.added) in ((1, 0), (1, 1), (1, 2))
        assert (report.added == 0) == (cut < len(json.dumps([chatgpt(OTHER)])) - 1)
        require_whole(folder / "store.db", report)


@settings(max_examples=sized(25, 5000), deadline=None)
@given(st.binary(max_size=40), st.sampled_from(["x.json", "x.jsonl", "x.zip", "x.db"]))
def test_any_bytes_give_sentences(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        report = run(Path(folder) / "store.db", path)
        assert report.skipped > 0
        require_whole(Path(folder) / "store.db", report)


@settings(max_examples=sized(25, 2000), deadline=None)
@given(at=st.floats(0, 1), byte=st.integers(0, 255), kind=st.sampled_from(["zip", "db"]))
@example(at=255 / 256, byte=1, kind="zip")  # its directory begins before the file
@example(at=11 / 256, byte=1, kind="zip")  # another length of the name
def test_one_changed_byte_in_a_zip_or_a_database_is_survived(at: float, byte: int, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"export.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("conversations.json", json.dumps([chatgpt(TREE), chatgpt(OTHER)]))
        else:
            llm_logs(TREE, path)
        content = bytearray(path.read_bytes())
        content[int(at * (len(content) - 1))] = byte
        path.write_bytes(content)
        require_whole(Path(name) / "store.db", run(Path(name) / "store.db", path))


def reason_of(folder: Path, file: Path) -> str:
    report = run(folder / "store.db", file)
    assert (report.added, report.skipped) == (0, 1)
    assert not (folder / "store.db-wal").exists()
    return str(report.problems[0])


def test_nesting_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    openings = ("[", '{"mapping":', '{"mapping": {"a":', '[{"chat_messages": [')
    paths = [tmp_path / f"deep-{number}.json" for number in range(len(openings))]
    for path, opening in zip(paths, openings, strict=True):
        path.write_text(opening + "[" * 3_000_000)
    code = (
        "import sys; from pathlib import Path; from tests.storage.imports.conversations import run;"
        "[print(run(Path(sys.argv[1]), Path(each)).problems[0]) for each in sys.argv[2:]];"
        "print(Path('/proc/self/status').read_text(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store.db"), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for path, problem in zip(paths, done.stdout.splitlines(), strict=True):
        assert path.name in problem
        assert any(why in problem for why in ("nested too deeply", "ends in the middle", "too large"))
    # Not `ru_maxrss`, which begins with the size of the process that forked this one.
    peak_kb = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    assert peak_kb is not None
    assert int(peak_kb[1]) < 300 << 10


@pytest.mark.parametrize(("name", "limit"), [("LARGEST", 1 << 16), ("MOST_VALUES", 1000), ("DEEPEST", 20)])
def test_an_entry_that_is_too_large_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(array, name, limit)
    large = chatgpt(Turn("x"))
    large["mapping"]["node-0"]["message"]["content"]["parts"] = ["x" * 1000] * 2000
    large["nested"] = json.loads("[" * 30 + "]" * 30)
    if name != "DEEPEST":
        del large["nested"]
    made = [chatgpt(OTHER), large, {**chatgpt(TREE), "create_time": 1.0}]
    report = run(tmp_path / "store.db", write_json(made, tmp_path / "large.json"))
    assert (report.added, report.skipped) == (2, 1)
    why = "nested too deeply" if name == "DEEPEST" else "too large"
    assert str(report.problems[0]) == f"large.json, entry 2: it is {why}."


@pytest.mark.parametrize("text", ['[{"mapping": "', '{"messages": ["', '{"messages":\n["'])
def test_a_string_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(entries, "LARGEST", 1 << 20)
    path = tmp_path / "long.json"
    path.write_text(text + "x" * (4 << 20))
    assert "long.json, near byte 1,1" in reason_of(tmp_path, path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_named_with_the_way_to_convert_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(json.dumps([chatgpt(TREE)]).encode(encoding))
    name = encoding[:6].upper()
    assert f"in {name}. Convert it to UTF-8: iconv -f {name} -t UTF-8" in reason_of(tmp_path, path)


def test_bytes_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(json.dumps([chatgpt(Turn("über", Turn("x")))], ensure_ascii=False).encode("latin-1"))
    assert "export.json, entry 1 (near byte" in reason_of(tmp_path, path)
    path.write_bytes(json.dumps(messages(Turn("über", Turn("x"))), ensure_ascii=False).encode("latin-1"))
    assert "is not UTF-8" in reason_of(tmp_path, path)


@pytest.mark.parametrize(
    "data",
    [bytes(range(99)), b"\0\x01\xff" * 50, b"\xc8\x07\0\x03" * 50, b"\x89PNG\r\n\x1a\n", b"\xff\xfe\0\1"],
)
def test_bytes_that_are_no_text_are_named_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo.json").write_bytes(data)
    assert "photo.json: it is not text. ttchat-tui imports" in reason_of(tmp_path, tmp_path / "photo.json")


def test_a_byte_order_mark_and_space_before_the_text_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(b"\xef\xbb\xbf\r\n  " + json.dumps([chatgpt(TREE)]).encode())
    assert run(tmp_path / "store.db", path).added == 1


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps(messages(Turn("\ud83d", Turn("x")))))
    assert run(tmp_path / "store.db", path).added == 1
    assert exported(tmp_path / "store.db")[0].messages[0].content == "\ufffd"


def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    good = json.dumps(messages(OTHER))
    path.write_text(f'{{"messages": [}}\n{good}\n{{"messages": 7}}\n[]\n{good[:-2]}')
    report = run(tmp_path / "store.db", path)
    assert report.added == 1
    assert [each.place for each in report.problems] == [f"talks.jsonl, line {n}" for n in (1, 3, 4, 5)]
    assert "line 3: messages is not a list." in str(report.problems[1])


@pytest.mark.parametrize("text", ['[{"mapping": 1DIGITS}]', '{"messages": 1DIGITS}'])
def test_a_number_of_thousands_of_digits_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "digits.json"
    path.write_text(text.replace("DIGITS", "0" * 9000))
    assert reason_of(tmp_path, path).startswith("digits.json")


@pytest.mark.parametrize("before", ["", '"', "\\", '\\"', "x" * ((1 << 16) - 60)])
def test_thousands_of_digits_in_a_message_are_text(tmp_path: Path, before: str) -> None:
    said = f"{before} {'7' * 5000}"
    made = [chatgpt(Turn(said, Turn("A large number."))), chatgpt(OTHER)]
    report = run(tmp_path / "store.db", write_json(made, tmp_path / "digits.json"))
    assert (report.added, report.problems) == (2, ())


def test_messages_in_a_circle_are_refused(tmp_path: Path) -> None:
    made = chatgpt(TREE)
    made["mapping"]["node-0"]["parent"] = "node-1"
    said = reason_of(tmp_path, write_json([made], tmp_path / "round.json"))
    assert said == "round.json, entry 1 “A talk”: its messages follow each other in a circle."


def test_an_unknown_export_is_named_with_the_known_ones(tmp_path: Path) -> None:
    said = reason_of(tmp_path, write_json([{"id": 1}], tmp_path / "bills.json"))
    assert said.startswith(
        "bills.json, entry 1: it is not a conversation in a known format. ttchat-tui imports its own"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.json", "No such file or directory"),
        ("folder", "it is a folder. Name the files in it: "),
        ("pipe", "it is a named pipe"),
        ("\0", "embedded null byte"),
    ],
)
def test_what_is_no_file_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert reason in reason_of(tmp_path, tmp_path / name)


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("conversations.json", "w") as member,
    ):
        for _ in range(100):
            member.write(b" " * (1 << 20))
    said = reason_of(tmp_path, path)
    assert "bomb.zip, conversations.json: it would unpack to 100 MB from" in said


def test_names_in_a_zip_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traversal.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil/conversations.json", json.dumps([chatgpt(TREE)]))
        archive.writestr("/etc/evil.json", "[]")
    assert run(tmp_path / "store.db", path).added == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["store.db", "traversal.zip"]


@pytest.mark.parametrize("content", [{"a.txt": "x"}, {}])
def test_a_zip_without_json_is_named(tmp_path: Path, content: dict[str, str]) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    assert "the zip has no JSON file" in reason_of(tmp_path, path) if content else reason_of(tmp_path, path)


@pytest.mark.parametrize(
    ("at", "byte", "reason"),
    [(6, 99, "the zip cannot be read (zip file version 9.9)"), (46, 0xFF, "the zip is damaged")],
    ids=["version", "name"],
)
def test_a_zip_whose_directory_cannot_be_read_is_named(
    tmp_path: Path, at: int, byte: int, reason: str
) -> None:
    path = tmp_path / "strange.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("chät.json", "[]")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + at] = byte
    path.write_bytes(data)
    assert reason in reason_of(tmp_path, path)


def test_a_zip_with_a_password_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", "[]")
    content = bytearray(path.read_bytes())
    for header, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flag] |= 1
    path.write_bytes(content)
    assert "the zip has a password. Unpack it" in reason_of(tmp_path, path)


def test_another_program_s_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE places (id)")
    assert "it is a database, but not that of llm" in reason_of(tmp_path, path)


def test_a_full_disk_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    """In a process of its own with a limit for files."""
    database = tmp_path / "store.db"
    run(database, write_json([chatgpt(OTHER)], tmp_path / "first.json"))
    before = exported(database)
    write_json([chatgpt(Turn("x" * 4_000_000))], tmp_path / "large.json")
    code = (
        "import resource, signal, sys; from pathlib import Path; from tests.storage.imports.conversations import run;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "run(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(database), str(tmp_path / "large.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "StorageError" in done.stderr
    assert exported(database) == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1 << 20
