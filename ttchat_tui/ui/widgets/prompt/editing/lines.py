"""Movements to lines and in them, and lines that become one."""

from __future__ import annotations

from ttchat_tui.ui.widgets.prompt.editing.buffer import line_end, line_start


def line_away(text: str, at: int, lines: int, column: int) -> int:
    """`column` of the line so many lines below (above, if negative), or of the last (first) one."""
    for _ in range(abs(lines)):
        if lines > 0 and (end := line_end(text, at)) < len(text):
            at = end + 1
        elif lines < 0 and (start := line_start(text, at)) > 0:
            at = start - 1
        else:
            break
    return min(line_start(text, at) + column, line_end(text, at))


def first_character(text: str, at: int) -> int:
    """The first of the line that is not blank, or the line's end."""
    at, end = line_start(text, at), line_end(text, at)
    while at < end and text[at].isspace():
        at += 1
    return at


def found(sought: str, times: int, text: str, at: int, *, is_repeated: bool = False) -> int | None:
    """Where `fx`, `Fx`, `tx` or `Tx` leads; None if the line has no such character there. Repeated, `t` and `T` pass the
    character beside the cursor."""
    kind, character = sought
    step = 1 if kind in "ft" else -1
    short = step if kind in "tT" else 0
    place, low, high = at, line_start(text, at), line_end(text, at)
    if is_repeated and low <= place + step < high and text[place + step] == character:
        place += short
    for _ in range(times):
        place = text.find(character, place + 1, high) if step > 0 else text.rfind(character, low, place)
        if place < 0:
            return None
    return place - short


def joined(text: str, at: int) -> tuple[str, int]:
    """The line of `at` with the next one, a blank between them, and the place where they meet."""
    end = line_end(text, at)
    if end == len(text):
        return text, at
    start = first_character(text, end + 1)
    is_close = (
        end == line_start(text, at) or text[end - 1].isspace() or text[start : start + 1] in ("", "\n", ")")
    )
    return text[:end] + ("" if is_close else " ") + text[start:], end


def is_all_of_lines(text: str, start: int, end: int) -> bool:
    """Several lines of which only blanks would be left: then they go too."""
    before, after = text[line_start(text, start) : start], text[end : line_end(text, end)]
    return "\n" in text[start:end] and not before.strip() and not after.strip()
