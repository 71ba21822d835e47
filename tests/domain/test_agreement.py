"""Comparing two recordings of the same tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from ttchat_tui.domain.agreement import agreement_of, is_agreed, kl_between
from ttchat_tui.domain.recording import ALTERNATIVES, RecordedToken, packed

WEIGHTS = st.lists(st.floats(0.01, 100), min_size=40, max_size=40)


def token(probabilities: list[float], token_id: int = 0) -> RecordedToken:
    """As an engine records it, of a vocabulary with these probabilities."""
    order = sorted(range(len(probabilities)), key=lambda each: -probabilities[each])
    listed = [(each, math.log(probabilities[each]), "kept") for each in order[:ALTERNATIVES]]
    return RecordedToken(
        token_id,
        0.0,
        logprob=math.log(probabilities[token_id]),
        rank=order.index(token_id),
        alternatives=packed(listed),  # pyright: ignore[reportArgumentType]
    )


def normalised(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


@settings(max_examples=sized(20, 2000), deadline=None)
@given(WEIGHTS, WEIGHTS, st.integers(0, 39))
def test_the_divergence_of_what_is_recorded_is_at_most_that_of_the_whole(
    weights: list[float], others: list[float], token_id: int
) -> None:
    own, other = normalised(weights), normalised(others)
    whole = sum(p * math.log(p / q) for p, q in zip(own, other, strict=True))
    found = kl_between(token(own, token_id), token(other, token_id))
    assert found is not None
    assert 0.0 <= found <= whole + 1 / 64
    same = kl_between(token(own), token(own))
    assert same == pytest.approx(0.0, abs=1e-3)


def test_a_divergence_of_distributions_that_are_recorded_whole_is_exact() -> None:
    own, other = [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]
    expected = 0.5 * math.log(2) - 0.25 * math.log(2)
    assert kl_between(token(own), token(other)) == pytest.approx(expected, abs=0.02)


def test_tokens_agree_by_what_is_most_probable_in_their_place() -> None:
    first, second = token([0.6, 0.3, 0.1], 0), token([0.3, 0.6, 0.1], 0)
    assert is_agreed(first, first)
    assert not is_agreed(first, second)
    assert is_agreed(token([0.6, 0.3, 0.1], 1), token([0.6, 0.3, 0.1], 2)), (
        "both prefer another one, the same"
    )
    assert is_agreed(token([0.6, 0.3, 0.1], 2), token([0.3, 0.6, 0.1], 2)) is False
    unseen = RecordedToken(0, 0.0)
    assert is_agreed(first, unseen) is is_agreed(unseen, first) is None
    assert kl_between(first, unseen) is None
    found = agreement_of("cpu", [first, first, unseen], [first, second, first])
    assert (found.compared, found.agreed, found.first_difference) == (2, 1, 2)
    assert (found.kl_tokens, found.max_kl_at) == (2, 2)
