"""What the inspector says of a token and of a reply."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from tests.storage.test_recordings import recordings
from ttchat_tui.cli.token_lines import as_json
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.recording import (
    NOT_RECORDED,
    Likelihood,
    RecordedToken,
    Recording,
    SamplingChange,
    packed,
)
from ttchat_tui.domain.sampling import SamplingParams, shown_value
from ttchat_tui.storage.export_recording import to_file
from ttchat_tui.ui.widgets.inspector.about_token import lines_about, words_about
from ttchat_tui.ui.widgets.inspector.alternatives import choices_of, share_text
from ttchat_tui.ui.widgets.inspector.doubt import BY_ENTROPY, BY_PROBABILITY

HALF = math.log(0.5)
OWN = SamplingParams(temperature=0.7)
RECORDING = Recording(
    tokens=[
        RecordedToken(1, 0.5, logprob=HALF, rank=0, entropy=0.25),
        RecordedToken(2, 0.51, is_drafted=True, logprob=3 * HALF, rank=41, entropy=2.0),
        RecordedToken(3, 0.52),
        RecordedToken(NOT_RECORDED, 0.0),
    ],
    changes=[SamplingChange(1, SamplingParams(temperature=0.2, top_k=5))],
    pieces={1: b" a", 2: b"\xe2\x80", 3: b"\x1b"},
)


@pytest.mark.parametrize(
    ("pieces", "parts"),
    [
        (
            (b"a", b"\xf0\x9f", b"\xa6", b"\x8a", b"b"),
            ["", *["a part of 🦊, which tokens 2 to 4 make"] * 3, ""],
        ),
        ((b"\xc3", b"\xa9\xc3\xa9"), ["a part of é, which tokens 1 to 2 make"] * 2),
        ((b"\xe2\x80", b"x", b"\x80"), ["", "", ""]),
        ((" Z\u00fcrich".encode(), b"\xf0"), ["", ""]),
    ],
    ids=["three", "an end and a whole one", "broken", "not yet whole"],
)
def test_a_token_with_some_bytes_of_a_character_says_which(
    pieces: tuple[bytes, ...], parts: list[str]
) -> None:
    recording = Recording(
        tokens=[RecordedToken(at, 0.1, logprob=HALF) for at in range(len(pieces))],
        pieces=dict(enumerate(pieces)),
    )
    found = [lines_about(recording, at, OWN)[1] for at in range(len(pieces))]
    assert [line if line.startswith("a part") else "" for line in found] == parts


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (
            0,
            [
                "␣a   token 1 of 4 · id 1",
                "50.0 % (log -0.69) · rank 1 · entropy 0.25 nats",
                "at 0.50 s",
            ],
        ),
        (
            1,
            [
                "⟨E2 80⟩   token 2 of 4 · id 2",
                "12.5 % (log -2.08) · rank 42 · entropy 2.00 nats",
                "10.0 ms after the one before · at 0.51 s · drafted",
                "sampling since this token: temperature 0.2, top-k 5",
            ],
        ),
        (
            2,
            [
                "␛   token 3 of 4 · id 3",
                "no probability: its logits were never seen",
                "10.0 ms after the one before · at 0.52 s",
                "sampling since token 2: temperature 0.2, top-k 5",
            ],
        ),
        (3, ["–   token 4 of 4", "generated without a recording"]),
    ],
)
def test_what_is_said_of_a_token(index: int, expected: list[str]) -> None:
    assert lines_about(RECORDING, index, OWN) == expected


def test_parameters_that_are_named_again_have_not_changed() -> None:
    """A fork and a continued reply name theirs, which mostly are those before."""
    warm, cool = SamplingParams(temperature=1.2), SamplingParams(temperature=0.2)
    changes = [SamplingChange(at, each) for at, each in ((1, OWN), (2, warm), (3, warm), (4, OWN), (5, cool))]
    recording = Recording([RecordedToken(1, 0.1 * at) for at in range(7)], 0, changes, {1: b"a"})
    said = [lines_about(recording, index, OWN)[3:] for index in range(7)]
    assert said == [
        [],
        [],
        ["sampling since this token: temperature 1.2"],
        ["sampling since token 3: temperature 1.2"],
        ["sampling since this token: as at the beginning"],
        ["sampling since this token: temperature 0.2"],
        ["sampling since token 6: temperature 0.2"],
    ]


CHANGED: dict[str, tuple[Any, str]] = {
    "seed": (None, "random seed"),
    "constraint": (None, "no constraint"),
    "stop": ((), "no stop strings"),
    "logit_bias": ({}, "no bias"),
}
"""Values that have words of their own."""


@pytest.mark.parametrize("name", SamplingParams.__struct_fields__)
def test_each_change_of_sampling_is_understood_by_itself(name: str) -> None:
    begun = SamplingParams(
        temperature=0.9, top_k=3, top_p=0.3, min_p=0.2, repetition_penalty=1.2, presence_penalty=0.4,
        frequency_penalty=0.6, logit_bias={" a": 2.0}, seed=7, max_tokens=9, stop=("x",),
        constraint=Constraint("regex", "[0-9]+"), thinking="on", keep_thoughts="always",
    )  # fmt: skip
    value, words = CHANGED.get(name, (getattr(SamplingParams(), name), ""))
    changed = replace(begun, **{name: value})
    recording = Recording(RECORDING.tokens, changes=[SamplingChange(0, changed)], pieces=RECORDING.pieces)
    expected = words or f"{name.replace('_', '-')} {shown_value(value)}"
    assert lines_about(recording, 0, begun)[-1] == f"sampling since this token: {expected}"
    back = Recording(RECORDING.tokens, changes=[SamplingChange(0, begun)], pieces=RECORDING.pieces)
    said = lines_about(back, 0, changed)[-1]
    assert "None" not in said
    assert said.startswith("sampling since this token: ")
    assert {"constraint": "regex [0-9]+", "stop": 'stop at "x"', "seed": "seed 7"}.get(name, "") in said


@pytest.mark.parametrize(("logprob", "shown"), [(-0.001, "0.00"), (-0.006, "-0.01"), (0.0, "0.00")])
def test_a_zero_has_no_sign(logprob: float, shown: str) -> None:
    likelihood = Likelihood()
    tokens = [RecordedToken(1, 0.1, logprob=logprob)]
    likelihood.take(tokens)
    assert f"(log {shown})" in lines_about(Recording(tokens, pieces={1: b"a"}), 0, None)[1]
    assert f"log-prob {shown} " in words_about(likelihood)


def test_the_figures_count_tokens_with_a_probability_and_grow() -> None:
    likelihood = Likelihood()
    likelihood.take(RECORDING.tokens[:1])
    assert words_about(likelihood) == "1 tok · mean log-prob -0.69 · ppl 2.00 · 100% greedy"
    likelihood.take(RECORDING.tokens)
    assert words_about(likelihood) == "4 tok · mean log-prob -1.39 · ppl 4.00 · 50% greedy"
    unseen = Likelihood()
    unseen.take(RECORDING.tokens[2:])
    assert words_about(unseen) == "2 tok"


@pytest.mark.parametrize(
    ("ids", "figures", "places"),
    [
        ([1, -9, 2], "2 tok · 1 chunk", ["token 1 of 3", "chunk 2 of 3", "token 3 of 3"]),
        ([-9, -9], "2 chunks", ["chunk 1 of 2", "chunk 2 of 2"]),
        ([], "0 tok", []),
    ],
)
def test_text_without_an_id_is_no_token(ids: list[int], figures: str, places: list[str]) -> None:
    """Words of the user, and what a server sends that does not count tokens."""
    tokens = [RecordedToken(token_id, 0.1) for token_id in ids]
    likelihood = Likelihood()
    likelihood.take(tokens)
    assert words_about(likelihood) == figures
    recording = Recording(tokens, pieces={-9: b"some words", 1: b"a", 2: b"b"})
    for index, place in enumerate(places):
        assert place in lines_about(recording, index, None)[0]


def test_doubt_is_measured_by_probability_or_entropy_against_a_limit() -> None:
    tokens = RECORDING.tokens[:3]
    assert [BY_PROBABILITY.tint_of(token) for token in tokens] == ["unsure", "doubtful", "unknown"]
    assert [BY_ENTROPY.tint_of(token) for token in tokens] == ["plain", "doubtful", "unknown"]
    assert BY_PROBABILITY.moved(1).tint_of(tokens[0]) == "doubtful"
    assert BY_PROBABILITY.moved(-8).tint_of(tokens[1]) == "unsure"
    assert (BY_PROBABILITY.moved(99).words, BY_ENTROPY.moved(-99).words) == ("below 95%", "above 0.25 nats")


def test_a_token_that_is_not_among_its_alternatives_follows_them() -> None:
    alternatives = packed([(1, HALF, "kept"), (3, 2 * HALF, "top-p")])
    rare = RecordedToken(2, 0.0, logprob=-9.0, rank=41, alternatives=alternatives)
    choices = choices_of(RECORDING, rare)
    assert [(each.piece, each.is_written) for each in choices] == [
        (b" a", False),
        (b"\x1b", False),
        (b"\xe2\x80", True),
    ]
    common = RecordedToken(3, 0.0, logprob=2 * HALF, rank=1, alternatives=alternatives)
    assert [each.is_written for each in choices_of(RECORDING, common)] == [False, True]
    assert choices_of(RECORDING, RECORDING.tokens[2]) == []


@pytest.mark.parametrize(
    ("probability", "expected"), [(1, "100.0 %"), (0.4321, "43.2 %"), (0.0004, "0.04 %"), (1e-9, "<0.01 %")]
)
def test_shares(probability: float, expected: str) -> None:
    assert share_text(probability) == expected


@given(recordings())
def test_a_rank_is_counted_from_1_wherever_it_is_shown(recording: Recording) -> None:
    for index, token in enumerate(recording.tokens):
        shown = as_json(recording, token)["rank"]
        assert shown == (None if token.rank is None else token.rank + 1)
        if shown is not None and token.logprob is not None:
            assert f"rank {shown:,}" in " ".join(lines_about(recording, index, OWN))
    exported = to_file(1, recording).tokens
    assert [each.rank for each in exported] == [each.rank for each in recording.tokens], "from 0"
