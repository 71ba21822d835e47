"""Which refusals are temporary, and how long to wait. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

from ttchat_tui.engine.served.loose_json import unescaped

RETRIED: Final = frozenset({408, 425, 429, 502, 503, 504, 521, 522, 523, 529})
"""Statuses worth a retry. 521 to 523: Cloudflare cannot reach the server; 529: Anthropic is overloaded."""
_STATES: Final = {
    **dict.fromkeys((408, 504), "did not answer in time"),
    **dict.fromkeys((502, 521, 522, 523), "is not reached by its gateway"),
}

_QUOTA: Final = re.compile(
    r"insufficient[_ ](?:quota|credits|balance|funds)|billing_hard_limit|credit balance is too low"
    r'|(?:out of|used all (?:available )?) ?credits|quota_exhausted|exceeded_current_quota|"arrearage"'
    r"|budget has been exceeded|余额不足|欠费",
    re.IGNORECASE,
)
_OWED: Final = re.compile(r"overdue|arrearage|spending limit", re.IGNORECASE)
"""Words that a conversation may hold too: not searched for where a server may repeat the request."""
_PLAN: Final = re.compile(r"plan and billing", re.IGNORECASE)
"""Gemini says this about limits per minute too, with a time to wait."""
_OF_QUOTA: Final = frozenset({400, 403, 412, 429})
"""Statuses that report it, besides 402."""
_LOADING: Final = re.compile(
    r"loading (?:the )?model|model\b[^\n]{0,80}\bis (?:still |currently )?(?:being )?load(?:ing|ed)",
    re.IGNORECASE,
)
_AMOUNT: Final = r"\d{1,9}(?:\.\d{1,20})?"
_UNIT: Final = r" ?(?:ms|s|sec\w*|m|min\w*|h|hours?|hrs?|d|days?|w|weeks?)"
_SPAN: Final = rf"{_AMOUNT}(?:{_UNIT}|(?! ?[a-z]))(?:{_AMOUNT}(?:ms|[hms]))*"
"""A bare number is in seconds; a number before a word that is no unit of time is ignored."""
_WHOLE_SPAN: Final = re.compile(_SPAN, re.IGNORECASE)
_IN_WORDS: Final = re.compile(
    rf'(?:try again|retry)(?: your request)? (?:in|after) ({_SPAN})(?!\w)|"retryDelay":\s*"({_AMOUNT}s)"',
    re.IGNORECASE,
)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|[smhdw]?)[a-z]*", re.IGNORECASE)
_UNITS_S: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST_S: Final = 366 * 86400.0


def state(status: int) -> str:
    """Why a server cannot serve, for a status in `RETRIED`. Completes a sentence that starts with its name."""
    return f"{_STATES.get(status, 'is busy')} ({status})"


def is_quota_used_up(status: int, body: bytes) -> bool:
    """Whether the account's quota is used up, so that a retry is pointless."""
    text = unescaped(body)
    if status in _OF_QUOTA and (_QUOTA.search(text) or (status != 400 and _OWED.search(text))):
        return True
    return status == 402 or (status == 429 and bool(_PLAN.search(text)) and not _IN_WORDS.search(text))


def is_loading(status: int, body: bytes) -> bool:
    """Whether the server is still loading its model, as llama.cpp's and Hugging Face's report."""
    return status == 503 and _LOADING.search(unescaped(body)) is not None


def retry_after_s(headers: Mapping[str, str], body: bytes = b"", now: datetime | None = None) -> float | None:
    """Seconds the server asks to wait: from `retry-after-ms` (OpenAI, Azure), `Retry-After` in seconds or as a date, or
    the message. None if it does not say or asks for more than a year. A date is compared with the response's own
    `Date`, as clocks differ, else with `now`."""
    wait_s = _asked_s(headers, body, now)
    return wait_s if wait_s is not None and wait_s <= _LONGEST_S else None


def _asked_s(headers: Mapping[str, str], body: bytes, now: datetime | None) -> float | None:
    exact_s = _seconds(headers.get("retry-after-ms", ""))
    if exact_s is not None:
        return exact_s / 1000
    said = headers.get("retry-after", "").strip()
    wait_s = _seconds(said)
    if wait_s is not None:
        return wait_s
    if _WHOLE_SPAN.fullmatch(said):
        return _span_s(said)
    if until := _date(said):
        begin = _date(headers.get("date", "")) or now or datetime.now(timezone.utc)
        return max(0.0, (until - begin).total_seconds())
    if (match := _IN_WORDS.search(unescaped(body))) is not None:
        return _span_s(match[1] or match[2])
    return None


def _span_s(said: str) -> float:
    """Parse `600ms`, `10 minutes` or `1h2m3.5s` to seconds."""
    parts = _PART.findall(said)
    return sum(float(number) * _UNITS_S[unit.lower()] for number, unit in parts)


def span(wait_s: float) -> str:
    """Format a duration: `45 s`, `10 min`, `3 h`."""
    if wait_s < 120:
        return f"{wait_s:.0f} s"
    return f"{wait_s / 60:.0f} min" if wait_s < 7200 else f"{wait_s / 3600:.0f} h"


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
