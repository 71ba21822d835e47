"""Tokens and seconds of thoughts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.recording import RecordedToken, Recording
from ttchat_tui.session.thought_meter import ThoughtMeter, recorded_thoughts


def fed(texts: Sequence[str], meter: ThoughtMeter | None = None, *, per_event: int = 1) -> ThoughtMeter:
    """A token each tenth of a second, `per_event` of them in an event."""
    meter = meter or ThoughtMeter()
    for at in range(0, len(texts), per_event):
        some = texts[at : at + per_event]
        times = tuple((at + index + 1) / 10 for index in range(len(some)))
        meter.add(TokenEvent(1, tuple(range(len(some))), "".join(some), times))
    return meter


def rounded(meter: ThoughtMeter) -> list[tuple[int, float]]:
    return [(each.tokens, round(each.seconds, 1)) for each in meter.figures]


def test_tokens_and_seconds_are_those_between_the_tags() -> None:
    texts = ["<think>", "\n", *["so "] * 10, "</think>", "\n\n", *["yes "] * 5]
    assert rounded(fed(texts)) == [(11, 1.1)]


def test_every_thought_has_its_own_figures() -> None:
    texts = ["<think>", "\n", "a ", "b ", "\n</think>\n\n", "One.", "\n\n<think>\n", "c ", "\n</think>\n"]
    (first, _), (second, _) = rounded(fed(texts))
    assert (first, second) == (3, 1)


@pytest.mark.parametrize("per_event", [1, 2, 8])
def test_tokens_that_arrive_together_are_shared_out(per_event: int) -> None:
    texts = ["<think>", "\n", *["word "] * 100, "\n</think>\n\n", *["word "] * 100]
    [(tokens, seconds)] = rounded(fed(texts, per_event=per_event))
    assert tokens == pytest.approx(101, abs=3)
    assert seconds == pytest.approx(10, abs=0.3)


def test_a_thought_that_only_its_end_reveals_counts_from_the_first_token() -> None:
    meter = fed(["Hm, ", "so ", "it "])
    assert meter.figures == ()
    meter.add(TokenEvent(1, (9, 10), "is.\n</think>\n\n", (0.4, 0.5), ends_thought=True))
    [(tokens, _)] = rounded(meter)
    assert tokens == 4


def test_characters_that_are_held_back_are_counted() -> None:
    texts = ["<think>", "\n", "a ", "", "", "é", "\n</think>\n\n"]
    assert rounded(fed(texts)) == [(5, 0.5)]


def test_a_continued_thought_adds_to_its_figures() -> None:
    meter = ThoughtMeter("<think>\nso far", [ThoughtFigures(10, 2.0)])
    assert rounded(fed([" and", " on", "\n</think>\n\n", "Yes."], meter)) == [(12, 2.1)]


PIECES = ("<think>", "\n", "so ", "a<b ", "</think>", "\n\n", "yes ", "é")


@settings(max_examples=sized(100, 5000), deadline=None)
@given(texts=st.lists(st.sampled_from(PIECES), max_size=30), cut=st.integers(0, 30))
def test_a_recording_has_the_figures_that_were_counted_live_also_in_several_requests(
    texts: list[str], cut: int
) -> None:
    first, rest = texts[:cut], texts[cut:]
    meter = fed(first)
    if rest:
        meter = fed(rest, ThoughtMeter("".join(first), meter.figures))
    times = [(at + 1) / 10 for part in (first, rest) for at in range(len(part))]
    if len(first) < 2 and rest:
        return  # nothing says that another request begins
    tokens = [RecordedToken(PIECES.index(text), time_s) for text, time_s in zip(texts, times, strict=True)]
    recording = Recording(tokens, pieces={at: piece.encode() for at, piece in enumerate(PIECES)})
    assert recorded_thoughts("".join(texts), recording) == meter.figures
