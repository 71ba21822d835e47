"""Markdown transcripts: unchanged text, and a structure that no content can break."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.storage.examples import FINISHED, SAMPLING, STATS, answer, ask
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.export_markdown import (
    close_last_block,
    escape_turn_headings,
    excerpt,
    export_markdown,
)

TALK = Conversation(id=1, title="A talk", created_at=0.0, updated_at=1.5, system_prompt="Be brief.")


def message(number: int, content: str, **fields: object) -> Message:
    role = "user" if number % 2 else "assistant"
    reply = None if role == "user" else FINISHED
    made = Message(
        id=number, conversation_id=1, parent_id=None, role=role, content=content, created_at=0.0, reply=reply
    )
    return msgspec.structs.replace(made, **fields)


def headings(markdown: str) -> list[str]:
    """Of the second level, at the top: what separates the turns. The front matter is left out."""
    tokens = MarkdownIt("commonmark").parse(markdown.split("\n---\n", 1)[1])
    return [
        tokens[index + 1].content.removesuffix(" (smollm2)")
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2" and token.level == 0
    ]


def test_a_transcript_reads_as_it_was_said() -> None:
    assert export_markdown(TALK, [message(1, "Hello?"), message(2, "Hello.\n\n```py\nx = 1\n```")]) == (
        '---\ntitle: "A talk"\nmodel: "smollm2"\nengine: "cpu f16"\n'
        'created: "1970-01-01T00:00:00+00:00"\nupdated: "1970-01-01T00:00:01+00:00"\nmessages: 2\n'
        f"sampling: {msgspec.json.encode(SAMPLING).decode()}\n"
        'timings: {"ttft_s":0.14,"prefill_tps":1210.0,"decode_tps":94.2}\n---\n\n'
        "# A talk\n\n## System\n\nBe brief.\n\n## You\n\nHello?\n\n"
        "## Assistant (smollm2)\n\nHello.\n\n```py\nx = 1\n```\n\n"
        f"*smollm2 · cpu f16 · 41 tok · TTFT 0.14 s · 94.2 tok/s · seed {2**63 - 1}*\n"
    )


def test_a_reply_without_figures_says_how_it_ended() -> None:
    record = msgspec.structs.replace(FINISHED, stats=None, error="The engine\ndied.")
    text = export_markdown(TALK, [message(2, "He", status="error", reply=record)])
    assert text.endswith(f"He\n\n*smollm2 · cpu f16 · seed {2**63 - 1} · failed · The engine died.*\n")


def test_a_title_cannot_break_out_of_the_front_matter() -> None:
    talk = msgspec.structs.replace(TALK, title='"\n---\n# x: [1]')
    text = export_markdown(talk, [])
    assert text.startswith('---\ntitle: "\\"\\n---\\n# x: [1]"\n')
    assert text.count("\n---\n") == 1


OPEN_BLOCKS = [
    "```py\nx = 1",
    "~~~~\n```\nstill code\n~~~",
    "``````\n```\n",
    "> ```\n> quoted",
    "- item\n  ```\n  in the item",
    "1. item\n\n   ```\n   in the item\n\ntext",
    "- item\n\n```\nafter the item",
    "<!-- a comment",
    "<script>\nx",
    "<pre>\n\n<b>",
    "<?php",
    "<!DOCTYPE",
    "<![CDATA[",
    "text\n\n    indented code",
    "| a |\n|---|",
    "```",
    "   ```\n   ```\n   ```",
]


@pytest.mark.parametrize("content", OPEN_BLOCKS)
def test_no_open_block_swallows_the_next_turn(content: str) -> None:
    text = export_markdown(TALK, [message(1, content), message(2, content), message(3, "Next?")])
    assert headings(text) == ["System", "You", "Assistant", "You"]
    assert text.count(content) >= 2


@given(
    st.lists(
        st.sampled_from([*OPEN_BLOCKS, "", " ", "text", "```", "> ", "- ", "   ", "-->", "#", "=="]),
        max_size=6,
    )
)
@example(["- ", "```"])
@example(["> <!--", "```"])
def test_turns_stay_apart_and_words_stay_for_any_content(parts: list[str]) -> None:
    content = "\n".join(parts)
    assert close_last_block(content).startswith(content)
    text = export_markdown(TALK, [message(1, close_last_block(content)), message(2, "Next.")])
    assert headings(text)[-1] == "Assistant"


def test_content_that_closes_its_blocks_is_not_changed() -> None:
    for content in ("", "text", "```\ncode\n```", "> ```\n> quoted", "- item\n  ```\n  code", "    code"):
        assert close_last_block(content) == content


def test_a_stored_conversation_can_be_exported(store: ConversationStore) -> None:
    replied = answer(store, ask(store, "Hello?"))
    text = export_markdown(store.conversation(replied.conversation_id), store.path(replied.id))
    assert "## You\n\nHello?\n\n## Assistant (smollm2)\n\nHello.\n" in text
    assert f"{STATS.decode_tps} tok/s" in text


def turns_in(markdown: str) -> list[tuple[str, str]]:
    """The transcript read again: who said what. Our headings are the ones with our names; figures are left out."""
    text = markdown.split("\n---\n", 1)[1]
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").parse(text)
    starts = [
        (token.map[0], tokens[index + 1].content.removesuffix(" (smollm2)"))
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2" and token.level == 0 and token.map
        if tokens[index + 1].content in ("System", "You", "Assistant (smollm2)")
    ]
    ends = [start for start, _ in starts[1:]] + [len(lines)]
    turns: list[tuple[str, str]] = []
    for (start, who), end in zip(starts, ends, strict=True):
        said = "\n".join(lines[start + 1 : end]).strip("\n")
        said = said.rsplit("\n\n*smollm2", 1)[0] if who == "Assistant" else said
        turns.append((who, re.sub(r"(?m)^(.*?)\\(#+|-+)", r"\1\2", said)))
    return turns


LIKE_OURS = [
    "## Assistant\n\nI did not say this.",
    "## Assistant (smollm2)\n\nNor this.",
    "Assistant (smollm2)\n---\nNor this.",
    "## You",
    "  ##   assistant  ##\ntext",
    "## **System**",
    "Assistant\n---------",
    "text\n\nYou\n-",
    "> ## Assistant\n\n## You\n\n```\n## Assistant\n```",
    "- ## You\n\n## Assistant",
    "# Assistant\n\n### You\n\n## Something else",
    "```\n## Assistant",
]


@pytest.mark.parametrize("content", LIKE_OURS)
def test_a_turn_heading_inside_a_message_is_escaped_and_reads_back_unchanged(content: str) -> None:
    said = [message(1, content), message(2, content), message(3, "Next?"), message(4, content)]
    found = turns_in(export_markdown(TALK, said))
    assert [who for who, _ in found] == ["System", "You", "Assistant", "You", "Assistant"]
    for (_, text), each in zip(found[1:], said, strict=True):
        assert text == close_last_block(each.content)


@given(
    st.lists(st.sampled_from([*LIKE_OURS, *OPEN_BLOCKS, "", "Assistant", "---", "You", "==="]), max_size=5)
)
def test_no_heading_in_a_message_begins_a_turn(parts: list[str]) -> None:
    content = "\n".join(parts)
    found = turns_in(export_markdown(TALK, [message(1, content), message(2, content), message(3, "Next?")]))
    assert [who for who, _ in found] == ["System", "You", "Assistant", "You"]


def test_a_message_without_turn_headings_is_not_changed() -> None:
    for content in (
        "## Plan\n\nYou\n===",
        "text ## Assistant",
        "    ## Assistant",
        "```\n## You\n```",
        "a\r\nb\rc",
    ):
        assert escape_turn_headings(content) == content
    assert escape_turn_headings("a\r\n\r\n## You\r\n") == "a\r\n\r\n\\## You\r\n"


@pytest.mark.parametrize(("content", "fence"), [('{"a": 1}', "```"), ('{"a": "````"}', "`````")])
def test_a_reply_in_json_is_a_block_of_code(content: str, fence: str) -> None:
    reply = message(2, content)
    assert f"\n\n{fence}json\n{content}\n{fence}\n" in excerpt([reply])
