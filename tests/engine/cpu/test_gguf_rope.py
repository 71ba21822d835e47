"""What a GGUF file says of the rotary embedding is read as llama.cpp and its converter mean it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.raw_gguf import ones, tiny_metadata, tiny_tensors
from tests.engine.cpu.test_gguf_rules import opened, refusal
from ttchat_tui.engine.cpu.checkpoints.checkpoint import RopeScaling


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rope__scaling__factor": 4.0}, RopeScaling(kind="linear", original_context=16, factor=4.0)),
        ({"rope__scale_linear": 4.0}, RopeScaling(kind="linear", original_context=16, factor=4.0)),
        (
            {"rope__scale_linear": 4.0, "rope__scaling__factor": 2.0},
            RopeScaling(kind="linear", original_context=16, factor=2.0),
        ),
        ({"rope__scaling__factor": 4.0, "rope__scaling__type": "none"}, None),
        ({"rope__scaling__factor": 0.0}, None),
        ({"rope__scaling__factor": 1.0, "rope__scaling__type": "yarn"}, None),
        ({"rope__scaling__attn_factor": 2.0}, RopeScaling(kind="linear", original_context=16, magnitude=2.0)),
        (
            {"rope__scaling__factor": 4.0, "rope__scaling__type": "yarn"},
            RopeScaling(kind="yarn", factor=4.0, original_context=16, magnitude=0.1 * math.log(4.0) + 1.0),
        ),
        (
            {
                "rope__scaling__factor": 4.0,
                "rope__scaling__type": "yarn",
                "rope__scaling__yarn_ext_factor": 1.0,
                "rope__scaling__yarn_attn_factor": 1.0,
            },
            RopeScaling(kind="yarn", factor=4.0, original_context=16, magnitude=0.1 * math.log(4.0) + 1.0),
        ),
        (
            {
                "rope__scaling__factor": 4.0,
                "rope__scaling__type": "yarn",
                "rope__scaling__yarn_attn_factor": 1.5,
                "rope__scaling__attn_factor": 2.0,
            },
            RopeScaling(kind="yarn", factor=4.0, original_context=16, magnitude=3.0),
        ),
        (
            {
                "rope__scaling__factor": 1.0,
                "rope__scaling__type": "yarn",
                "rope__scaling__yarn_attn_factor": 1.5,
            },
            RopeScaling(kind="yarn", original_context=16, magnitude=1.5),
        ),
    ],
)
def test_rope_scaling_is_read_as_llama_cpp_reads_it(
    fields: dict[str, Any], expected: RopeScaling | None, tmp_path: Path
) -> None:
    assert opened(tmp_path, tiny_metadata(**fields)).config.rope_scaling == expected


@pytest.mark.parametrize("kind", [None, "longrope", "yarn"])
def test_a_stretch_beside_the_factors_of_longrope_is_refused(kind: str | None, tmp_path: Path) -> None:
    """llama.cpp would apply both; its converter writes no such file."""
    factors = {f"rope_factors_{name}.weight": ones(2) for name in ("short", "long")}
    fields = {"rope__scaling__type": kind, "rope__scaling__original_context_length": 8}
    opened(tmp_path, tiny_metadata(**fields), tiny_tensors() | factors).close()
    metadata = tiny_metadata(**fields, rope__scaling__factor=4.0)
    assert "rope.scaling.factor = 4.0" in refusal(tmp_path, metadata, tiny_tensors() | factors)
