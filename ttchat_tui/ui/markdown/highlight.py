"""Code in colours, window by window: a lexer's state is carried from one window of lines to the next."""

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
"""A lexer's stack of states; the last is on top."""

ROOT: Final[State] = ("root",)


class Highlighter:
    """Colours the code of one language. An unknown language, or none, gets no colours."""

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language)

    def colour(self, lines: list[str], state: State = ROOT) -> tuple[list[Content], State]:
        """`lines` in colours, and the state in which the next line begins.

        Lexers with a loop of their own have no state to carry: each window stands for itself.
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
    """Is it driven by states alone? Some lexers (YAML, PHP, Lua) wrap that loop in one of their own."""
    loop = type(lexer).get_tokens_unprocessed
    return isinstance(lexer, RegexLexer) and loop is RegexLexer.get_tokens_unprocessed


_Found = tuple[int, _TokenType, int]


def _lex(lexer: RegexLexer, text: str, stack: list[str]) -> Iterator[_Found]:
    """The loop of `RegexLexer.get_tokens_unprocessed`, but it leaves its states in `stack` at the end.

    Tokens as (start, kind, end).
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
                # A line that no rule could end: what was open is taken to end with it.
                stack[:] = ROOT
            at += 1


def _change_state(stack: list[str], change: object) -> None:
    """Apply what a rule says of the next state: names to push, a count to pop, or pop and push in turn."""
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
    """Spans of the tokens that have a style; neighbours of one style become one."""
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
