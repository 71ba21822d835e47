r"""Where LaTeX begins and ends: `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and environments. Formulas are shown as source.

`$…$` follows pandoc's `tex_math_dollars`: no blank right after the first dollar, none right before the last, no digit
right after that. So `$5 and $6` is money.
"""

from __future__ import annotations

import re
from typing import Final

from markdown_it.rules_inline.state_inline import StateInline

_EVEN: Final = r"(?<!\\)(?:\\\\)*"
"""Matches before an unescaped character."""

_MONEY: Final = r"`|(?<![\^{\s])\*\*(?=[\s$])|(?<=\s)\*\*(?=\S)|\n[ \t]*\n|\s\$"
"""What occurs between two sums of money but not in an inline formula: code, bold, another dollar."""
_CLOSERS: Final = {
    "$": re.compile(rf"(?P<none>{_MONEY})|{_EVEN}(?<=[^\s$])\$(?![\d$])"),
    "$$": re.compile(_EVEN + r"\$\$"),
    r"\(": re.compile(_EVEN + r"\\\)"),
    r"\[": re.compile(_EVEN + r"\\\]"),
}
_BRACKETS: Final = {r"\(": "()", r"\[": "[]"}
_REACH: Final = 1000
"""The longest inline formula, in characters."""
_OPENER: Final = re.compile(r"\$\$|\$(?=[^\s$])|\\[(\[]|\\begin\{([A-Za-z]+\*?)\}")
_TOKENS: Final = re.compile(r"(`+)|\$\$?|\\begin\{[A-Za-z]+\*?\}|\\.", re.DOTALL)
"""The tokens of a line: code, openers and escapes."""


def opener_at(text: str, at: int) -> str:
    """The opener at `text[at]`, empty if there is none."""
    match = _OPENER.match(text, at)
    return match[0] if match else ""


def end_of(text: str, at: int, opener: str, stop: int | None = None) -> int:
    """The offset after the formula that `opener` begins at `text[at]`; 0 if it does not end."""
    start = at + len(opener)
    if opener.startswith(r"\begin"):
        closer = r"\end" + opener.removeprefix(r"\begin")
        found = text.find(closer, start, stop)
        return found + len(closer) if found >= 0 else 0
    stop = len(text) if stop is None else stop
    match = _CLOSERS[opener].search(text, start, min(stop, start + _REACH) if opener == "$" else stop)
    return 0 if match is None or match.groupdict().get("none") else match.end()


def open_after(line: str, opener: str = "") -> str:
    """The opener that is unclosed after `line`. `opener`: the one that was unclosed before it."""
    at = 0
    if opener:
        at = closes_at(line, opener)
        if not at and opener != "$":
            return opener
    waiting = ""
    endless: set[str] = set()
    while match := _TOKENS.search(line, at):
        at = match.end()
        if match[1]:
            close = re.compile(f"(?<!`){match[1]}(?!`)").search(line, at)
            at = close.end() if close else at
        elif found := opener_at(line, match.start()):
            end = 0 if found in endless else end_of(line, match.start(), found)
            if not end and _may_go_on(line, match.start(), found):
                if found != "$":
                    return found
                waiting = found
            elif not end:
                endless.add(found)
            at = end or at
    return waiting


def closes_at(line: str, opener: str) -> int:
    """The offset after the end of a formula that an earlier line opened with `opener`; 0 if it continues."""
    end = end_of(opener + "\n" + line, 0, opener)
    return max(0, end - len(opener) - 1)


def _may_go_on(line: str, at: int, opener: str) -> bool:
    """Whether the next lines probably belong to a formula. Not after the shell's `$$`, nor in an escaped `\\[x]`."""
    rest = line[at + len(opener) : at + _REACH]
    if opener == "$$":
        return not line[:at].strip() or not rest.strip() or not rest[0].isspace()
    if opener in _BRACKETS:
        left, right = _BRACKETS[opener]
        return rest.count(right) <= rest.count(left)
    return True


def math_rule(state: StateInline, silent: bool) -> bool:
    """An inline rule for markdown-it: one token per formula, delimiters included."""
    opener = opener_at(state.src, state.pos)
    endless: set[str] = state.env.setdefault("endless", set())
    if not opener or opener in endless:
        return False
    end = end_of(state.src, state.pos, opener, state.posMax)
    if not end:
        if opener != "$" and state.posMax == len(state.src):
            endless.add(opener)  # no later opener has an end either
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = state.src[state.pos : end]
    state.pos = end
    return True
