"""The cost of splitting thoughts, counted in what is looked at."""

from __future__ import annotations

import re

import pytest

from ttchat_tui.domain import tag_places
from ttchat_tui.domain.thoughts import TAG, split_thoughts


@pytest.mark.parametrize(
    "unit",
    [
        "(</think> x",
        "`</think>` x",
        "</think>",
        "<think>a (</think> b\n",
        "<think>a</think>\n",
        "```\n</think>\n```\n",
    ],
)
@pytest.mark.parametrize("begin", ["", "<think>\n", "a ", "[THINK]\n"])
def test_each_tag_and_each_line_is_looked_at_a_few_times(
    unit: str, begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply of one line of closing tags froze the screen for a second, one of mentioned tags for minutes."""
    lines, tags = [0], [0]
    line, is_code = tag_places._Line, tag_places.TagPlaces.is_code

    def counted_line(*bounds: int, **more: object) -> object:
        lines[0] += 1
        return line(*bounds, **more)  # type: ignore[arg-type]

    def counted_tag(self: tag_places.TagPlaces, tag: re.Match[str]) -> bool:
        tags[0] += 1
        return is_code(self, tag)

    monkeypatch.setattr(tag_places, "_Line", counted_line)
    monkeypatch.setattr(tag_places.TagPlaces, "is_code", counted_tag)
    text = f"{begin}{unit * 200}"
    split_thoughts(text)
    there = sum(1 for _ in TAG.finditer(text))
    assert tags[0] <= 3 * there
    assert lines[0] <= 5 * len(text.split("\n"))
