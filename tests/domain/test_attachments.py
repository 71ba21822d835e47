"""Mentions in a draft, and the blocks of a sent message: what is one, what is left alone, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from ttchat_tui.domain.attachments import (
    block_of,
    find_blocks,
    find_mentions,
    mention_of,
    with_blocks,
    with_blocks_of,
    without_mentioned_blocks,
)

NAMES = st.text(
    st.characters(blacklist_categories=("C", "Z")) | st.sampled_from(" `'\".,)\\@"), min_size=1
).filter(lambda name: name == name.strip())
TEXTS = st.lists(st.sampled_from([*"ab`~\n @:", "```\n", "Attached file x:\n", "````"]), max_size=30).map(
    "".join
)


@pytest.mark.parametrize(
    ("draft", "paths"),
    [
        ("explain @src/a.py", ["src/a.py"]),
        ("(@a.py) and @b.py, see", ["a.py)", "b.py,"]),
        ('@"my notes.md" @"a\\"b"', ["my notes.md", 'a"b']),
        ("看看@a.py", ["a.py"]),
        ("me@example.org, git@host:x, a/@b, \\@c", []),
        ("in `@a.py` code, ``@b`` too", []),
        ('@"`0`" and `@"a` @"`b"', ["`0`", "`b"]),
        ("```\n@a.py\n```\n@b.py", ["b.py"]),
        ("~~~~ python\n@a.py\n~~~\n@b.py\n~~~~~\n@c.py", ["c.py"]),
        ("an open fence\n```\n@a.py", []),
        ("```not a fence``` @a.py", ["a.py"]),
        ("@ alone, @@a", []),
    ],
)
def test_a_mention_is_a_path_after_an_at_sign_that_is_in_no_address_and_no_code(
    draft: str, paths: list[str]
) -> None:
    mentions = find_mentions(draft)
    assert [mention.path for mention in mentions] == paths
    assert all(draft[mention.start] == "@" for mention in mentions)


@settings(max_examples=sized(40, 3000), deadline=None)
@given(NAMES)
def test_the_mention_of_a_name_is_read_back_as_that_name(name: str) -> None:
    assert [mention.path for mention in find_mentions(f"see {mention_of(name)} ")] == [name]


@settings(max_examples=sized(60, 5000), deadline=None)
@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_blocks_are_found_again_with_their_contents_whatever_is_in_them(
    draft: str, contents: list[str]
) -> None:
    blocks = [block_of(f"{number}.md", content) for number, content in enumerate(contents)]
    sent = with_blocks(draft.replace("`", "").replace("Attached", ""), blocks)
    found = find_blocks(sent)
    assert [sent[block.start : block.end] for block in found] == blocks
    assert [block.content.removesuffix("\n") for block in found] == [
        content.removesuffix("\n") for content in contents
    ]


def test_a_sent_message_becomes_its_draft_again_if_the_draft_mentions_the_file() -> None:
    draft = "compare @a.py and @b.py."
    sent = with_blocks(draft, [block_of("a.py", "@b.py\n"), block_of("b.py", "x")])
    assert without_mentioned_blocks(sent) == draft
    by_command_line = with_blocks("compare", [block_of("a.py", "x")])
    assert without_mentioned_blocks(by_command_line) == by_command_line


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ("compare @a.py and @b.py.", "ab"),
        ("only @b.py, please", "b"),
        ("neither", ""),
        ("@b.py and @new.py", "b"),
        (with_blocks("@a.py", [block_of("a.py", "old")]), "a"),
    ],
)
def test_a_changed_draft_keeps_the_files_that_it_still_mentions(changed: str, kept: str) -> None:
    blocks = {"a": block_of("a.py", "old"), "b": block_of("b.py", "@a.py\n")}
    sent = with_blocks("compare @a.py and @b.py.", list(blocks.values()))
    draft = without_mentioned_blocks(changed)
    assert with_blocks_of(sent, changed) == with_blocks(draft, [blocks[each] for each in kept])


def test_a_name_cannot_break_out_of_its_label() -> None:
    block = block_of("a\n```\n\x1b[2J", "text")
    assert block.count("\n") == 3
    assert "\x1b" not in block
