"""Which conversations a typed title names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.domain.errors import AppError
from ttchat_tui.session.by_title import MOST_NAMED, require_title, titled

TITLES = st.lists(st.text("aAbB1 é", max_size=4), max_size=8)


def listed(*titles: str) -> list[ListedConversation]:
    return [ListedConversation(number, title, 0.0) for number, title in enumerate(titles)]


def found(title: str, *titles: str) -> list[str]:
    return [each.title for each in titled(listed(*titles), title)]


def test_the_title_itself_goes_before_another_case_and_that_before_a_part() -> None:
    assert found("Talk 1", "Talk 10", "talk 1", "Talk 1") == ["Talk 1"]
    assert found("Talk 1", "Talk 10", "talk 1", "TALK 1") == ["talk 1", "TALK 1"]
    assert found("talk 1", "Talk 10", "A talk  1", "Tables") == ["Talk 10", "A talk  1"]
    assert found("", "Talk 10") == found("x", "Talk 10") == []


@given(TITLES, st.text("aAbB1 é", min_size=1, max_size=3))
def test_one_is_taken_and_several_are_named(titles: list[str], typed: str) -> None:
    matches = titled(listed(*titles), typed)
    if typed in titles:
        assert {each.title for each in matches} == {typed}
    if len(matches) == 1:
        assert require_title(matches, typed, cure="Choose.") is matches[0]
        return
    with pytest.raises(AppError) as caught:
        require_title(matches, typed, cure="Choose.", named=lambda each: f"<{each.id}>")
    assert caught.value.info.kind == "usage"
    assert caught.value.info.message.count("<") == min(len(matches), MOST_NAMED)
    assert (caught.value.info.cure == "Choose.") == bool(matches)
