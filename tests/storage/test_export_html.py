"""HTML transcripts: one page that runs nothing and fetches nothing, whatever was said."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.storage.examples import FINISHED
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.storage.export_html import STYLE, export_html
from ttchat_tui.storage.export_text import export_text

TALK = Conversation(id=1, title="A talk", created_at=0.0, updated_at=1.5, system_prompt="Be brief.")

TAGS = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "article",
        "div",
        "span",
        "time",
        "footer",
        "details",
        "summary",
        "pre",
        "code",
        "a",
        "em",
        "strong",
        "s",
        "blockquote",
        "ul",
        "ol",
        "li",
        "hr",
        "br",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ]
)
ATTRIBUTES = frozenset(
    {
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "dir",
        "href",
        "rel",
        "title",
        "start",
        "style",
    }
)


def said(number: int, content: str, **fields: object) -> Message:
    role = "user" if number % 2 else "assistant"
    made = Message(
        id=number,
        conversation_id=1,
        parent_id=number - 1 or None,
        role=role,
        content=content,
        created_at=0.0,
        reply=None if role == "user" else FINISHED,
    )
    return msgspec.structs.replace(made, **fields)


class ParsedPage(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


@given(st.lists(st.text(max_size=60), min_size=2, max_size=4))
@example(["<script>alert(1)</script>", "<img src=x onerror=alert(1)>"])
@example(["[x](javascript:alert(1))", "![x](https://example.com/a.png)\n\n<https://example.com>"])
@example(['```html"><script>\n</code></pre><script>x</script>\n```', "</style><script>"])
@example(["```python\na <script> b <img src=x onerror=y>\n```", "```nosuch\n<script>\n```"])
@example(["\x00\x1b[31m\u202e", "[x]: data:text/html,<script>\n\n[x]"])
@example(["| a |\n|---|\n| <b onclick=x> |", '[a](http://x "" onmouseover="x")'])
def test_no_text_becomes_a_tag_that_runs_or_fetches(texts: list[str]) -> None:
    talk = msgspec.structs.replace(TALK, title=texts[0], system_prompt=texts[1])
    record = msgspec.structs.replace(FINISHED, model=texts[0], error=texts[1])
    messages = [said(number, text) for number, text in enumerate(texts, start=1)]
    messages.append(said(2, texts[0], reply=record, status="error"))
    text = export_html(talk, messages)
    page = ParsedPage(text)
    assert set(page.tags) <= TAGS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    for name, value in page.attributes:
        if name == "href":
            assert not value.lower().startswith(("javascript:", "data:", "vbscript:", "file:"))
        if name == "style":
            assert value.startswith("text-align:")
    assert not any(char in text for char in "\x00\x1b\x9b\u202e")
    assert "url(" not in text[: text.index("</style>")]


def test_a_page_has_headings_figures_code_and_folded_thoughts() -> None:
    reply = said(
        2,
        "<think>\nHm & so.\n</think>\n\n**Yes**:\n\n```python\ndef f(): return 1  # one\n```\n\n| a |\n|---|\n| 1 |",
    )
    text = export_html(TALK, [said(1, "Hello?"), reply])
    assert "<details><summary>Thought</summary>\n<p>Hm &amp; so.</p>" in text
    assert '<span class="k">def</span>' in text
    assert "<strong>Yes</strong>" in text
    assert "<table>" in text
    page = ParsedPage(text)
    assert "def f(): return 1  # one" in page.words
    assert "41 tok · TTFT 0.14 s · 94.2 tok/s" in page.words
    assert [each for each in page.tags if each in ("article", "h1")] == [
        "h1",
        "article",
        "article",
        "article",
    ]


def test_code_is_in_the_page_unchanged() -> None:
    code = "  if a < b && c > d:\n\tx = '<tag>'  \n\n\n# end"
    for language in ("python", "nosuch", ""):
        assert code in ParsedPage(export_html(TALK, [said(2, f"```{language}\n{code}\n```")])).words


def test_a_reply_in_json_keeps_its_lines() -> None:
    answer = '{\n  "a": "*b*"\n}'
    assert answer in ParsedPage(export_html(TALK, [said(2, answer)])).words


def test_the_style_knows_light_dark_and_paper_and_names_no_address() -> None:
    style = STYLE.read_text(encoding="utf-8")
    assert all(
        part in style for part in ("prefers-color-scheme: dark", "@media print", "color-scheme: light dark")
    )
    assert not any(part in style for part in ("url(", "@import", "//"))


@pytest.mark.parametrize("content", ["```py\nx\n```", "a <b> & c", "a\r\nb"])
def test_plain_text_is_unchanged(content: str) -> None:
    assert export_text(TALK, [said(1, content)]) == (
        f"A talk\n\n=== System ===\n\nBe brief.\n\n=== You ===\n\n{content}\n"
    )
