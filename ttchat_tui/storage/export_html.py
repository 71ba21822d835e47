"""A conversation as one HTML page: no scripts, nothing to fetch, light and dark, and all text from outside escaped."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from pygments.lexers import get_lexer_by_name  # pyright: ignore[reportUnknownVariableType]
from pygments.token import Token as Kind
from pygments.util import ClassNotFound

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.literal_text import is_json, language_of
from ttchat_tui.domain.text import visible, visible_line
from ttchat_tui.domain.thoughts import split_thoughts
from ttchat_tui.storage.export_words import figures_of, heading_of, local_time

STYLE: Final = Path(__file__).with_name("export.css")

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Even if a tag got through, the page would run and fetch nothing."""

_LONGEST_HIGHLIGHTED: Final = 100_000
"""Characters of a code block; some lexers are slow."""

_CLASSES: Final = (
    (Kind.Comment, "c"),
    (Kind.Keyword, "k"),
    (Kind.Operator.Word, "k"),
    (Kind.Name.Tag, "k"),
    (Kind.Literal.String, "s"),
    (Kind.Literal.Number, "n"),
    (Kind.Name.Function, "f"),
    (Kind.Name.Class, "f"),
    (Kind.Name.Builtin, "f"),
    (Kind.Name.Decorator, "f"),
)


def export_html(conversation: Conversation, messages: Sequence[Message]) -> str:
    """`messages`: one path, first to last."""
    title = html.escape(visible_line(conversation.title)) or "Conversation"
    parts = [
        f'<!doctype html>\n<html lang="und">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>",
        f"<header><h1>{title}</h1><p>{html.escape(local_time(conversation.created_at))}</p></header>",
    ]
    if conversation.system_prompt.strip():
        parts.append(_article("system", "System", "", _markdown(conversation.system_prompt), ""))
    parts += map(_message, messages)
    return "\n".join([*parts, "</body>\n</html>\n"])


def _message(message: Message) -> str:
    body = "".join(_parts(message)) if message.role == "assistant" else _markdown(message.content)
    figures = " · ".join(figures_of(message))
    return _article(
        message.role, heading_of(message), local_time(message.created_at), body, figures, message.status
    )


def _article(kind: str, heading: str, time: str, body: str, footer: str, status: str = "complete") -> str:
    name = f"{kind} failed" if status == "error" else kind
    at = f"<time>{html.escape(time)}</time>" if time else ""
    end = f"<footer>{html.escape(visible_line(footer))}</footer>\n" if footer else ""
    head = f"<h2><span>{html.escape(visible_line(heading))}</span>{at}</h2>"
    return f'<article class="{name}">\n{head}\n<div dir="auto">\n{body}</div>\n{end}</article>'


def _parts(message: Message) -> Iterator[str]:
    sampling = message.reply.sampling if message.reply and not message.is_edited else None
    given = language_of(sampling.constraint) if sampling is not None else None
    for part in split_thoughts(message.content):
        language = "json" if given is None and is_json(part.text) else given
        if part.is_thought:
            yield f"<details><summary>Thought</summary>\n{_markdown(part.text)}</details>\n"
        elif language is not None:
            code = visible(part.text.replace("\r\n", "\n").strip("\n"))
            yield f"<pre><code>{_highlighted(code, language)}</code></pre>\n"
        else:
            yield _markdown(part.text)


def _markdown(text: str) -> str:
    return _PARSER.render(visible(text.replace("\r\n", "\n").replace("\r", "\n")))


class _Renderer(RendererHTML):
    """Links leave no trace, images become links (a page would fetch them), and code is coloured."""

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        tokens[idx].attrSet("rel", "noreferrer noopener")
        return self.renderToken(tokens, idx, options, env)

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        address = html.escape(str(tokens[idx].attrGet("src") or ""))
        words = html.escape(tokens[idx].content or "image")
        if not address.startswith(("http:", "https:")):
            return words
        return f'<a href="{address}" rel="noreferrer noopener">{words}</a>'

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        return (
            f"<pre><code>{_highlighted(token.content, token.info.strip().partition(' ')[0])}</code></pre>\n"
        )


def _highlighted(code: str, language: str) -> str:
    try:
        lexer = get_lexer_by_name(language) if 0 < len(code) <= _LONGEST_HIGHLIGHTED else None
    except ClassNotFound:
        lexer = None
    if lexer is None:
        return html.escape(code)
    spans: list[str] = []
    at = 0
    # The unprocessed tokens: the others add or remove newlines.
    for start, kind, text in lexer.get_tokens_unprocessed(code):
        name = next((name for known, name in _CLASSES if kind in known), "")
        spans.append(f'<span class="{name}">{html.escape(text)}</span>' if name else html.escape(text))
        at = start + len(text)
    return "".join(spans) + html.escape(code[at:])


_PARSER: Final = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(
    ["table", "strikethrough"]
)
