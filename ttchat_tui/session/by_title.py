"""The conversation that a typed title names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.matching import Matcher
from ttchat_tui.session.conversation import name_of
from ttchat_tui.session.notices import quoted

MOST_NAMED: Final = 3
"""Titles in the error about several matches."""


def titled(conversations: Iterable[ListedConversation], title: str) -> Sequence[ListedConversation]:
    """The conversations whose title is `title`; else those whose title is it without regard to case; else those whose title
    contains it. In the given order."""
    every, matcher = list(conversations), Matcher([title])
    return (
        [each for each in every if each.title == title]
        or [each for each in every if each.title.casefold() == title.casefold()]
        or [each for each in every if matcher and matcher.has_all(each.title)]
    )


def require_title(
    found: Sequence[ListedConversation],
    title: str,
    *,
    cure: str,
    named: Callable[[ListedConversation], str] = name_of,
) -> ListedConversation:
    """The one conversation of `found`, which `titled` has found for `title`.

    Args:
        cure: how to choose one of several.
        named: how the error names each.

    Raises:
        AppError: kind `usage`: there is none, or there are several.
    """
    if not found:
        message = f"No conversation has the title {quoted(title)}."
        raise AppError(message, "/find lists the titles, /search looks into the messages.", "usage")
    if len(found) > 1:
        names = ", ".join(named(each) for each in found[:MOST_NAMED])
        more = f" and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
        message = f"{len(found):,} conversations match {quoted(title)}: {names}{more}."
        raise AppError(message, cure, "usage")
    return found[0]
