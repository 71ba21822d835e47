"""A conversation as a Markdown document: front matter, a heading for each turn, and the text unchanged."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

import msgspec
from markdown_it import MarkdownIt

from ttchat_tui.domain.conversation import Conversation, Message, ReplyRecord
from ttchat_tui.domain.literal_text import is_json
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import normalised
from ttchat_tui.storage.export_words import HEADINGS, figures_of, without_line_breaks

_OUR_WORDS: Final = frozenset(word.casefold() for word in HEADINGS.values())
_LINE_ENDS: Final = re.compile(r"(\r\n|\r|\n)")
_TICKS: Final = re.compile("`+")
_NO_LETTERS: Final = re.compile(r"[\W_]+")
_MODEL: Final = re.compile(r"\(.*\)\W*$", re.DOTALL)
"""What follows the word in a heading of ours."""
_MARKS: Final = re.compile(r"^(.*?)(#+|-+)")

_BLOCKS: Final = MarkdownIt("commonmark").disable("inline")
"""Blocks only: inline markup cannot reach beyond its paragraph."""

_NEXT: Final = "what-follows"

_HTML_ENDS: Final = ("-->", "?>", ">", "]]>", "</script>", "</pre>", "</style>", "</textarea>")
"""Ends of the HTML blocks that a blank line does not end (CommonMark 0.31, section 4.6)."""


def export_markdown(conversation: Conversation, messages: Sequence[Message]) -> str:
    """`messages`: one path, first to last.

    Content is unchanged, except that a reply in JSON is fenced as code, and to keep the turns apart: a block that is left open is closed, and a heading
    that reads like one of ours (`## Assistant`) is escaped with a backslash.
    """
    fields = _front_matter(conversation, messages)
    lines = [f"{name}: {msgspec.json.encode(value).decode()}" for name, value in fields.items()]
    return _document("\n".join(["---", *lines, "---"]), conversation, messages)


def preview_markdown(conversation: Conversation, messages: Sequence[Message], shown: int) -> str:
    """The beginning of what `export_markdown` writes: `shown` messages, and the front matter as the names of its fields."""
    fields = _front_matter(conversation, messages)
    names = [f"{name}: {len(messages):,}" if name == "messages" else name for name in fields]
    return _document(f"--- {', '.join(names)} ---", conversation, messages[:shown])


def _document(front_matter: str, conversation: Conversation, messages: Sequence[Message]) -> str:
    parts = [front_matter, f"# {without_line_breaks(conversation.title) or 'Conversation'}"]
    if conversation.system_prompt.strip():
        parts += ["## System", _content(conversation.system_prompt)]
    for message in messages:
        parts += [f"## {_heading(message)}", _content(_text_of(message))]
        if figures := " · ".join(figures_of(message)):
            parts.append(f"*{figures}*")
    return "\n\n".join(parts) + "\n"


def excerpt(messages: Sequence[Message]) -> str:
    """Only headings and words, to be pasted elsewhere."""
    parts = ((f"## {_heading(message)}", _content(_text_of(message))) for message in messages)
    return "\n\n".join(itertools.chain.from_iterable(parts)) + "\n"


def _heading(message: Message) -> str:
    """`You`, or `Assistant (gpt-4o)`."""
    model = without_line_breaks(message.reply.model) if message.reply is not None else ""
    return f"{HEADINGS[message.role]} ({model})" if model else HEADINGS[message.role]


def _text_of(message: Message) -> str:
    if message.role != "assistant":
        return message.content
    if is_json(message.content):
        fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(message.content)), default=0))
        return f"{fence}json\n{message.content.strip()}\n{fence}"
    return normalised(message.content)


def _content(content: str) -> str:
    return close_last_block(escape_turn_headings(content))


def escape_turn_headings(content: str) -> str:
    """Escape headings that look like those of turns, in ATX (`##`) and setext (`---`) form."""
    lines = _LINE_ENDS.split(content)  # every second item is the end of the line before it
    tokens = _BLOCKS.parse(content)
    for token, inline in itertools.pairwise(tokens):
        if token.type != "heading_open" or token.tag != "h2" or token.map is None:
            continue
        if _NO_LETTERS.sub("", _MODEL.sub("", inline.content)).casefold() in _OUR_WORDS:
            marked = token.map[0] if token.markup.startswith("#") else token.map[1] - 1
            lines[2 * marked] = _MARKS.sub(r"\1\\\2", lines[2 * marked], count=1)
    return "".join(lines)


def close_last_block(content: str) -> str:
    """Append the line that ends a block which `content` leaves open."""
    if _is_closed(content):
        return content
    last = _BLOCKS.parse(content)[-1]
    ends = (last.markup,) if last.type == "fence" else _HTML_ENDS
    for end in ends:
        text = f"{content}\n{end}"
        if _is_closed(text):
            return text
    return content


def _is_closed(content: str) -> bool:
    """Whether text after `content` would be a paragraph of its own."""
    tokens = _BLOCKS.parse(f"{content}\n\n{_NEXT}\n")
    return len(tokens) >= 3 and tokens[-2].content == _NEXT and tokens[-3].level == 0


def _front_matter(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    """What is known of YAML's fields. Their values are written as JSON, a subset of YAML: no title can break out of it."""
    replies = [message.reply for message in messages if message.reply is not None]
    last = replies[-1] if replies else None
    fields: dict[str, Any] = {
        "title": conversation.title,
        "model": last.model if last else conversation.model,
        "engine": last.engine if last else "",
        "created": _iso(conversation.created_at),
        "updated": _iso(conversation.updated_at),
        "messages": len(messages),
        "sampling": _sampling(conversation, last),
        "timings": _timings(last),
    }
    return {name: value for name, value in fields.items() if value}


def _sampling(conversation: Conversation, last: ReplyRecord | None) -> SamplingParams | None:
    return last.sampling if last else conversation.sampling


def _timings(last: ReplyRecord | None) -> dict[str, float] | None:
    """Of the last reply; seconds, and tokens per second."""
    if last is None or last.stats is None:
        return None
    names = ("ttft_s", "prefill_tps", "decode_tps", "total_s")
    figures = {name: getattr(last.stats, name) for name in names}
    return {name: round(figure, 3) for name, figure in figures.items() if figure is not None}


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, tz=timezone.utc).isoformat(timespec="seconds")
