"""Choice of the model to start with."""

from __future__ import annotations

import pytest

from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.choice import ModelChoice, NameSource, choose_model

PLACES = ("flag", "TTCHAT_MODEL", "TTCHAT_MODEL__NAME", "HF_MODEL", "configured", "last_used")
NAMED: tuple[NameSource, ...] = (
    "--model",
    "TTCHAT_MODEL",
    "TTCHAT_MODEL__NAME",
    "HF_MODEL",
    "config",
    "last used",
)


def choose(named: dict[str, str]) -> ModelChoice:
    environ = {place: name for place, name in named.items() if place.isupper()}
    return choose_model(environ=environ, **{p: n for p, n in named.items() if not p.isupper()})


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_first_place_that_names_a_model_wins(first: int) -> None:
    assert choose({place: f"from {place}" for place in PLACES[first:]}) == ModelChoice(
        f"from {PLACES[first]}", NAMED[first]
    )


def test_without_any_name_the_default_is_chosen() -> None:
    assert choose({}) == ModelChoice(catalog().default, "default")


def test_a_blank_name_is_no_name() -> None:
    assert choose({"flag": " ", "TTCHAT_MODEL": "", "HF_MODEL": " qwen3-0.6b\n"}).name == "qwen3-0.6b"
