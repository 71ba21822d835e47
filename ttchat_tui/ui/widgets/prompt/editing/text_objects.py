"""vim's text objects: words, quoted strings, brackets and paragraphs, as `iw` or `a(` name them."""

from __future__ import annotations

from typing import Final, NamedTuple

from ttchat_tui.ui.widgets.prompt.editing.buffer import line_end, line_start
from ttchat_tui.ui.widgets.prompt.editing.words import kind_of

BRACKETS: Final = {**dict.fromkeys("()b", "()"), **dict.fromkeys("{}B", "{}"), **dict.fromkeys("[]", "[]"), "<": "<>", ">": "<>"}  # fmt: skip
QUOTES: Final = "\"'`"
NAMES: Final = f"wWp{QUOTES}{''.join(BRACKETS)}"


class TextRange(NamedTuple):
    """What an operator acts on: text[start:end], or the whole lines from `start` to `end`."""

    start: int
    end: int
    is_lines: bool = False


def text_object(name: str, times: int, text: str, at: int) -> TextRange | None:
    """The object of this name around or after the character `at`; None if there is none."""
    is_around, kind = name[0] == "a", name[1]
    if kind in "wW":
        return _words(times, text, at, is_around=is_around, is_big=kind == "W")
    if kind == "p":
        return _paragraphs(times, text, at, is_around=is_around)
    if kind in QUOTES:
        return _quoted(kind, times, text, at, is_around=is_around)
    opening, closing = BRACKETS[kind]
    return _bracketed(opening, closing, times, text, at, is_around=is_around)


def _words(times: int, text: str, at: int, *, is_around: bool, is_big: bool) -> TextRange | None:
    """Words and the blanks between them count alike (`i`), or a word counts with the blanks after it (`a`)."""
    first, end = line_start(text, at), line_end(text, at)
    runs = _runs(text[first:end], is_big)
    if not runs:
        return TextRange(at, at) if times == 1 and not is_around else None
    here = next((index for index, (_, stop, _) in enumerate(runs) if at - first < stop), len(runs) - 1)
    if not is_around:
        if here + times > len(runs):
            return None
        return TextRange(first + runs[here][0], first + runs[here + times - 1][1])
    begins_blank = runs[here][2] == 0
    last, start = here - 1, runs[here][0]
    for _ in range(times):
        last += 1
        if last >= len(runs):
            return None
        if begins_blank and runs[last][2] == 0:  # blanks, and the word after them
            last += 1
            if last >= len(runs):
                return None
        elif last + 1 < len(runs) and runs[last + 1][2] == 0:
            last += 1
    if (
        not begins_blank
        and runs[last][2] != 0
        and here > 0
        and runs[here - 1][2] == 0
        and runs[here - 1][0] > 0
    ):
        start = runs[here - 1][0]  # there are no blanks after it, so those before it; not an indentation
    return TextRange(first + start, first + runs[last][1])


def _runs(line: str, is_big: bool) -> list[tuple[int, int, int]]:
    """Start, end and kind (0: blanks) of each run of one kind."""
    found: list[tuple[int, int, int]] = []
    for at, character in enumerate(line):
        kind = kind_of(character, is_big)
        if found and found[-1][2] == kind:
            found[-1] = (found[-1][0], at + 1, kind)
        else:
            found.append((at, at + 1, kind))
    return found


def _paragraphs(times: int, text: str, at: int, *, is_around: bool) -> TextRange | None:
    """Runs of lines that are blank or are not count alike (`ip`), or a run counts with the other one after it (`ap`)."""
    lines = text.split("\n")
    here = text.count("\n", 0, at)

    def run(line: int, step: int) -> int:
        """The last line of the run of `line` in this direction."""
        while 0 <= line + step < len(lines) and bool(lines[line + step].strip()) == bool(lines[line].strip()):
            line += step
        return line

    start, last = run(here, -1), run(here, 1)
    is_blank = not lines[here].strip()
    has_other_after = False
    for count in range(times):
        if count:
            if last + 1 >= len(lines):
                return None
            last = run(last + 1, 1)
        if is_around:
            has_other_after = last + 1 < len(lines)
            if has_other_after:
                last = run(last + 1, 1)
            elif is_blank or count + 1 < times:
                return None
    if is_around and not has_other_after and start > 0:  # no blank lines after it, so those before it
        start = run(start - 1, -1)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    return TextRange(offsets[start], offsets[last], is_lines=True)


def _quoted(quote: str, times: int, text: str, at: int, *, is_around: bool) -> TextRange | None:
    """The string around `at` in its line, or else the first one after it. `a` has the blanks after it, or else before it."""
    first, end = line_start(text, at), line_end(text, at)
    places: list[int] = []
    place = first
    while place < end:
        if text[place] == "\\":
            place += 1
        elif text[place] == quote:
            places.append(place)
        place += 1
    pair = _pair_at(places, at)
    if pair is None:
        return None
    start, stop = pair[0], pair[1] + 1
    if not is_around:
        return TextRange(start, stop) if times > 1 else TextRange(start + 1, stop - 1)
    after = stop
    while after < end and text[after] in " \t":
        after += 1
    if after == stop:
        while start > first and text[start - 1] in " \t":
            start -= 1
    return TextRange(start, after)


def _pair_at(places: list[int], at: int) -> tuple[int, int] | None:
    """The two quotes around `at`. On a quote, the pairs are counted from the line's beginning; elsewhere the text between any
    two quotes is a string."""
    if at in places:
        index = places.index(at)
        index -= index % 2
    else:
        before = sum(place < at for place in places)
        index = before - 1 if 0 < before < len(places) else before
    return (places[index], places[index + 1]) if index + 1 < len(places) else None


def _bracketed(
    opening: str, closing: str, times: int, text: str, at: int, *, is_around: bool
) -> TextRange | None:
    """The text between the brackets around `at`, `times` levels up. Lines of their own stay where only those are inside."""
    is_on_it = text[at : at + 1] == opening
    start = at if is_on_it else _unmatched(text, at, closing, opening, -1)
    if start is None or (not is_on_it and _unmatched(text, start, opening, closing, 1) is None):
        start = text.find(opening, at)  # around nothing: the next ones
        start = None if start < 0 else start
    for _ in range(times - 1):
        start = _unmatched(text, start, closing, opening, -1) if start is not None else None
    end = _unmatched(text, start, opening, closing, 1) if start is not None else None
    if start is None or end is None:
        return None
    if is_around:
        return TextRange(start, end + 1)
    inside = start + 1
    if text[inside : inside + 1] == "\n":
        inside += 1
    bol = line_start(text, end)
    if inside <= bol and not text[bol:end].strip(" \t"):
        end = bol
        if not text[line_start(text, inside) : inside].strip(" \t") and inside < end:
            return TextRange(inside, end - 1, is_lines=True)
    return TextRange(inside, max(inside, end))


def _unmatched(text: str, at: int, nested: str, wanted: str, step: int) -> int | None:
    """The next `wanted` that closes no `nested` on the way."""
    depth = 0
    while 0 <= (at := at + step) < len(text):
        if text[at] == nested:
            depth += 1
        elif text[at] == wanted:
            if not depth:
                return at
            depth -= 1
    return None


def matching_bracket(text: str, at: int) -> int | None:
    """The partner of the first bracket of the line from `at` on."""
    for place in range(at, line_end(text, at)):
        if text[place] in "([{":
            return _unmatched(text, place, text[place], ")]}"["([{".index(text[place])], 1)
        if text[place] in ")]}":
            return _unmatched(text, place, text[place], "([{"[")]}".index(text[place])], -1)
    return None
