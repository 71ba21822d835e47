"""Inline parsing: emphasis, code and links become styled content, free of markup and escape sequences."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual.content import Content, Span

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.cjk import CjkState
from ttchat_tui.ui.markdown.links import link_style, linked
from ttchat_tui.ui.markdown.maths import math_rule

_PARSER: Final = MarkdownIt("commonmark").enable("strikethrough")
_PARSER.inline.ruler.before("escape", "math", math_rule)

_STYLES: Final = {"strong": "bold", "em": "italic", "s": "strike", "link": ".md-link"}

_CODE: Final = ".md-code"
_FAINT: Final = ".md-faint"
_MATH: Final = ".md-math"

BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)

_LOOSE: Final = re.compile(
    r"""\*(?=\S)            # could open emphasis
      | (?<![^\W_])_(?=\S)  # likewise, where no letter or digit comes before it
      | ~~(?=\S)
      | `                   # could open a code span
      | <(?=[A-Za-z/!?])    # could open a tag or an autolink
      | \](?=[(\[])         # a link whose target has not ended
      | \$(?=\S)            # could open a formula
      | \\(?:[(\[]|begin)   # likewise
      | \\$                 # would escape what follows
    """,
    re.VERBOSE,
)


class Inline(NamedTuple):
    """Styled text, and whether following text could still change it."""

    content: Content
    """Soft and hard line breaks of the source are newlines."""
    is_loose: bool
    """It contains something that may pair with following text: a lone `*`, an open bracket, a backtick."""


def parse_inline(text: str, references: dict[str, object]) -> Inline:
    """Style `text`, the source of a paragraph or a cell. `references`: link definitions by normalised label.

    Soft line breaks stay line breaks: models write poems and addresses with bare newlines, and do not hard-wrap prose. A
    link's address is shown after its text, unless they are equal.
    """
    state = CjkState(text, _PARSER, {"references": references}, [])
    _PARSER.inline.tokenize(state)
    for rule in _PARSER.inline.ruler2.getRules(""):
        rule(state)
    builder = _Builder()
    for token in state.tokens:
        builder.add(token)
    return Inline(builder.content(), _is_loose("".join(builder.literal)))


def _is_loose(literal: str) -> bool:
    return _LOOSE.search(literal) is not None or literal.count("[") != literal.count("]")


def _address(token: Token, attribute: str) -> str:
    """A link's address in readable form, and its title."""
    address = _PARSER.normalizeLinkText(str(token.attrGet(attribute) or ""))
    title = token.attrGet("title")
    return f'{address} "{title}"'.lstrip() if title else address


class _Builder:
    """Builds text and spans from a flat list of inline tokens."""

    def __init__(self) -> None:
        self.literal: list[str] = []
        """Plain text, for `_is_loose`."""
        self._text: list[str] = []
        self._spans: list[Span] = []
        self._length = 0
        self._open: list[tuple[int, str, str]] = []

    def content(self) -> Content:
        # outer spans first, so that inner styles win
        spans = sorted(self._spans, key=lambda span: (span.start, -span.end))
        return linked(Content("".join(self._text), spans, strip_control_codes=False))

    def add(self, token: Token) -> None:
        name = token.type
        if name == "text":
            self.literal.append(token.content)
            self._append(token.content)
        elif name.endswith("_open"):
            self._open.append((self._length, _address(token, "href"), str(token.attrGet("href") or "")))
        elif name.endswith("_close"):
            self._close(name.removesuffix("_close"))
        elif name in ("softbreak", "hardbreak"):
            self.literal.append("\n")
            self._append("\n")
        elif name == "image":
            start = self._length
            self._append(token.content or "image", "italic")
            self._append(f" ‹{_address(token, 'src')}›", _FAINT)
            self._lead_to(str(token.attrGet("src") or ""), start)
        elif name == "math":
            self._append(token.content, _MATH)
        elif name == "code_inline":
            self._append(token.content, _CODE)
        elif name == "html_inline" and BREAK.fullmatch(token.content):
            self._append("\n")
        elif name == "html_inline":
            self._append(token.content, _FAINT)
        else:  # text_special: an escaped character or an entity
            if token.markup in (r"\(", r"\[", r"\b"):
                self.literal.append(token.markup)  # a formula may still end
            self._append(token.content)

    def _append(self, text: str, style: str = "") -> None:
        text = visible(text)
        if style and text:
            self._spans.append(Span(self._length, self._length + len(text), style))
        self._text.append(text)
        self._length += len(text)

    def _close(self, name: str) -> None:
        start, address, href = self._open.pop()
        if self._length > start:
            self._spans.append(Span(start, self._length, _STYLES[name]))
        label = "".join(self._text)[start:]
        if name == "link" and address and address not in (label, f"mailto:{label}"):
            self._append(f" ‹{address}›", _FAINT)
        self._lead_to(href, start)

    def _lead_to(self, href: str, start: int) -> None:
        style = link_style(href)
        if style is not None and self._length > start:
            self._spans.append(Span(start, self._length, style))
