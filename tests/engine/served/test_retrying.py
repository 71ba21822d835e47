"""Temporary refusals, and how long to wait."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.engine.served.retrying import is_loading, is_quota_used_up, retry_after_s, span

NOW = datetime(2026, 10, 21, 7, 28, tzinfo=timezone.utc)
DATE = "Wed, 21 Oct 2026 07:28:09 GMT"


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after": "1.5"}, b"", 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, b"", 0.25),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2026 07:28:07 GMT"}, b"", 2.0),
        ({"retry-after": DATE}, b"", 9.0),
        ({"retry-after": "Wed, 21 Oct 2020 07:28:09 GMT"}, b"", 0.0),
        ({"retry-after": "-3"}, b"", 0.0),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "inf"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({}, b"Rate limit reached. Please try again in 7.5s. Visit", 7.5),
        ({}, b"Please try again in 240ms", 0.24),
        ({}, b"Please retry after 2 minutes", 120.0),
        ({}, b'{"@type": "RetryInfo", "retryDelay": "17s"}', 17.0),
        ({}, b"Please try again in 2 days", 172_800.0),
        ({}, b"Please try again in 2 hrs.", 7200.0),
        ({}, b"Please try again in 1h2m3.5s", 3723.5),
        ({}, b"Please try again in 3 fortnights", None),
        ({}, b"Please try again in 999999999 days", None),
        pytest.param({}, b"Please try again in " + b"1" * 40_000 + b"x", None, id="digits"),
        pytest.param({}, b'"retryDelay": "' + b"1" * 400 + b's"', None, id="a delay of digits"),
        ({"retry-after": "1e300"}, b"", None),
        pytest.param({"retry-after": "1" * 400}, b"", None, id="a header of digits"),
        ({}, b"Please try again in a moment", None),
        ({}, b"", None),
    ],
)
def test_the_wait_is_read_wherever_it_is(headers: dict[str, str], body: bytes, wait_s: float | None) -> None:
    assert retry_after_s(headers, body, NOW) == wait_s


@given(st.text(), st.binary())
def test_no_header_and_no_body_breaks_the_wait(said: str, body: bytes) -> None:
    wait_s = retry_after_s({"retry-after": said, "retry-after-ms": said}, body, NOW)
    assert wait_s is None or wait_s >= 0.0


def test_a_quota_that_is_used_up_is_recognised() -> None:
    assert is_quota_used_up(402, b"")
    assert is_quota_used_up(429, b'{"error":{"code":"insufficient_quota"}}')
    assert is_quota_used_up(400, b'{"code":"Arrearage"}')
    assert is_quota_used_up(403, b"Your account is overdue.")
    assert not is_quota_used_up(400, b"no such field in 'my invoice is overdue'"), "it may repeat the request"
    assert not is_quota_used_up(429, b"Rate limit reached for requests per minute")


def test_a_server_that_loads_says_so() -> None:
    assert is_loading(503, b'{"error":{"message":"Loading model"}}')
    assert is_loading(503, b"Model bigscience/bloom is currently loading")
    assert not is_loading(503, b"overloaded")


@pytest.mark.parametrize(("wait_s", "words"), [(45, "45 s"), (600, "10 min"), (10_800, "3 h")])
def test_a_wait_is_shown_in_a_suitable_unit(wait_s: float, words: str) -> None:
    assert span(wait_s) == words
