"""Queries: words, phrases, operators; anything can be typed."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.search import SearchQuery
from ttchat_tui.storage.search.query import MOST_NEEDLES, parse_query

NOW = datetime(2026, 11, 29, 15, 30).timestamp()


def day(year: int, month: int = 1, day: int = 1) -> float:
    return datetime(year, month, day).timestamp()


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("mesh device", SearchQuery(needles=("mesh", "device"))),
        ('"mesh device" split', SearchQuery(needles=("mesh device", "split"))),
        ('"still being typ', SearchQuery(needles=("still being typ",))),
        ("role:user mesh", SearchQuery(needles=("mesh",), role="user")),
        ("Role:Assistant", SearchQuery(role="assistant")),
        ('model:llama model:"8b q4"', SearchQuery(models=("llama", "8b q4"))),
        ("after:2026-11-03 before:2027", SearchQuery(after=day(2026, 11, 3), before=day(2027))),
        ("after:2026-11", SearchQuery(after=day(2026, 11))),
        ("after:yesterday before:today", SearchQuery(after=day(2026, 11, 28), before=day(2026, 11, 29))),
        ("in:title clock", SearchQuery(needles=("clock",), in_title=True)),
        ("tag:#Work in:archive", SearchQuery(tags=("work",), in_archive=True)),
        ("role: after: tag: in:", SearchQuery()),
        ("https://example.com std::vector", SearchQuery(needles=("https://example.com", "std::vector"))),
        ("", SearchQuery()),
    ],
)
def test_a_query_is_understood(typed: str, query: SearchQuery) -> None:
    assert parse_query(typed, NOW) == query


@pytest.mark.parametrize(
    "typed", ["role:robot", "before:soon", "after:2026-02-31", "in:body", "after:2026-13"]
)
def test_a_value_that_makes_no_sense_is_left_out_and_explained(typed: str) -> None:
    query = parse_query(f"{typed} mesh", NOW)
    assert query.needles == ("mesh",)
    assert query.problem.startswith(f"{typed.split(':')[0]}: needs ")
    assert query.role is query.before is query.after is None


@given(st.text())
def test_anything_can_be_typed(typed: str) -> None:
    assert len(parse_query(typed, NOW).needles) <= MOST_NEEDLES
