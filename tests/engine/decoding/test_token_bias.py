"""The logit bias in the sampler, and the texts that name tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.echo.engine import WordTokenizer
from tests.size import sized
from ttchat_tui.domain.logit_bias import BAN, piece_of, text_of, typed_bias, typed_boost, typed_text
from ttchat_tui.domain.recording import listed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.rules import NothingLeft
from ttchat_tui.engine.decoding.sampler import History, Sampler, distribution
from ttchat_tui.engine.decoding.token_bias import BiasTable, TokenBias
from ttchat_tui.engine.text.bias_ids import BiasIds, NoSingleToken

LOGITS = np.array([3.0, 2.0, 1.0, 0.0, -1.0], dtype=np.float32)
GREEDY = SamplingParams(temperature=0.0)


def bias_of(**amounts: float) -> TokenBias:
    """By id: `_0=-100`."""
    words = WordTokenizer()
    words.encode_pieces([])
    for number in range(len(LOGITS)):
        words.ids_of(f"_{number}")
    return BiasTable(BiasIds(words)).find(amounts)[0]


def test_a_ban_comes_before_everything_and_greedy_honours_it() -> None:
    assert Sampler(5, 1).sample(LOGITS, GREEDY, bias_of(_0=BAN)).token_id == 1
    assert Sampler(5, 1).sample(LOGITS, GREEDY, bias_of(_4=5.0)).token_id == 4
    ids, shares = distribution(
        LOGITS, SamplingParams(top_k=2, top_p=1.0), History(5), bias_of(_0=BAN, _4=2.5)
    )
    assert ids.tolist() == [1, 4], "top-k counts what is left"
    assert shares[1] / shares[0] == pytest.approx(math.exp(-0.5 / 0.7), rel=1e-5)


def test_a_suppressed_token_is_banned_unless_the_user_biases_it() -> None:
    words = WordTokenizer()
    words.encode_pieces([])
    (first,) = words.ids_of("first")
    table = BiasTable(BiasIds(words), suppressed=[first, first + 1])
    for bias, banned in (({}, [first, first + 1]), ({"first": 0.5}, [first + 1]), ({}, [first, first + 1])):
        assert table.find(bias)[0].banned.tolist() == banned


def test_the_recording_has_the_models_own_probabilities_and_names_the_ban() -> None:
    bias = bias_of(_0=BAN, _3=9.0)
    plain = Sampler(5, 1).sample_recorded(LOGITS, GREEDY, with_alternatives=True)[1]
    (token_id, logprob), found = Sampler(5, 1).sample_recorded(LOGITS, GREEDY, bias, with_alternatives=True)
    assert (token_id, found.rank, found.entropy) == (3, 3, plain.entropy)
    assert [each.logprob for each in listed(found.alternatives)] == [
        each.logprob for each in listed(plain.alternatives)
    ]
    assert logprob == pytest.approx(-3.45, abs=0.01)
    cuts = {each.token_id: each.cut for each in listed(found.alternatives)}
    assert cuts == {0: "ban", 1: "temperature", 2: "temperature", 3: "kept", 4: "temperature"}


def test_a_banned_token_that_the_constraint_forbids_is_cut_by_the_constraint() -> None:
    allowed = np.array([False, True, True, True, True])
    bias = bias_of(_0=BAN, _1=BAN)
    found = Sampler(5, 1).sample_recorded(LOGITS, GREEDY, bias, allowed, with_alternatives=True)[1]
    cuts = {each.token_id: each.cut for each in listed(found.alternatives)}
    assert (cuts[0], cuts[1]) == ("constraint", "ban")


def test_what_the_model_cannot_produce_is_left_out_and_a_ban_of_all_is_an_error() -> None:
    every = bias_of(**{f"_{number}": BAN for number in range(5)})
    with pytest.raises(NothingLeft, match="bans and the constraint"):
        Sampler(5, 1).sample(LOGITS, GREEDY, every)
    with pytest.raises(NothingLeft):
        Sampler(5, 1).sample(LOGITS, GREEDY, bias_of(_2=BAN), np.arange(5) == 2)
    assert Sampler(4, 1).sample(LOGITS[:4], GREEDY, bias_of(_4=9.0)).token_id == 0


def test_a_chosen_token_takes_the_number_of_the_one_that_would_be_drawn() -> None:
    warm = SamplingParams(temperature=2.0, top_k=0, top_p=1.0)
    one, other = Sampler(5, 3), Sampler(5, 3)
    assert other.sample(LOGITS, warm, chosen=4).token_id == 4
    one.sample(LOGITS, warm)
    assert [one.sample(LOGITS, warm) for _ in range(20)] == [other.sample(LOGITS, warm) for _ in range(20)]


@settings(max_examples=sized(25, 2000), deadline=None)
@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=4), st.integers(0, 5))
def test_a_token_that_is_taken_back_was_never_counted(reply: list[int], prompt: list[int], last: int) -> None:
    one, other = History(6, prompt), History(6, prompt)
    for each in reply:
        one.add(each)
        other.add(each)
    one.add(last)
    one.take_back(last)
    for name in ("seen_ids", "reply_ids", "reply_counts"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    one.add(last)
    other.add(last)
    assert one.seen_ids.tolist() == other.seen_ids.tolist()


def test_texts_that_are_not_one_token_are_named_with_their_tokens() -> None:
    ids = BiasIds(WordTokenizer())
    assert ids.require({" the": 1.0}) == {0: 1.0}
    with pytest.raises(NoSingleToken) as raised:
        ids.require({" the": 1.0, " not one": 1.0, "": 2.0})
    assert '"␣not␣one" is 2 tokens of this model: "␣not" "␣one".' in raised.value.info.message
    assert "no token" in raised.value.info.message


@settings(max_examples=sized(25, 2000), deadline=None)
@given(st.binary(min_size=1, max_size=6))
def test_the_text_of_any_piece_names_it(piece: bytes) -> None:
    assert piece_of(text_of(piece)) == piece or text_of(piece).startswith("⟨"), "but for a text in its form"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (" the=-100", (" the", -100.0)),
        ('" the"=2.5', (" the", 2.5)),
        ("\\n\\n=+1", ("\n\n", 1.0)),
        ("a=b=-3", ("a=b", -3.0)),
        ("\\u00e9=1", ("é", 1.0)),
    ],
)
def test_a_bias_is_typed_as_text_and_amount(typed: str, meant: tuple[str, float]) -> None:
    assert typed_bias(typed) == meant


@pytest.mark.parametrize(
    "typed", ["the", "=1", "the=", "the=much", "the=101", "the=nan", "\\q=1", "\\ud800=1", '""=1']
)
def test_anything_else_says_what_is_wrong(typed: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        typed_bias(typed)


def test_an_amount_may_follow_a_text_to_boost() -> None:
    assert typed_boost('" the" 3.5') == (" the", 3.5)
    assert typed_boost("the") == ("the", 2.0)
    assert typed_boost("7") == ("7", 2.0), "a digit is a text"
    assert typed_text('"') == '"'
