"""What follows `/candidates`: how many replies, what differs between them, and the message."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.candidates import MOST, CandidateOrder, Variant, parse_candidates, rows_of, variants
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import Candidate
from ttchat_tui.domain.preset import BUILT_IN
from ttchat_tui.domain.sampling import RANGES, SamplingParams, checked

OWN = SamplingParams(seed=5, top_k=30, max_tokens=77)


def drawn(sampling: SamplingParams, rows: int) -> list[Candidate]:
    return [Candidate(seed=(sampling.seed or 100) + row) for row in range(rows)]


def wanted(typed: str) -> list[Variant] | ErrorInfo:
    order = parse_candidates(typed)
    if isinstance(order, ErrorInfo):
        return order
    return variants(order, OWN, SamplingParams(), BUILT_IN.__getitem__, drawn)


def found(typed: str) -> list[Variant]:
    result = wanted(typed)
    assert isinstance(result, list), result
    return result


@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("", ["seed 5", "seed 6", "seed 7", "seed 8"]),
        ("2", ["seed 5", "seed 6"]),
        ("3 seed", ["seed 5", "seed 6", "seed 7"]),
        ("2 seed=41", ["seed 41", "seed 42"]),
        ("seed=4,9", ["seed 4", "seed 9"]),
        ("2 temperature=0.5", ["seed 5", "seed 6"]),
        (
            "4 temperature=0.2..1.4",
            ["temperature 0.2", "temperature 0.6", "temperature 1", "temperature 1.4"],
        ),
        ("3 top-k=10..100", ["top-k 10", "top-k 55", "top-k 100"]),
        ("min_p=0,0.1", ["min-p 0", "min-p 0.1"]),
        ("3 presence-penalty=-1..1", ["presence-penalty -1", "presence-penalty 0", "presence-penalty 1"]),
        ("preset", ["preset precise", "preset balanced", "preset creative"]),
        ("model=one,org/two", ["one", "two"]),
        ("model=a/one,b/one", ["a/one", "b/one"]),
        ("2 preset=creative,precise", ["preset creative", "preset precise"]),
    ],
)
def test_what_differs_is_the_label(typed: str, labels: list[str]) -> None:
    assert [each.label for each in found(typed)] == labels


def test_where_a_parameter_differs_nothing_else_does() -> None:
    for row, temperature in zip(rows_of(found("temperature=0.2,1.4"), OWN), (0.2, 1.4), strict=True):
        assert row == Candidate(seed=5, sampling=msgspec.structs.replace(OWN, temperature=temperature))
    for row in rows_of(found("preset"), OWN):
        assert row.sampling is not None
        assert (row.seed, row.sampling.max_tokens) == (5, 77), "what presets leave alone"
    for typed in ("2", "2 temperature=0.3"):
        assert [row.sampling for row in rows_of(found(typed), OWN)] == [None, None], "only seeds differ"


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("4 Why is the sky blue?", "Why is the sky blue?"),
        ("Why?", "Why?"),
        ("3 seed the lawn", "seed the lawn"),
        ("temperature=0.2,0.9 two  words", "two  words"),
        ("7up or cola?", "7up or cola?"),
    ],
)
def test_the_rest_is_the_message(typed: str, text: str) -> None:
    order = parse_candidates(typed)
    assert isinstance(order, CandidateOrder)
    assert order.text == text


@pytest.mark.parametrize(
    ("typed", "message", "cure"),
    [
        (f"{MOST + 1}", "There can be 1 to 32 candidates.", ""),
        ("0", "There can be 1 to 32 candidates.", ""),
        ("top-kk=2..4", "'top-kk' is no setting.", "Did you mean top-k?"),
        ("temperature=", "'temperature=' has no value.", "Write temperature=LOW..HIGH, or A,B,C."),
        ("temperature=0..9", "temperature: give a number from 0 to 2.", ""),
        ("temperature=0.2..x", "temperature: give a number from 0 to 2.", ""),
        ("temperature=1.2.3..2", "'1.2.3..2' is no range.", "Write LOW..HIGH, such as 0.2..1.4."),
        ("3 temperature=0.1,0.2", "0.1,0.2 gives 2 different values, not 3.", ""),
        ("2 stop=x", "stop cannot differ: candidates share one prompt, and where a reply ends.", ""),
        (
            "thinking=on,off",
            "thinking cannot differ: candidates share one prompt, and where a reply ends.",
            "",
        ),
        ("model=one", "Name two or more different models.", "Write model=A,B; /model lists them."),
        ("5 preset", "3 presets give 3 candidates, not 5.", ""),
        ("3 preset=precise", "1 preset gives one candidate, not 3.", ""),
    ],
)
def test_a_mistake_is_named(typed: str, message: str, cure: str) -> None:
    assert wanted(typed) == ErrorInfo(kind="usage", message=message, cure=cure)


def test_a_preset_that_is_not_there_is_named_before_they_are_counted() -> None:
    with pytest.raises(KeyError, match="nope"):
        wanted("3 preset=nope")


@given(st.sampled_from(sorted(RANGES)), st.integers(2, MOST), st.floats(0, 1), st.floats(0, 1))
def test_a_range_begins_and_ends_with_its_ends_and_never_leaves_it(
    name: str, count: int, one: float, other: float
) -> None:
    limits = RANGES[name]
    low, high = (round(limits.low + share * (limits.high - limits.low), 2) for share in sorted((one, other)))
    if isinstance(getattr(OWN, name), int):
        low, high = round(low), round(high)
    result = wanted(f"{count} {name}={low}..{high}")
    if isinstance(result, ErrorInfo):
        assert "different values" in result.message
        return
    if low == high:
        return  # one value for all
    values = [getattr(checked(each.settings.over(OWN)), name) for each in result]
    assert (values[0], values[-1], len(set(values))) == (low, high, count)
    assert values == sorted(values)


@given(st.text(max_size=40))
def test_any_text_is_an_order_or_an_error(typed: str) -> None:
    wanted(typed)
