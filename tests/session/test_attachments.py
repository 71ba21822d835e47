"""Attaching: what goes into the message, what is refused with which reason, and what is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ttchat_tui.domain.attachments import AttachmentError, without_mentioned_blocks
from ttchat_tui.session.attachments import (
    MOST_BYTES,
    MOST_LISTED,
    attach_mentioned,
    attach_named,
    mentioned_file,
    pasted_path,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("x = '```'\n")
    (tmp_path / "my notes.md").write_bytes("\ufeffone\r\ntwo".encode())
    (tmp_path / "plain").write_text("")
    return tmp_path


def test_a_file_goes_in_as_a_labelled_block_with_its_language_and_a_longer_fence() -> None:
    attached = attach_mentioned("Explain @src/a.py, please.")
    assert attached.text == (
        "Explain @src/a.py, please.\n\nAttached file src/a.py:\n````python\nx = '```'\n````"
    )
    assert attached.names == ("src/a.py",)


@pytest.mark.parametrize(
    ("draft", "names"),
    [
        ("@at@sign.txt", ["at@sign.txt"]),
        ("see @at@sign.txt, then", ["at@sign.txt"]),
        ("@plain@home", ["plain"]),
        ("@plain,@at@sign.txt", ["plain", "at@sign.txt"]),
        ("me@plain and @angular/core@17", []),
    ],
)
def test_a_name_may_have_an_at_sign(folder: Path, draft: str, names: list[str]) -> None:
    (folder / "at@sign.txt").write_text("here")
    attached = attach_mentioned(draft)
    assert list(attached.names) == names
    assert without_mentioned_blocks(attached.text) == draft


def test_a_mentioned_file_is_found_without_opening_it(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert mentioned_file("me@plain, @nobody and `@plain`, @src/gone.py, @pipe, @plain") == "pipe"
    assert mentioned_file(attach_mentioned("@plain").text) == ""


def test_a_name_with_a_space_is_quoted_and_line_ends_are_newlines() -> None:
    assert attach_mentioned('@"my notes.md"').text.endswith(
        "Attached file my notes.md:\n```markdown\none\ntwo\n```"
    )


def test_each_file_goes_in_once_and_not_again_into_a_message_that_has_it() -> None:
    sent = attach_mentioned("@src/a.py @src/a.py").text
    assert sent.count("Attached file") == 1
    assert attach_mentioned(sent).text == sent


def test_a_folder_is_listed_with_folders_first(folder: Path) -> None:
    (folder / "src" / "sub").mkdir()
    (folder / "src" / "b\n\x1b[2J.txt").touch()
    (folder / "src" / "loop").symlink_to("loop")
    block = attach_mentioned("@src/").text.partition("Attached folder src/:\n")[2]
    assert block == "```\nsub/\na.py\nb ␛[2J.txt\nloop\n```"
    for number in range(MOST_LISTED):
        (folder / "src" / "sub" / f"{number:04}").touch()
    (folder / "src" / "sub" / "one-more").touch()
    assert attach_named("", ["src/sub"]).text.endswith("0999\n… and 1 more\n```")


@pytest.mark.parametrize(
    "draft",
    [
        "mail me@example.org",
        "@dataclass and @alice",
        "@angular/core",
        "@src is a folder without a slash",
        "`@src/a.py`",
        "@missing.py",
        "@/no-such-folder/x @~nobody/x",
        f"@{'x' * 300}/y @{'x' * 5000}/y @{')' * 300}",
    ],
)
def test_an_at_sign_in_ordinary_text_is_left_alone(draft: str) -> None:
    attached = attach_mentioned(draft)
    assert (attached.text, attached.names) == (draft, ())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("src/gone.py", "there is no such file"),
        ("./gone", "there is no such file"),
        ("binary", "it is not text (it has null bytes)"),
        ("latin-1.txt", "it is not UTF-8 (byte 3 is 0xEF)"),
        ("utf-16.txt", "it is UTF-16, and only UTF-8 is read"),
        ("huge", "it has more than the 1 MB that a message may attach"),
        ("pipe", "it is a named pipe"),
        ("null", "it is a device (by a link to /dev/null)"),
        ("loop", "Too many levels of symbolic links"),
        ("gone-link", "there is no such file"),
    ],
)
def test_what_cannot_be_attached_is_refused_with_the_reason(folder: Path, name: str, reason: str) -> None:
    (folder / "binary").write_bytes(b"ELF\0\xff")
    (folder / "latin-1.txt").write_bytes(b"na\xefve")
    (folder / "utf-16.txt").write_bytes("x".encode("utf-16"))
    (folder / "huge").write_bytes(b"x" * (MOST_BYTES + 1))
    os.mkfifo(folder / "pipe")
    (folder / "null").symlink_to("/dev/null")
    (folder / "loop").symlink_to("loop")
    (folder / "gone-link").symlink_to("nowhere")
    with pytest.raises(AttachmentError) as refused:
        attach_mentioned(f"see @{name}.")
    assert refused.value.info.message == f"{name} cannot be attached: {reason}."
    assert "`backticks`" in refused.value.info.cure
    with pytest.raises(AttachmentError, match="cannot be attached"):
        attach_named("see", [name])


def test_an_unreadable_file_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(AttachmentError, match="you may not read it"):
        attach_named("", ["plain"])


def test_files_together_have_a_limit(folder: Path) -> None:
    (folder / "half").write_bytes(b"x" * (MOST_BYTES // 2 + 1))
    (folder / "other").write_bytes(b"x" * (MOST_BYTES // 2 + 1))
    with pytest.raises(AttachmentError, match="other cannot be attached: it has more than the 1 MB"):
        attach_named("", ["half", "other"])


def test_a_file_that_fills_the_limit_leaves_nothing_for_others(folder: Path) -> None:
    (folder / "full").write_bytes(b"x" * MOST_BYTES)
    (folder / "other").write_text("x")
    with pytest.raises(AttachmentError, match="other cannot be attached: it has more than the 1 MB"):
        attach_named("", ["full", "other"])


def test_a_hostile_name_is_shown_with_symbols() -> None:
    with pytest.raises(AttachmentError) as refused:
        attach_named("", ["a\x1b[2J\nb\udcff"])
    assert not set(refused.value.info.message) & set("\x1b\n\udcff")


@pytest.mark.parametrize(
    ("pasted", "path"),
    [
        ("{}/my notes.md", "{}/my notes.md"),
        ("'{}/my notes.md'", "{}/my notes.md"),
        ('"{}/my notes.md"\n', "{}/my notes.md"),
        ("{}/my\\ notes.md ", "{}/my notes.md"),
        ("file://{}/my%20notes.md", "{}/my notes.md"),
        ("file://localhost{}/src", "{}/src/"),
        ("src/a.py", "src/a.py"),
        ("plain", "plain"),
        ("src", None),
        ("file://elsewhere{}/src", None),
        ("{}/gone", None),
        ("src/a.py and more", None),
        ("it's", None),
        ("a\0/b", None),
    ],
)
def test_a_paste_that_is_one_path_is_recognised_as_terminals_drop_it(
    folder: Path, pasted: str, path: str | None
) -> None:
    assert pasted_path(pasted.format(folder)) == (path.format(folder) if path else None)
