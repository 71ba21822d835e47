"""Finding files as they are typed: the order, what is left out, and a bounded time in a folder of any size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from ttchat_tui.session.file_finder import FileFinder
from ttchat_tui.session.fuzzy import ranked


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(root: Path, typed: str = "") -> list[str]:
    finder = FileFinder(root)
    while not (files := finder.find(typed)).is_complete:
        pass
    return list(files.paths)


@pytest.mark.parametrize(
    ("typed", "best"),
    [
        ("a.py", "a.py"),
        ("chat", "src/chat.py"),
        ("chatact", "src/chat_actions.py"),
        ("xhat.py", "src/chat.py"),
        ("src/m", "src/message.py"),
        ("SRC/CHAT", "src/chat.py"),
        ("sr", "src/"),
    ],
)
def test_the_best_match_is_first(tmp_path: Path, typed: str, best: str) -> None:
    tree(tmp_path, "a.py", "b/a.py", "src/chat.py", "src/chat_actions.py", "src/message.py", "old-chats/x")
    assert found(tmp_path, typed)[0] == best


def test_without_a_letter_the_top_of_the_folder_comes_first(tmp_path: Path) -> None:
    tree(tmp_path, "b.py", "a/deep/x.py", "a/y.py")
    assert found(tmp_path) == ["a/", "b.py", "a/deep/", "a/y.py", "a/deep/x.py"]


def test_gitignore_files_at_every_level_leave_files_out(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "repo" / "sub", "keep.log", "a.log", "build/x", "inner/b.txt", "inner/c.log", "d.tmp"
    )
    (root.parent / ".git").mkdir()
    (root.parent / ".gitignore").write_text("*.log\n!keep.log\n/sub/d.tmp\n[z-a\n!\n")
    (root / ".gitignore").write_text("build/\n")
    (root / "inner" / ".gitignore").write_text("!c.log\nb.txt\n")
    assert found(root) == [".gitignore", "inner/", "keep.log", "inner/.gitignore", "inner/c.log"]


def test_links_out_devices_and_names_that_a_terminal_would_not_show_are_left_out(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "root", "a", "b\x1b[2J", "c\nd", "e\u202ef", ".git/config", "node_modules/x", "sub/g"
    )
    tree(tmp_path / "elsewhere", "secret")
    (root / "link-out").symlink_to(tmp_path / "elsewhere" / "secret")
    (root / "folder-out").symlink_to(tmp_path / "elsewhere")
    (root / "link-in").symlink_to("a")
    (root / "loop").symlink_to("loop")
    (root / "around").symlink_to(".")
    os.mkfifo(root / "pipe")
    os.close(os.open(os.fsencode(root) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    assert found(root) == ["a", "link-in", "sub/", "sub/g"]


def test_other_folders_are_listed_by_their_beginning(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "notes.md", "other.md", ".hidden", "sub/x")
    elsewhere = f"{tmp_path}/elsewhere"
    assert found(tmp_path, f"{elsewhere}/") == [
        f"{elsewhere}/{name}" for name in ("notes.md", "other.md", "sub/")
    ]
    assert found(tmp_path, f"{elsewhere}/.h") == [f"{elsewhere}/.hidden"]
    assert found(tmp_path, "/no-such-folder/x") == []


def test_a_call_walks_for_a_bounded_time_and_the_next_one_continues(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{folder:02}/x" for folder in range(20)))
    clock = iter(range(1000))
    finder = FileFinder(tmp_path, clock=lambda: next(clock) * 0.01)
    calls = [finder.find("x")]
    while not calls[-1].is_complete:
        calls.append(finder.find("x"))
    counts = [len(files.paths) for files in calls]
    assert len(calls) > 5
    assert counts == sorted(counts)
    assert counts[-1] == 20


def test_a_flat_folder_and_an_ignored_one_are_walked_in_steps_too(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"{number:02}.{end}" for number in range(20) for end in ("o", "py")))
    (root / ".gitignore").write_text("*.o\n")
    clock = iter(range(1000))
    finder = FileFinder(root, clock=lambda: next(clock) * 0.01)
    assert not finder.find("py").is_complete
    while not (files := finder.find("py")).is_complete:
        pass
    assert len(files.paths) == 20


def test_a_pattern_with_many_stars_is_skipped_instead_of_matched_for_minutes(tmp_path: Path) -> None:
    root = tree(tmp_path, "a" * 200, "b.log", "c/d/e.tmp")
    (root / ".gitignore").write_text(f"{'*a' * 20}*b\n{'**/a/' * 9}b\n*.l*g\n**/d/*.*mp\n")
    assert found(root) == [".gitignore", "a" * 200, "c/", "c/d/"]


def test_a_folder_that_was_deleted_has_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert [FileFinder().find(typed).paths for typed in ("", "x", "./x")] == [(), (), ()]


def test_a_folder_with_too_many_names_is_cut_and_says_so(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{number:03}" for number in range(30)), "a/b", "c/d")
    finder = FileFinder(tmp_path, most=20)
    files = finder.find("")
    assert (files.is_complete, files.is_cut) == (True, True)


def test_a_new_file_is_found_by_a_later_walk(tmp_path: Path) -> None:
    now = [0.0]
    finder = FileFinder(tree(tmp_path, "a"), clock=lambda: now[0])
    assert finder.find("").paths == ("a",)
    tree(tmp_path, "b")
    assert finder.find("").paths == ("a",), "the walk is fresh"
    now[0] = 60.0
    assert finder.find("").paths == ("a", "b")


@settings(max_examples=sized(40, 3000), deadline=None)
@given(st.lists(st.text("abc/._", max_size=8), max_size=12), st.text("abc/._", max_size=4))
def test_every_name_that_contains_what_is_typed_comes_before_one_that_does_not(
    names: list[str], typed: str
) -> None:
    places = ranked(typed, names, 100)
    assert len(set(places)) == len(places)
    containing = [typed in names[place] for place in places]
    assert containing == sorted(containing, reverse=True)
    assert sum(containing) == sum(typed in name for name in names)
