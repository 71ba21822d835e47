"""What is being typed at the cursor: a command, an argument, a file's name, or nothing that can be completed."""

from __future__ import annotations

import pytest

from ttchat_tui.domain.attachments import find_mentions
from ttchat_tui.ui.commands import Parts
from ttchat_tui.ui.widgets.prompt.typed import Typed, file_offer, part_of, typed_before


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("/", Typed("command", "/", 0)),
        ("/re", Typed("command", "/re", 0)),
        ("/save ", Typed("argument", "", 6, "/save")),
        ("/SAVE  my no", Typed("argument", "my no", 7, "/save")),
        ("see @", Typed("file", "", 4)),
        ("see @src/a", Typed("file", "src/a", 4)),
        ('see @"my no', Typed("file", "my no", 4)),
        ('see @"a\\"b', Typed("file", 'a"b', 4)),
        ("看@a", Typed("file", "a", 1)),
        ("/usr/bin", None),
        ("me@example", None),
        ("see @a b", None),
        ('see @"a"', None),
        ("", None),
    ],
)
def test_what_ends_at_the_cursor_is_completed(line: str, typed: Typed | None) -> None:
    assert typed_before(line, len(line), is_only_line=True) == typed


def test_a_command_is_the_whole_draft_and_a_mention_may_be_anywhere() -> None:
    assert typed_before("/re", 3, is_only_line=False) is None
    assert typed_before("/retry", 3, is_only_line=True) is None
    assert typed_before("see @src now", 6, is_only_line=False) == Typed("file", "s", 4)


@pytest.mark.parametrize(
    ("line", "parts", "text", "start", "setting"),
    [
        ("/tag work ru|", "words", "ru", 10, ""),
        ("/tag wo| rust", "words", "wo", 5, ""),
        ("/tag work,#ru|", "words", "ru", 10, ""),
        ("/tag work |", "words", "", 10, ""),
        ("/retry te|", "settings", "te", 7, ""),
        ("/retry top-k=4 te| seed=1", "settings", "te", 15, ""),
        ("/retry model=|", "settings", "", 13, "model"),
        ('/retry model="a b|', "settings", "a b", 13, "model"),
        ("/retry stop='a b' stop=c=|", "settings", "c=", 23, "stop"),
    ],
)
def test_the_part_of_an_argument_at_the_cursor_is_completed(
    line: str, parts: Parts, text: str, start: int, setting: str
) -> None:
    before, _, after = line.partition("|")
    argument = typed_before(before + after, len(before), is_only_line=True)
    assert argument is not None
    part = part_of(argument, parts)
    assert part is not None
    assert (part.text, part.start, part.setting) == (text, start, setting)
    assert (part_of(argument, "whole") is None) == bool(after)


@pytest.mark.parametrize("path", ["a.py", "my notes.md", 'a"b', "a`b.md", "(a)", "src/"])
def test_a_file_that_is_taken_is_a_mention_of_it(path: str) -> None:
    offer = file_offer(path, is_mention=True)
    assert [mention.path for mention in find_mentions(offer.value)] == [path]
    assert offer.is_unfinished == path.endswith("/")


def test_a_folder_with_a_space_is_typed_on_inside_its_quotes() -> None:
    value = file_offer("my notes/", is_mention=True).value
    assert typed_before(f"{value}a", len(value) + 1, is_only_line=True) == Typed("file", "my notes/a", 0)
