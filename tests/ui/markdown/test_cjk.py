"""Emphasis beside Chinese, Japanese and Korean punctuation, after markdown-cjk-friendly's specification."""

from __future__ import annotations

import pytest

from ttchat_tui.ui.markdown.inline import parse_inline


def styled(source: str) -> list[tuple[str, str]]:
    content = parse_inline(source, {}).content
    return [(content.plain[span.start : span.end], str(span.style)) for span in content.spans]


@pytest.mark.parametrize(
    ("source", "inner"),
    [
        ("**「強調」**です", "「強調」"),
        ("中文**“加粗”**文字", "“加粗”"),
        ("**これは大事です。**次へ進みます。", "これは大事です。"),
        ("これは**「速い」**と言われた。", "「速い」"),
        ("**注意(caution)**を読んで", "注意(caution)"),
        ("请看**这个`code`**吗", "这个code"),
        ("先读**《红楼梦》**再说", "《红楼梦》"),
        ("价格是**100%**左右", "100%"),
        ("答案**(甲)**正确", "(甲)"),
        ("**이 용어(term)**를 보세요", "이 용어(term)"),
        ("그는 **“좋다.”**라고 말했다", "“좋다.”"),
        ("**[リンク](https://a.b)**を開く", "リンク ‹https://a.b›"),
        ("葛\U000e0100**(城)**市", "(城)"),
        ("文字\ufe00**(一)**", "(一)"),
        ("**“a”\ufe01**b", "“a”\ufe01"),
        ("𠮷**(野)**家", "(野)"),
        ("**♥!**です", "♥!"),
    ],
)
def test_bold_is_found_beside_cjk(source: str, inner: str) -> None:
    assert [text for text, style in styled(source) if style == "bold"] == [inner]
    assert "**" not in parse_inline(source, {}).content.plain


@pytest.mark.parametrize(("marker", "style"), [("*", "italic"), ("**", "bold"), ("~~", "strike")])
def test_every_marker_that_may_split_a_word_does(marker: str, style: str) -> None:
    assert styled(f"日本{marker}「語」{marker}です") == [("「語」", style)]


@pytest.mark.parametrize("source", ["日本_「語」_です", "snake_case_名", "漢字_x_字", "__(中)__文"])
def test_an_underscore_inside_a_word_stays_one(source: str) -> None:
    assert parse_inline(source, {}).content.plain == source


@pytest.mark.parametrize("source", ["a**(b)**c", "a**“b”**c", "2 * 3 * 4", "** 空白 **", "a😀**(b)**c"])
def test_text_without_cjk_follows_commonmark(source: str) -> None:
    plain = parse_inline(source, {}).content.plain
    assert plain == source or "😀" in source


def test_two_bold_words_are_not_turned_inside_out() -> None:
    assert styled("**「一」**と**「二」**は") == [("「一」", "bold"), ("「二」", "bold")]
