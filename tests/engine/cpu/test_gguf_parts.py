"""What of a GGUF file is known by other parts of it: windows, biases of all layers, sizes that no
tensor has, places of tensors, and numbers that make no rotation."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.raw_gguf import TensorToWrite, ones, tiny_metadata, tiny_tensors, write_raw
from tests.engine.cpu.test_gguf_rules import opened, refusal, with_experts
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_config import GgufConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.forward.rope import RopeTable


def read(architecture: str, **fields: Any) -> ModelConfig:
    """The configuration that these hyperparameters mean, without tensors."""
    return GgufConfig(tiny_metadata(architecture, **fields)).read(
        4, most_layers=9, is_head_tied=True, short_factors=None, long_factors=None, has_rope_factors=False
    )


def test_what_the_first_files_of_gemma_2_leave_out_is_what_llama_cpp_takes() -> None:
    config = read("gemma2")
    assert (config.score_cap, config.logit_cap, config.sliding_window) == (50.0, 30.0, 4096)
    named = read(
        "gemma2", attn_logit_softcapping=2.0, final_logit_softcapping=0.0, attention__sliding_window=8
    )
    assert (named.score_cap, named.logit_cap, named.sliding_window) == (2.0, 0.0, 8)
    config = read("gemma3")
    assert (config.score_cap, config.logit_cap, config.sliding_window) == (0.0, 0.0, 0)


@pytest.mark.parametrize("kind", ["none", "linear", "yarn"])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_queries_grow_from_the_original_context_on_however_the_rope_is_stretched(
    kind: str, factor: float
) -> None:
    config = read(
        "mistral3", attention__temperature_scale=0.1, rope__scaling__type=kind, rope__scaling__factor=factor,
        rope__scaling__original_context_length=5,
    )  # fmt: skip
    scales = config.query_scales(range(16)).ravel().tolist()
    assert scales == pytest.approx([1.0 + 0.1 * math.log1p(place // 5) for place in range(16)])


def test_a_bias_that_some_layers_lack_is_missing(tmp_path: Path) -> None:
    metadata = tiny_metadata(block_count=2)
    tensors = tiny_tensors() | {
        name.replace("blk.0", "blk.1"): tensor for name, tensor in tiny_tensors().items() if "blk.0" in name
    }
    assert opened(tmp_path, metadata, tensors).config.layers == 2
    tensors["blk.0.attn_q.bias"] = ones(8)
    assert "no tensor blk.1.attn_q.bias" in refusal(tmp_path, metadata, tensors)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "granite", "smollm3"])
def test_a_window_in_files_whose_layers_with_it_are_not_known_is_refused(
    architecture: str, tmp_path: Path
) -> None:
    metadata = tiny_metadata(architecture, attention__sliding_window=8)
    assert f"{architecture}.attention.sliding_window = 8" in refusal(tmp_path, metadata)
    metadata = tiny_metadata(architecture, attention__sliding_window=16)
    assert opened(tmp_path, metadata).config.sliding_window == 0


@pytest.mark.parametrize("window", [8.5, -1, "8", True])
def test_a_window_that_is_no_number_of_positions_is_refused(window: Any, tmp_path: Path) -> None:
    assert "llama.attention.sliding_window" in refusal(
        tmp_path, tiny_metadata(attention__sliding_window=window)
    )


def test_a_feed_forward_length_that_no_tensor_has_takes_no_memory(tmp_path: Path) -> None:
    metadata, tensors = with_experts(
        ffn_gate_inp=ones(2, 8), ffn_down_exps=ones(2, 8, 12), ffn_gate_exps=ones(2, 12, 8), ffn_up_exps=ones(2, 12, 8),
    )  # fmt: skip
    tensors |= {"blk.0.attn_q_norm.weight": ones(4), "blk.0.attn_k_norm.weight": ones(4)}
    named = {key.replace("llama", "qwen3moe"): value for key, value in metadata.items()}
    named |= {
        "general.architecture": "qwen3moe", "qwen3moe.feed_forward_length": 2**31 - 1, "qwen3moe.expert_feed_forward_length": 12,
    }  # fmt: skip
    assert opened(tmp_path, named, tensors).config.ffn_size == 12


def _with_offset(data: bytes, name: str, offset: int) -> bytes:
    at = data.index(name.encode()) + len(name)
    (dimensions,) = struct.unpack_from("<I", data, at)
    at += 4 + 8 * dimensions + 4
    return data[:at] + struct.pack("<Q", offset) + data[at + 8 :]


@pytest.mark.parametrize(("offset", "fault"), [(0, "at the same place"), (4, "at a multiple of 32 bytes")])
def test_tensors_that_overlap_or_are_not_aligned_are_refused(offset: int, fault: str, tmp_path: Path) -> None:
    path = write_raw(tmp_path / "x.gguf")
    path.write_bytes(_with_offset(path.read_bytes(), "blk.0.ffn_norm.weight", offset))
    with pytest.raises(ModelLoadError, match=fault):
        GgufFile(path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_vector_that_is_not_finite_is_refused_by_name(value: float, tmp_path: Path) -> None:
    data = struct.pack("<8f", *[1.0] * 7, value)
    file = opened(tmp_path, tensors=tiny_tensors() | {"blk.0.attn_norm.weight": TensorToWrite((8,), data)})
    with pytest.raises(ModelLoadError, match="attn_norm is infinite or not a number"):
        file.tensor("layers.0.attn_norm")


@pytest.mark.parametrize(
    ("values", "factor"),
    [
        ({}, 1e-38),
        ({}, 0.0),
        ({}, math.nan),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0, "llama.rope.freq_base": 1.0}, None),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0, "llama.rope.scaling.yarn_beta_fast": 0.0}, None),
    ],
)  # fmt: skip
def test_numbers_that_make_no_rotation_are_refused(
    values: dict[str, Any], factor: float | None, tmp_path: Path
) -> None:
    extra = (
        {} if factor is None else {"rope_freqs.weight": TensorToWrite((2,), struct.pack("<2f", 1.0, factor))}
    )
    file = opened(tmp_path, tiny_metadata() | values, tiny_tensors() | extra)
    with pytest.raises(ModelLoadError, match="make no rotation"):
        RopeTable(file.config, file.rope_factors)
