"""`/retry model=… temperature=…`: what is taken, and what is refused with which words."""

from __future__ import annotations

import pytest

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.reply_settings import (
    NO_SETTINGS,
    ReplySettings,
    differing,
    parse_reply_settings,
    setting_words,
)
from ttchat_tui.domain.sampling import SamplingParams


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        ("", NO_SETTINGS),
        ("model=llama", ReplySettings("llama")),
        ("temperature=0.2 top-k=0", ReplySettings("", {"temperature": 0.2, "top_k": 0})),
        ('model="a b" seed=none', ReplySettings("a b", {"seed": None})),
        ("stop=none constraint=None", ReplySettings("", {"stop": (), "constraint": None})),
        ("logit-bias=none logit-bias=a=2", ReplySettings("", {"logit_bias": {"a": 2.0}})),
        ("stop=### stop='the end'", ReplySettings("", {"stop": ("###", "the end")})),
    ],
)
def test_pairs_are_settings(typed: str, settings: ReplySettings) -> None:
    assert parse_reply_settings(typed) == settings


@pytest.mark.parametrize(
    ("typed", "problem", "cure"),
    [
        ("temperature", "'temperature' has no value.", "Write temperature=VALUE."),
        ("heat=1", "'heat=1' is no setting.", "The settings are model, temperature, top-k, top-p, min-p, "),
        ("temp=0.1", "'temp=0.1' is no setting.", "Did you mean temperature?"),
        ("top_kk=1", "'top_kk=1' is no setting.", "Did you mean top-k?"),
        ("modl=x", "'modl=x' is no setting.", "Did you mean model?"),
        ("model=", "'model=' has no value.", "Write model=VALUE."),
        ("model='a", "A quotation mark has no partner.", ""),
    ],
)
def test_anything_else_is_named(typed: str, problem: str, cure: str) -> None:
    refused = parse_reply_settings(typed)
    assert isinstance(refused, ErrorInfo)
    assert refused.message == problem
    assert refused.cure.startswith(cure)


@pytest.mark.parametrize("name", SamplingParams.__struct_fields__)
def test_a_value_that_is_refused_is_answered_with_what_the_setting_takes(name: str) -> None:
    value = "x" * 257 if name == "stop" else "-9"
    refused = parse_reply_settings(f"{name}={value}")
    assert isinstance(refused, ErrorInfo)
    label, _, takes = refused.message.partition(": ")
    assert label == name.replace("_", "-")
    assert takes.startswith("give ")
    assert "`" not in refused.message
    assert not refused.cure


def test_the_range_of_a_number_is_named() -> None:
    refused = parse_reply_settings("temperature=9 top-k=many")
    assert isinstance(refused, ErrorInfo)
    assert refused.message == "temperature: give a number from 0 to 2."


def test_choices_for_one_reply_are_typed_as_for_all() -> None:
    settings = parse_reply_settings("""constraint='choices yes,"no, thanks"'""")
    assert isinstance(settings, ReplySettings)
    assert settings.sampling == {"constraint": Constraint("choices", 'yes,"no, thanks"')}
    refused = parse_reply_settings("constraint='choices yes'")
    assert isinstance(refused, ErrorInfo)
    assert refused.message == "constraint: choices needs at least two texts with commas between: yes,no."


def test_settings_lie_over_others() -> None:
    base = SamplingParams(top_k=5)
    made = ReplySettings("", {"temperature": 0.2, "stop": ("a b",)}).over(base)
    assert (made.temperature, made.top_k) == (0.2, 5)
    names = differing([base, made])
    assert setting_words(made, names) == ["temperature 0.2", "stop 'a b'"]
    assert differing([base]) == []


_OTHERS: dict[str, tuple[object, list[str]]] = {
    "temperature": (0.25, ["temperature 0.25"]),
    "top_k": (1000, ["top-k 1000"]),
    "top_p": (1.0, ["top-p 1"]),
    "min_p": (0.05, ["min-p 0.05"]),
    "repetition_penalty": (1.1, ["repetition-penalty 1.1"]),
    "presence_penalty": (-2.0, ["presence-penalty -2"]),
    "frequency_penalty": (2.0, ["frequency-penalty 2"]),
    "logit_bias": ({" the": -100.0, "\n": 2.5, "x": -3.0}, ['ban "␣the"', 'boost "⏎" 2.5', 'bias "x" -3']),
    "seed": (2**63 - 1, ["seed 9223372036854775807"]),
    "max_tokens": (1_048_575, ["max-tokens 1048575"]),
    "stop": (("\x1b[2J", "b"), ["stop '\\x1b[2J'", "stop 'b'"]),
    "constraint": (Constraint("regex", "[0-9]\x1b"), ["regex [0-9]␛"]),
    "thinking": ("off", ["thinking off"]),
    "keep_thoughts": ("never", ["keep-thoughts never"]),
}


def test_every_field_has_words_with_its_exact_value() -> None:
    assert [*_OTHERS] == [*SamplingParams.__struct_fields__]
    for name, (value, words) in _OTHERS.items():
        made = ReplySettings("", {name: value}).over(SamplingParams())
        names = differing([SamplingParams(), made])
        assert (names, setting_words(made, names)) == ([name], words)
        setting_words(SamplingParams(), names)
