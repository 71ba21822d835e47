"""Tags: what is typed becomes words that can be typed again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.tags import LONGEST_TAG, has_tags, tags_in


def test_tags_are_words_in_lower_case_each_once() -> None:
    assert tags_in(" #Work, rust\twork #") == ("work", "rust")
    assert tags_in("\x1b]0;x\u202e") == ("]0;x",)


@given(st.text(max_size=60))
def test_tags_that_are_typed_again_are_the_same(typed: str) -> None:
    tags = tags_in(typed)
    assert tags_in(" ".join(tags)) == tags
    assert all(0 < len(tag) <= LONGEST_TAG for tag in tags)


def test_a_tag_is_found_by_its_beginning() -> None:
    assert has_tags(("work/plans", "rust"), ["work", "rust"])
    assert not has_tags(("work",), ["work", "plans"])
