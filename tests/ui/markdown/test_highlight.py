"""Code in colours: every lexer works window by window, and a window's state reaches the next."""

from __future__ import annotations

import pytest
from pygments.lexers import get_all_lexers

from tests.size import sized
from ttchat_tui.ui.markdown.highlight import Highlighter

CODE = [
    "def f(x): # c",
    'a = "b',
    '"""',
    "/* c",
    "key: [1, {x: 2}]",
    "<?php echo 1; ?>",
    "\\end{x}",
    "",
    "日本 | && ~ ` @ $",
]
LANGUAGES = sorted(aliases[0] for _, aliases, *_ in get_all_lexers() if aliases)[:: sized(4, 1)]


@pytest.mark.parametrize("start", range(6))
def test_no_lexer_loses_or_changes_a_character(start: int) -> None:
    for language in LANGUAGES[start::6]:
        highlighter = Highlighter(language)
        first, state = highlighter.colour(CODE)
        second, _ = highlighter.colour(CODE, state)
        assert [line.plain for line in first + second] == CODE + CODE, language


def test_a_string_continues_in_the_next_window() -> None:
    highlighter = Highlighter("python")
    _, state = highlighter.colour(['x = """doc'])
    lines, state = highlighter.colour(["still doc", '"""', "y = 1"], state)
    assert [span.style for span in lines[0].spans] == [".md-string"]
    assert state == ("root",)
    alone, _ = highlighter.colour(["still doc"])
    assert [span.style for span in alone[0].spans] != [".md-string"]


def test_windows_have_the_colours_of_the_whole() -> None:
    code = [
        "class A(B):",
        '    """Doc',
        '    more."""',
        "    def f(self) -> int:",
        "        return 1  # one",
        "@dec",
    ] * 8
    highlighter = Highlighter("python")
    whole, _ = highlighter.colour(code)
    state, windows = ("root",), []
    for start in range(0, len(code), 7):
        lines, state = highlighter.colour(code[start : start + 7], state)
        windows += lines
    assert all(mine.is_same(its) for mine, its in zip(whole, windows, strict=True))


def test_an_unknown_language_has_no_colours() -> None:
    lines, _ = Highlighter("no such language").colour(["x = 1"])
    assert lines[0].plain == "x = 1"
    assert not lines[0].spans
