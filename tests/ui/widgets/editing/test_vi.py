"""vi in the prompt, as a table: keys, the text before, the text after. `|` is the cursor, `[` where a selection begins."""

from __future__ import annotations

import re

import pytest

from ttchat_tui.ui.widgets.prompt.editing import Buffer, Clipboard, Outcome, Vi

NORMAL = r"""
h               ab|c            a|bc
h               ab\n|c          ab\n|c
l               a|bc            ab|c
l               ab|c            ab|c
3l              |abcdef         abc|def
9h              abc|d           |abcd
j               a|b\ncd         ab\nc|d
j               abc|d\ne\nfghi  abcd\n|e\nfghi
jj              abc|d\ne\nfghi  abcd\ne\nfgh|i
k               ab\nc|d         a|b\ncd
2j              |a\nb\nc        a\nb\n|c
$j              |abc\nde\nfghi  abc\nd|e\nfghi
w               |one two        one |two
w               |one, two       one|, two
w               o|ne\ntwo       one\n|two
w               |one\n\ntwo     one\n|\ntwo
w               one\n|\ntwo     one\n\n|two
2w              |a b c          a b |c
w               one |two        one tw|o
b               one |two        |one two
b               one t|wo        one |two
b               one,| two       one|, two
b               a\n\n|b         a\n|\nb
3b              a b c |d        |a b c d
e               |one two        on|e two
e               on|e two        one tw|o
2e              |one two        one tw|o
0               ab c|d          |ab cd
^               \s\sab|c        \s\s|abc
$               |abc            ab|c
2$              |abc\nde        abc\nd|e
gg              ab\nc|d         |ab\ncd
G               |ab\ncd\nef     ab\ncd\n|ef
2G              |ab\ncd\nef     ab\n|cd\nef
2gg             |ab\ncd\nef     ab\n|cd\nef
9G              |ab\ncd         ab\n|cd
x               a|bc            a|c
x               ab|c            a|b
2x              a|bcd           a|d
9x              a|bc\nd         |a\nd
x               |               |
dd              a\n|b\nc        a\n|c
dd              a\n|b           |a
dd              |a              |
2dd             |a\nb\nc        |c
9dd             a\n|b\nc        |a
dw              |one two        |two
dw              one |two        one|\s
dw              one |two\nx     one|\s\nx
2dw             |a b c          |c
d2w             |a b c          |c
2d2w            |a b c d e      |e
db              one |two        |two
de              |one two        |\stwo
d$              ab|cd\ne        a|b\ne
D               ab|cd\ne        a|b\ne
D               |ab             |
X               ab|c            a|c
X               a\n|b           a\n|b
2X              abc|d           a|d
d0              ab|cd           |cd
d^              \s\sab|cd       \s\s|cd
dj              |a\nb\nc        |c
dk              a\nb\n|c        |a
dG              a\n|b\nc        |a
dgg             a\nb|\nc        |c
dj              |a              |a
dz              |ab             |ab
yyp             |a\nb           a\n|a\nb
yyP             a\n|b           a\n|b\nb
yy2p            |a              a\n|a\na
ywP             |one two        one|\sone two
ywp             |one two        oone|\sne two
yjp             |a\nb\nc        a\n|a\nb\nb\nc
ddp             |a\nb\nc        b\n|a\nc
xp              |ab             b|a
x3p             |ab             baa|a
p               |ab             |ab
Yp              a|b\nc          ab\n|ab\nc
x               ab|             |a
W               |a.b c          a.b |c
B               a.b c.|d        a.b |c.d
E               |a.b c          a.|b c
dW              |a.b c          |c
fb              |abcb           a|bcb
2fb             |abcb           abc|b
fb              |a\nb           |a\nb
tb              |acb            a|cb
Fa              aba|b           ab|ab
Ta              abc|d           a|bcd
fb;             |abcb           abc|b
fb;,            |abcb           a|bcb
tb;             |abcb           ab|cb
dfb             |abcb           |cb
dtb             |acb            |b
dFa             ab|c            |c
fbd;            |abcb           |a
rx              a|bc            a|xc
2rx             a|bcd           ax|xd
3rx             a|bc            a|bc
~               |abC            A|bC
2~              |abC            AB|C
9~              a|b             a|B
J               |a\n\s\sb       a|\sb
J               |a\n)           a|)
J               |a              |a
3J              |a\nb\nc        a b|\sc
3J              a\nb|c          a\n|bc
Dk              ab\nc|d         |ab\nc
tb2;            |acbcbcb        acb|cbcb
vjd.            |abc\nabc\nxyz\nuv  |yz\nuv
x.              |abc            |c
2x.             |abcde          |e
2x3.            |abcdef         |f
dw.             |a b c          |c
J               |a\n\nb         |a\nb
"""

INSERTING = r"""
i               a|bc            a|bc
a               a|bc            ab|c
a               |               |
I               \s\sab|c        \s\s|abc
A               |abc\nd         abc|\nd
o               |ab\nc          ab\n|\nc
O               ab\n|c          ab\n|\nc
cw              |one two        |\stwo
cw              |o two          |\stwo
cw              one| two        one|two
2cw             |a b c          |\sc
cc              a\nb|c\nd       a\n|\nd
2cc             |a\nb\nc        |\nc
C               ab|cd\ne        ab|\ne
s               a|bc            a|c
s               |               |
2s              a|bcd           a|d
S               a\nb|c\nd       a\n|\nd
c$              ab|cd           ab|
cb              one |two        |two
"""

SELECTING = r"""
vd              a|bc            a|c
vld             a|bcd           a|d
vhd             ab|cd           a|d
vwd             |one two        |wo
v$d             a|bc\nd         a|d
vld             a|b\nd          a|d
vGd             |a\nbc          |c
vyP             |abc            |aabc
vly             |abc            |abc
vl              |abc            [a|bc
vlv             |abc            a|bc
v2l             |abcd           [ab|cd
vjd             |ab\ncd         |d
"""


def buffer_of(marked: str) -> Buffer:
    anchor = marked.index("[") if "[" in marked else None
    text = marked.replace("[", "")
    return Buffer(text.replace("|", ""), text.index("|"), anchor)


def rows(*tables: str) -> list[tuple[str, str, str]]:
    """Each row as keys, before, after; `\\n` and `\\s` are a newline and a blank."""
    found: list[tuple[str, str, str]] = []
    for line in "".join(tables).strip().split("\n"):
        if line.strip():
            keys, *texts = re.split(r"\s{2,}", line.strip())
            before, after = (each.replace("\\n", "\n").replace("\\s", " ") for each in texts)
            found.append((keys, before, after))
    return found


UNDOING = r"""
xxu             |abc            |bc
xxuu            |abc            |abc
xx2u            |abc            |abc
xu              |abc            |abc
uu              a|bc            a|bc
xxuu^^          |abc            |c
xux^            |abc            |bc
cwXY.uxx        |one two        |e two
A.five.u        |one            on|e
ione\ntwo.u     |x              |x
ia.ib.u         |x              |ax
ddu             a\n|b\nc        a\n|b\nc
ofive.u         on|e            on|e
"""
"""`.` is escape, `^` ctrl+r."""


def typed(keys: str, buffer: Buffer) -> Buffer:
    """The buffer after the keys, which begin in normal mode and may write text."""
    vi = Vi()
    vi.press("escape", None, Buffer("", 0))
    vi.load(buffer.text)
    for each in keys:
        key = {".": "escape", "^": "ctrl+r"}.get(each, each)
        outcome = vi.press(key, key if key == each else None, buffer)
        if isinstance(outcome, Buffer):
            buffer = outcome
        elif vi.is_writing:
            buffer = Buffer(buffer.text[: buffer.at] + each + buffer.text[buffer.at :], buffer.at + 1)
    return buffer


@pytest.mark.parametrize(("keys", "before", "expected"), rows(UNDOING))
def test_undo_takes_back_whole_commands_with_what_they_insert(keys: str, before: str, expected: str) -> None:
    assert typed(keys.replace("\\n", "\n"), buffer_of(before)) == buffer_of(expected)


def after(keys: str, buffer: Buffer) -> tuple[Buffer, Vi, Outcome]:
    """The buffer after the keys, typed in normal mode, and what the last one did."""
    vi, outcome = Vi(), None
    vi.press("escape", None, Buffer("", 0))
    for key in keys:
        outcome = vi.press(key, key, buffer)
        buffer = outcome if isinstance(outcome, Buffer) else buffer
    return buffer, vi, outcome


@pytest.mark.parametrize(("keys", "before", "expected"), rows(NORMAL, INSERTING, SELECTING))
def test_each_command_does_what_vi_does(keys: str, before: str, expected: str) -> None:
    buffer, vi, _ = after(keys, buffer_of(before))
    assert buffer == buffer_of(expected)
    assert vi.mode == (
        "insert" if (keys, before, expected) in rows(INSERTING) else "visual" if "[" in expected else "normal"
    )


def test_registers_keep_what_they_are_given_and_the_clipboard_is_one_of_them() -> None:
    copied: list[str] = ["from elsewhere"]
    vi = Vi(Clipboard(copied.append, lambda: copied[-1]))
    vi.press("escape", None, Buffer("", 0))
    buffer = Buffer("one two\nthree", 0)

    def press(keys: str) -> Buffer:
        nonlocal buffer
        for key in keys:
            outcome = vi.press(key, key, buffer)
            assert isinstance(outcome, Buffer)
            buffer = outcome
        return buffer

    assert press('"+P').text == "from elsewhereone two\nthree"
    assert press('u"+yy"_dw').text == "two\nthree"
    assert copied[-1] == "one two\n", "whole lines with their end"
    assert press('"+P').text == "one two\ntwo\nthree", "and put as lines again"
    assert press('"').at == buffer.at
    assert vi.label == 'normal "', "what is typed of a command is shown"
    assert press('ayw"Ayw"bdd"ap').text.count("one one ") == 1


@pytest.mark.parametrize(("keys", "at", "anchor"), [("V", 7, 4), ("Vk", 0, 6), ("Vkj", 7, 4), ("kVj", 7, 0)])
def test_selected_lines_are_shown_whole_and_the_cursor_keeps_its_column(
    keys: str, at: int, anchor: int
) -> None:
    buffer, vi, _ = after(keys, Buffer("one\ntwo", 5))
    assert buffer == Buffer("one\ntwo", at, anchor)
    assert vi.mode == "visual line"
    assert vi.press("l", "l", buffer) == buffer, "the whole line is selected already"
    is_one = keys in ("V", "Vkj")
    assert vi.press("d", "d", buffer) == Buffer("one" if is_one else "", 0)


def test_a_repetition_that_fails_does_not_count() -> None:
    assert after("dfb2..", Buffer("abcbx", 0))[0] == Buffer("x", 0), "the next one is as before"


def test_a_count_does_not_make_more_text_than_a_prompt_can_hold() -> None:
    vi = Vi()
    vi.press("escape", None, Buffer("", 0))
    buffer = Buffer("x" * 1_000, 0)
    for key in "yy9999p":
        outcome = vi.press(key, key, buffer)
        assert isinstance(outcome, Buffer)
        buffer = outcome
    assert len(buffer.text) < 1_100_000


def test_words_to_search_for_can_be_corrected_and_given_up() -> None:
    vi, buffer = Vi(), Buffer("one two three", 0)

    def press(*keys: str) -> tuple[int, str]:
        nonlocal buffer
        for key in keys:
            outcome = vi.press(key, key if len(key) == 1 else None, buffer)
            assert isinstance(outcome, Buffer), key
            buffer = outcome
        return buffer.at, vi.label

    vi.press("escape", None, buffer)
    assert press(*"/tx", "backspace") == (0, "normal /t")
    assert press("enter") == (4, "normal")
    assert press("d", *"/th", "escape") == (4, "normal"), "nothing is deleted"
    assert press("/", "backspace") == (4, "normal")
    assert press("v", *"/ee", "escape") == (4, "visual"), "the selection stays"
    assert press(*"/r", "enter", "y") == (4, "normal")
    assert press("n")[0] == 10
    press("N", "p")
    assert buffer.text == "one two thrtwo three"
    assert not vi.takes_enter
