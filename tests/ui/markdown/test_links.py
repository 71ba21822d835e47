"""A link can be opened on every row that shows it, and only safe addresses are links."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from textual.style import Style
from textual.visual import RenderOptions

from tests.ui.markdown.screen import whole
from ttchat_tui.ui.markdown.links import terminal_knows_links
from ttchat_tui.ui.markdown.plain import plain_chunks
from ttchat_tui.ui.markdown.rows import RenderRow
from ttchat_tui.ui.markdown.visual import RowsVisual

LONG = "https://example.org/" + "/".join(f"part{index}" for index in range(20)) + "?a=b&c=d"


def links(rows: list[RenderRow], width: int) -> list[list[str]]:
    """For each line on screen the addresses that its text leads to."""
    options = RenderOptions(lambda style: style if isinstance(style, Style) else Style(), {})
    strips = RowsVisual(rows, lambda name: Style()).render_strips(width, None, Style(), options)
    return [
        list(dict.fromkeys(segment.style.link for segment in strip if segment.style and segment.style.link))
        for strip in strips
    ]


def links_of(source: str, width: int = 60) -> list[list[str]]:
    return links([row for chunk in whole(source).chunks for row in chunk.rows], width)


@pytest.mark.parametrize(
    "source",
    [
        f"<{LONG}>",
        LONG,
        f"[{'words ' * 30}]({LONG})",
        f"- [x]({LONG})",
        f"> {LONG}",
        f"`{LONG}`",
        f"```\n{LONG}\n```",
    ],
)
def test_an_address_that_wraps_leads_there_from_every_row(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    found = [line for line in links_of(source, 40) if line]
    assert len(found) >= 3
    assert {address for line in found for address in line} == {LONG}


def test_an_address_in_a_users_message_can_be_opened_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert links(plain_chunks(f"see {LONG}")[0].rows, 200) == [[LONG]]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("See https://a.b/c.", "https://a.b/c"),
        ("(https://a.b/c)", "https://a.b/c"),
        ("https://a.b/c_(d)!", "https://a.b/c_(d)"),
        ("**https://a.b**", "https://a.b"),
        ("https://a.b/cです。", "https://a.b/c"),
        ("https://bücher.de/Größe, so", "https://xn--bcher-kva.de/Gr%C3%B6%C3%9Fe"),
        ("https://пример.рф/", "https://xn--e1afmkfd.xn--p1ai/"),
        ("me <you@a.b>", "mailto:you@a.b"),
        ("[x](https://a.b/ü)", "https://a.b/%C3%BC"),
        ("![x](https://a.b/p.png)", "https://a.b/p.png"),
    ],
)
def test_the_address_is_that_of_the_link_without_the_sentence_around_it(
    text: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert links_of(text) == [[address]]


@pytest.mark.parametrize("mark", [*"،؛؟۔।॥։՝·;׃።፣፧჻᙮܀߸"])
def test_the_marks_of_any_script_end_a_sentence_and_no_address(
    mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert links_of(f"https://a.b/c{mark} d https://a.b/e{mark}") == [["https://a.b/c", "https://a.b/e"]]


@pytest.mark.parametrize("behind", ["ดูที่นี่", "ເບິ່ງ", "ལྟོས", "ကြည့်ပါ", "សូម", "看", "を見", "에서", "\u1680d", "፡d"])
def test_an_address_takes_nothing_of_a_sentence_without_spaces(
    behind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert links_of(f"https://a.b/c{behind}") == [["https://a.b/c"]]


@pytest.mark.parametrize("word", ["путь", "δρόμος", "דרך", "راه", "पथ", "পথ", "వీధి", "გზა", "መንገድ", "đường"])
def test_a_word_of_a_script_with_spaces_is_all_of_the_address(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert links_of(f"https://a.b/{word} d") == [[f"https://a.b/{quote(word)}"]]


@pytest.mark.parametrize(
    "text", ["[x](javascript:alert)", "[x](file:///etc/passwd)", "[x](/relative)", "[x](#part)", "http:// x"]
)
def test_unsafe_addresses_are_not_links(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert links_of(text) == [[]]


@pytest.mark.parametrize("entity", ["&#27;", "&#7;", "&#x9c;", "&#10;"])
def test_no_control_character_gets_into_the_sequence(entity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for line in links_of(f"[x](https://a.b/{entity}]0;t) <https://a.b/\x1b\\\x07>"):
        assert all(address.isprintable() and address.isascii() for address in line)


def test_a_terminal_that_would_print_the_sequence_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "linux")
    assert links_of("<https://a.b>") == [[]]
    assert [terminal_knows_links({"TERM": kind}) for kind in ("xterm", "vt100", "dumb", "tmux-256color")] == [
        *(True, False, False, True),
    ]


def test_the_terminal_gets_the_sequence_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("TERM", "xterm")
    rows = [row for chunk in whole(f"<{LONG}>").chunks for row in chunk.rows]
    options = RenderOptions(lambda style: style if isinstance(style, Style) else Style(), {})
    strips = RowsVisual(rows, lambda name: Style()).render_strips(40, None, Style(), options)
    shown = [strip.render(Console(force_terminal=True)) for strip in strips]
    assert len(shown) > 2
    assert len({re.findall(r"\x1b]8;id=(\w+);(\S+?)\x1b", line)[0] for line in shown}) == 1
    assert all(f";{LONG}\x1b\\" in line for line in shown)
