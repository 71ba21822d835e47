"""Syntax highlighting in windows of lines: a lexer's state is carried from one window to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeGuard

from pygments.lexer import Lexer, RegexLexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound
from textual.content import Content, Span

_STYLES: Final = {
    Token.Comment: ".md-comment",
    Token.Keyword: ".md-keyword",
    Token.Keyword.Constant: ".md-number",
    Token.Operator.Word: ".md-keyword",
    Token.Literal.Number: ".md-number",
    Token.Literal.String: ".md-string",
    Token.Name.Builtin: ".md-builtin",
    Token.Name.Class: ".md-name",
    Token.Name.Decorator: ".md-builtin",
    Token.Name.Function: ".md-name",
    Token.Name.Tag: ".md-keyword",
    Token.Name.Attribute: ".md-name",
    Token.Generic.Deleted: ".md-deleted",
    Token.Generic.Inserted: ".md-string",
    Token.Generic.Heading: "bold",
    Token.Generic.Subheading: "bold",
    Token.Generic.Strong: "bold",
    Token.Generic.Emph: "italic",
}

State = tuple[str, ...]
"""A lexer's stack of states, top last."""

ROOT: Final[State] = ("root",)


class Highlighter:
    """Highlights code of one language; without a known language it does nothing."""

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language)

    def colour(self, lines: list[str], state: State = ROOT) -> tuple[list[Content], State]:
        """`lines` highlighted, and the lexer's state after them.

        Lexers with a loop of their own have no state to carry: each window is independent.
        """
        if self._lexer is None or not lines:
            return [Content(line, strip_control_codes=False) for line in lines], state
        text = "\n".join(lines) + "\n"
        stack = list(state)
        if _has_plain_states(self._lexer):
            spans = _merge(_lex(self._lexer, text, stack), len(text))
        else:
            found = self._lexer.get_tokens_unprocessed(text)
            spans = _merge(((start, kind, start + len(part)) for start, kind, part in found), len(text))
        content = Content(text, spans, strip_control_codes=False)
        return content.split("\n"), tuple(stack)


def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return None


def _has_plain_states(lexer: Lexer) -> TypeGuard[RegexLexer]:
    """Whether it uses `RegexLexer`'s loop. Some lexers (YAML, PHP, Lua) wrap it in their own."""
    loop = type(lexer).get_tokens_unprocessed
    return isinstance(lexer, RegexLexer) and loop is RegexLexer.get_tokens_unprocessed


_Found = tuple[int, _TokenType, int]


def _lex(lexer: RegexLexer, text: str, stack: list[str]) -> Iterator[_Found]:
    """The loop of `RegexLexer.get_tokens_unprocessed`, which also leaves the final states in `stack`.

    Yields tokens as (start, kind, end).
    """
    states = lexer._tokens  # pyright: ignore[reportAttributeAccessIssue]
    at = 0
    while at < len(text):
        for match_at, action, change in states[stack[-1]]:
            match = match_at(text, at)
            if match is None:
                continue
            if isinstance(action, _TokenType):
                yield at, action, match.end()
            elif action is not None:
                for start, kind, part in action(lexer, match):
                    yield start, kind, start + len(part)
            at = match.end()
            _change_state(stack, change)
            break
        else:
            if text[at] == "\n":
                # no rule matches a newline here: it resets the states
                stack[:] = ROOT
            at += 1


def _change_state(stack: list[str], change: object) -> None:
    """Apply a rule's state change: names to push, a count to pop, or both in turn."""
    if change is None:
        return
    if isinstance(change, int):
        if abs(change) >= len(stack):
            del stack[1:]
        else:
            del stack[change:]
        return
    steps = (stack[-1],) if change == "#push" else change
    if not isinstance(steps, tuple):
        return
    for step in steps:
        if step == "#pop":
            if len(stack) > 1:
                stack.pop()
        elif step == "#push":
            stack.append(stack[-1])
        else:
            stack.append(str(step))


def _merge(tokens: Iterator[_Found], end: int) -> list[Span]:
    """Spans of the tokens with a style; adjacent spans of one style are merged."""
    spans: list[Span] = []
    for start, kind, stop in tokens:
        style = _style(kind)
        if not style or stop <= start or start >= end:
            continue
        if spans and spans[-1].end == start and spans[-1].style == style:
            spans[-1] = Span(spans[-1].start, stop, style)
        else:
            spans.append(Span(start, stop, style))
    return spans


def _style(kind: _TokenType) -> str:
    found: _TokenType | None = kind
    while found is not None:
        if style := _STYLES.get(found):
            return style
        found = found.parent
    return ""
