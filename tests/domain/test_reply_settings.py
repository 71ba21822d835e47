"""`/retry model=… temperature=…`: what is taken, and what is refused with which words."""

from __future__ import annotations

import pytest

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
        ("stop=### stop='the end'", ReplySettings("", {"stop": ("###", "the end")})),
    ],
)
def test_pairs_are_settings(typed: str, settings: ReplySettings) -> None:
    assert parse_reply_settings(typed) == settings


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("temperature", "'temperature' is no setting."),
        ("heat=1", "'heat=1' is no setting."),
        ("model=", "'model=' is no setting."),
        ("temperature=9", "temperature: Expected `float` <= 2.0."),
        ("top-k=many", "top_k: Expected `int`, got `str`."),
        ("model='a", "A quotation mark has no partner."),
    ],
)
def test_anything_else_is_named(typed: str, problem: str) -> None:
    refused = parse_reply_settings(typed)
    assert isinstance(refused, ErrorInfo)
    assert refused.message == problem
    assert "temperature" in refused.cure


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
    "seed": (2**63 - 1, ["seed 9223372036854775807"]),
    "max_tokens": (1_048_575, ["max-tokens 1048575"]),
    "stop": (("\x1b[2J", "b"), ["stop '\\x1b[2J'", "stop 'b'"]),
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
