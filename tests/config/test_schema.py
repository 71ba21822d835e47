"""The schema matches the engines' parameters, and the example file matches the schema."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from ttchat_tui.config.schema import Config, SamplingDefaults
from ttchat_tui.domain.sampling import SamplingParams

EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.toml"

_COMMENTED_SETTING = re.compile(r"^# (?=[a-z_]+ = )", re.MULTILINE)


def example(*, uncomment: bool) -> dict[str, Any]:
    text = EXAMPLE.read_text("utf-8")
    return msgspec.toml.decode(_COMMENTED_SETTING.sub("", text) if uncomment else text)


def test_the_example_file_gives_the_defaults() -> None:
    assert msgspec.convert(example(uncomment=False), Config) == Config()


def test_the_example_file_shows_every_setting_and_no_other() -> None:
    shown = example(uncomment=True)
    assert msgspec.convert(shown, Config)  # an unknown key would be refused
    missing = [
        f"{section}.{field.name}"
        for section, default in msgspec.structs.asdict(Config()).items()
        if isinstance(default, msgspec.Struct)
        for field in msgspec.structs.fields(default)
        if field.name not in shown.get(section, {})
    ]
    assert missing == []
    assert set(shown) == set(Config.__struct_fields__)


def test_the_sampling_values_of_the_example_are_the_defaults() -> None:
    shown = {**example(uncomment=True)["sampling"], "seed": None, "constraint": None}
    assert msgspec.convert(shown, SamplingParams) == SamplingParams()


def test_every_setting_in_the_example_is_explained() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    setting = re.compile(r"^(# )?[a-z_]+ = ")
    for above, line in itertools.pairwise(lines):
        is_one_of_a_pair = line.startswith(("newline_keys", "show_controls"))
        if setting.match(line) and not is_one_of_a_pair and not line.startswith('# stop = "'):
            assert above.startswith("#"), f"no comment above: {line}"


def test_sampling_defaults_have_the_names_of_the_sampling_parameters() -> None:
    assert SamplingDefaults.__struct_fields__ == SamplingParams.__struct_fields__


def test_given_parameters_override_the_models_recommendation() -> None:
    recommended = SamplingParams(temperature=0.2, top_p=0.9, top_k=50)
    given = SamplingDefaults(temperature=0.0, stop=("\n\n",))
    assert given.over(recommended) == SamplingParams(temperature=0.0, top_p=0.9, top_k=50, stop=("\n\n",))
    assert SamplingDefaults().over(recommended) == recommended


def test_nothing_is_given_at_first() -> None:
    assert all(getattr(SamplingDefaults(), name) is UNSET for name in SamplingDefaults.__struct_fields__)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        SamplingDefaults(temperature=9.0).over(SamplingParams())


def test_a_models_name_may_begin_with_its_engine_and_with_nothing_else() -> None:
    names = ["cpu:smollm2", "tt:folder/x", "smollm2", "org/name:v1", ":x"]
    assert [*map(Config().without_kind, names)] == ["smollm2", "folder/x", "smollm2", "org/name:v1", ":x"]
