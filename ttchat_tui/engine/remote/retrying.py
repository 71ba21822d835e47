"""Which refusals pass by themselves, and after what time. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

RETRIED: Final = frozenset({429, 502, 503, 504, 529})
"""Statuses of a request that was surely not served. 529: Anthropic's word for too many users."""

_QUOTA: Final = re.compile(
    r"insufficient[_ ](?:quota|credits|balance|funds)|billing_hard_limit|credit balance is too low"
    r"|plan and billing|out of credits|quota_exhausted",
    re.IGNORECASE,
)
_LOADING: Final = re.compile(
    r"loading (?:the )?model|model\b[^\n]{0,80}\bis (?:still |currently )?(?:being )?load(?:ing|ed)",
    re.IGNORECASE,
)
_IN_WORDS: Final = re.compile(
    r'(?:try again|retry) (?:in|after) ([\d.]+) ?(ms|s|sec\w*|m|min\w*)?(?!\w)|"retryDelay":\s*"([\d.]+)s"',
    re.IGNORECASE,
)
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def is_quota_used_up(status: int, body: bytes) -> bool:
    """Nothing but money helps: no other try is worth anything."""
    return status == 402 or (status in (403, 429) and _QUOTA.search(_text(body)) is not None)


def is_loading(status: int, body: bytes) -> bool:
    """llama.cpp's server answers so for as long as it reads its model; Hugging Face's as well."""
    return status == 503 and _LOADING.search(_text(body)) is not None


def retry_after_s(headers: Mapping[str, str], body: bytes = b"", now: datetime | None = None) -> float | None:
    """How long the server asks to wait, in seconds: by `retry-after-ms` (OpenAI, Azure), `Retry-After` in seconds or as a
    date, or in words; None where it does not say. From a date the wait is counted by the answer's own `Date`, for clocks
    differ, else by `now`."""
    exact_s = _seconds(headers.get("retry-after-ms", ""))
    if exact_s is not None:
        return exact_s / 1000
    said = headers.get("retry-after", "")
    wait_s = _seconds(said)
    if wait_s is not None:
        return wait_s
    if until := _date(said):
        begin = _date(headers.get("date", "")) or now or datetime.now(timezone.utc)
        return max(0.0, (until - begin).total_seconds())
    if (match := _IN_WORDS.search(_text(body))) is not None:
        wait_s = _seconds(match.group(1) or match.group(3))
        unit = (match.group(2) or "s").lower()
        return None if wait_s is None else wait_s * _UNITS_S["ms" if unit == "ms" else unit[0]]
    return None


def span(wait_s: float) -> str:
    """A time to wait, in words: `45 s`, `10 min`, `3 h`."""
    if wait_s < 120:
        return f"{wait_s:.0f} s"
    return f"{wait_s / 60:.0f} min" if wait_s < 7200 else f"{wait_s / 3600:.0f} h"


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _seconds(said: str) -> float | None:
    try:
        number = float(said)
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else None


def _date(said: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
