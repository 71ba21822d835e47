"""What a GGUF file says is computed, changes nothing, or is refused by its name."""

from __future__ import annotations

import contextlib
import re
import struct
from pathlib import Path
from typing import Any

import gguf
import pytest

from tests.engine.cpu.raw_gguf import TensorToWrite, ValueOfType, ones, tiny_metadata, tiny_tensors, write_raw
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.gguf_rules import check_keys, check_kind


def opened(
    path: Path, metadata: dict[str, Any] | None = None, tensors: dict[str, TensorToWrite] | None = None
) -> GgufFile:
    return GgufFile(write_raw(path / "x.gguf", metadata, tensors))


def refusal(
    path: Path, metadata: dict[str, Any] | None = None, tensors: dict[str, TensorToWrite] | None = None
) -> str:
    """The sentence; it has a cure."""
    with pytest.raises(ModelLoadError) as caught:
        opened(path, metadata, tensors).close()
    assert caught.value.info.cure
    return str(caught.value)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_the_tiny_file_opens(architecture: str, tmp_path: Path) -> None:
    assert opened(tmp_path, tiny_metadata(architecture)).config.layers == 1


REFUSED: list[tuple[str, Any]] = [
    ("attention.causal", False),
    ("attention.clamp_kqv", 8.0),
    ("attention.max_alibi_bias", 8.0),
    ("attention.value_length", 8),
    ("attention.scale", 0.25),
    ("attention.temperature_length", 8192),
    ("attention.layer_norm_epsilon", 1e-5),
    ("attn_logit_softcapping", 20.0),
    ("final_logit_softcapping", 15.0),
    ("embedding_scale", 12.0),
    ("residual_scale", 0.22),
    ("logit_scale", 0.0625),
    ("expert_count", 8),
    ("expert_used_count", 2),
    ("expert_weights_scale", 2.5),
    ("nextn_predict_layers", 1),
    ("use_parallel_residual", True),
    ("rope.dimension_count", 2),
    ("rope.dimension_sections", [1, 1, 0, 0]),
    ("rope.scaling.yarn_ext_factor", 1.0),
    ("rope.scaling.yarn_attn_factor", 1.2),
    ("tensor_data_layout", "another"),
    ("something_new", 1),
    ("something_new", "relu"),
    ("ssm.conv_kernel", 4),
    ("attention.sliding_window", 8),
    ("attention.sliding_window", 8.0),
    ("attention.key_length_swa", 8),
    ("attention.indexer.head_count", 2),
    ("deepstack_mapping", [0, -1]),
    ("expert_gating_func", 2),
    ("pooling_type", 1),
    ("rope.dimension_count_swa", 2),
]


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_a_hyperparameter_that_is_not_computed_is_refused_with_key_and_value(key: str, value: Any) -> None:
    metadata = tiny_metadata() | {f"llama.{key}": value}
    with pytest.raises(ModelLoadError) as caught:
        check_keys(metadata, "llama")
    assert f"llama.{key} = {value!r}" in str(caught.value)
    assert "safetensors" in caught.value.info.cure


NEUTRAL: list[tuple[str, Any]] = [
    ("attention.causal", True),
    ("attention.clamp_kqv", 0.0),
    ("attention.value_length", 4),
    ("attention.scale", 0.5),
    ("attention.sliding_window_pattern", [True, False]),
    ("attention.sliding_window", 0),
    ("attention.sliding_window", 16),
    ("attention.key_length_swa", 4),
    ("attention.value_length_swa", 4),
    ("attention.indexer.head_count", 0),
    ("attention.recurrent_layers", [False, False]),
    ("deepstack_mapping", [-1, -1]),
    ("embedding_scale", 1.0),
    ("expert_count", 0),
    ("expert_gating_func", 1),
    ("pooling_type", 2**32 - 1),
    ("rope.dimension_count_swa", 4),
    ("rope.dimension_sections", [0, 0, 0, 0]),
    ("ssm.conv_kernel", 0),
    ("swiglu_clamp_exp", [0.0, 0.0]),
    ("logit_scale", 0.0),
    ("rope.dimension_count", 4),
    ("rope.scaling.original_context_length", 2048),
    ("rope.scaling.finetuned", False),
    ("tensor_data_layout", "Meta AI original pth"),
    ("vocab_size", 49152),
]


@pytest.mark.parametrize(("key", "value"), NEUTRAL)
def test_a_hyperparameter_that_changes_nothing_is_no_reason_to_refuse(key: str, value: Any) -> None:
    check_keys(tiny_metadata() | {f"llama.{key}": value}, "llama")


def _all_keys() -> list[str]:
    """Every hyperparameter that the gguf package knows."""
    found: list[str] = []
    for group in vars(gguf.Keys).values():
        if isinstance(group, type):
            found += [
                value
                for value in vars(group).values()
                if isinstance(value, str) and value.startswith("{arch}.")
            ]
    return [key.removeprefix("{arch}.").replace("{dense}", "dense") for key in found]


def test_every_key_that_the_gguf_package_knows_is_computed_or_refused_with_an_odd_value() -> None:
    """No row may be neutral by accident: 0.37 repeats nothing."""
    passed: set[str] = set()
    for key in _all_keys():
        metadata = tiny_metadata()
        metadata.setdefault(f"llama.{key}", 0.37)
        with contextlib.suppress(ModelLoadError):
            check_keys(metadata, "llama")
            passed.add(key)
    assert passed == {
        "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.layer_norm_rms_epsilon",
        "attention.relative_buckets_count", "attention.sliding_window_pattern", "block_count",
        "context_length", "embedding_length", "feed_forward_length", "rope.freq_base", "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.finetuned", "rope.scaling.original_context_length", "rope.scaling.type",
        "rope.freq_base_swa", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
        "rope.scaling.yarn_log_multiplier", "vocab_size",
    } & set(_all_keys())  # fmt: skip


def test_keys_of_others_are_no_hyperparameters() -> None:
    check_keys(
        tiny_metadata() | {"general.name": "x", "quantize.imatrix.file": "y", "qwen2.logit_scale": 3.0},
        "llama",
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attention__head_count": 0}, "head_count = 0"),
        ({"attention__head_count": "two"}, "head_count is missing"),
        ({"attention__head_count": None}, "head_count is missing"),
        ({"attention__head_count_kv": 3}, "head_count_kv = 3"),
        ({"attention__head_count_kv": [1, 2]}, r"head_count_kv = [1, 2], which differs between layers"),
        ({"feed_forward_length": [12, 16]}, "feed_forward_length = [12, 16]"),
        ({"attention__key_length": 3}, "key_length = 3"),
        ({"attention__layer_norm_rms_epsilon": float("nan")}, "epsilon = nan"),
        ({"attention__layer_norm_rms_epsilon": None}, "epsilon is missing"),
        ({"rope__freq_base": 0.0}, "freq_base = 0.0"),
        ({"rope__freq_base": -1.0}, "freq_base = -1.0"),
        ({"rope__scaling__factor": float("inf")}, "factor = inf"),
        ({"rope__scaling__factor": 8.0, "rope__scaling__type": "longrope"}, "type = 'longrope'"),
        ({"rope__scaling__type": "spiral"}, "type = 'spiral'"),
        ({"block_count": 0}, "block_count = 0"),
        ({"block_count": 2}, "no tensor blk.1.attn_norm.weight"),
        ({"embedding_length": 16}, "shape"),
    ],
)  # fmt: skip
def test_a_number_that_makes_no_model_is_refused_in_words(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, tiny_metadata(**fields))


def test_an_array_with_the_same_value_for_each_layer_is_that_value(tmp_path: Path) -> None:
    assert opened(tmp_path, tiny_metadata(attention__head_count_kv=[1, 1])).config.kv_heads == 1


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.attn_q_norm.weight",
        "blk.0.post_attention_norm.weight", "blk.0.ffn_gate_exps.weight", "blk.0.attn_sinks.weight", "blk.0.attn_norm.bias",
        "blk.0.attn_q.scale", "blk.0.attn_qkv.weight", "blk.1.attn_q.bias", "output.bias", "token_embd_norm.weight",
        "rope_factors_long.weight", "cls.output.weight", "position_embd.weight", "anything",
    ],
)  # fmt: skip
def test_a_tensor_that_would_not_be_read_is_refused_by_name(name: str, tmp_path: Path) -> None:
    assert f"the tensor {name}," in refusal(tmp_path, tensors=tiny_tensors() | {name: ones(8)})


@pytest.mark.parametrize("name", list(tiny_tensors()))
def test_a_tensor_that_is_missing_or_has_another_shape_is_refused_by_name(name: str, tmp_path: Path) -> None:
    tensors = tiny_tensors()
    assert name in refusal(tmp_path, tensors=tensors | {name: ones(3, 3)})
    del tensors[name]
    assert f"no tensor {name}" in refusal(tmp_path, tensors=tensors)


def test_tensors_that_change_nothing_or_are_computed_are_no_reason_to_refuse(tmp_path: Path) -> None:
    more = {
        "rope_freqs.weight": ones(2), "blk.0.attn_rot_embd": ones(2), "blk.0.attn_q.bias": ones(8),
        "blk.0.attn_output.bias": ones(8), "output.weight": ones(4, 8), "blk.0.ffn_gate.bias": ones(12),
        "blk.0.ffn_up.bias": ones(12), "blk.0.ffn_down.bias": ones(8),
    }  # fmt: skip
    assert opened(tmp_path, tensors=tiny_tensors() | more).rope_factors is not None


def with_experts(**tensors: TensorToWrite) -> tuple[dict[str, Any], dict[str, TensorToWrite]]:
    """Two experts; `tensors` without `blk.0.` and `.weight`."""
    dense = {
        name: tensor for name, tensor in tiny_tensors().items() if not re.search("ffn_(gate|up|down)", name)
    }
    more = {f"blk.0.{name.replace('__', '.')}.weight": tensor for name, tensor in tensors.items()}
    return tiny_metadata(expert_count=2, expert_used_count=1), dense | more


@pytest.mark.parametrize(
    "joined",
    [
        {"ffn_gate_exps": ones(2, 12, 8), "ffn_up_exps": ones(2, 12, 8)},
        {"ffn_gate_up_exps": ones(2, 24, 8)},
        {f"ffn_{part}__{number}": ones(12, 8) for part in ("gate", "up") for number in range(2)},
    ],
)
def test_experts_are_read_from_each_way_of_joining_them(
    joined: dict[str, TensorToWrite], tmp_path: Path
) -> None:
    router = ones(2, 8)
    metadata, tensors = with_experts(ffn_gate_inp=router, ffn_down_exps=ones(2, 8, 12), **joined)
    checkpoint = opened(tmp_path, metadata, tensors)
    for number in range(2):
        assert checkpoint.tensor(f"layers.0.experts.{number}.up").shape == (12, 8)
        assert checkpoint.tensor(f"layers.0.experts.{number}.down").shape == (8, 12)
    (last, *_) = (name for name in reversed(tensors) if "ffn_up" in name or "gate_up" in name)
    assert f"{last} has the shape" in refusal(tmp_path, metadata, tensors | {last: ones(2, 3, 3)})
    assert "no tensor blk.0.ffn_" in refusal(
        tmp_path, metadata, {name: tensor for name, tensor in tensors.items() if name != last}
    )


def test_a_weight_that_is_there_alone_and_joined_is_refused(tmp_path: Path) -> None:
    metadata, tensors = with_experts(
        ffn_gate_inp=ones(2, 8), ffn_down_exps=ones(2, 8, 12), ffn_gate_exps=ones(2, 12, 8), ffn_up_exps=ones(2, 12, 8),
        ffn_gate_up_exps=ones(2, 24, 8),
    )  # fmt: skip
    assert "the tensor blk.0.ffn_gate_up_exps.weight," in refusal(tmp_path, metadata, tensors)


def test_two_ways_of_stretching_at_once_are_refused(tmp_path: Path) -> None:
    metadata = tiny_metadata(rope__scaling__factor=4.0)
    assert "factor = 4.0" in refusal(tmp_path, metadata, tiny_tensors() | {"rope_freqs.weight": ones(2)})


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"general.type": "mmproj", "general.architecture": "clip"}, "image or audio part"),
        ({"general.architecture": "clip"}, "image or audio part"),
        ({"general.type": "adapter", "general.architecture": "llama"}, "LoRA"),
        ({"general.type": "imatrix"}, "statistics"),
        ({"general.architecture": "bert"}, "embedding"),
        ({"general.architecture": "nomic-bert-moe"}, "embedding"),
        ({"general.architecture": "qwen3", "qwen3.pooling_type": 3}, "embedding"),
        ({"general.architecture": "eagle3"}, "draft"),
        ({"general.architecture": "t5encoder"}, "encoder"),
    ],
)
def test_a_file_without_a_language_model_is_refused_for_what_it_is(
    metadata: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        check_kind(metadata)


def test_metadata_without_weights_is_refused(tmp_path: Path) -> None:
    assert "no weights" in refusal(tmp_path, tensors={})


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, tiny_metadata(something=ValueOfType(5, list(range(1000)))))
    assert "llama.something = [0, 1, 2" in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize("alignment", [0, 3, 48, "32", 32.0, True, -32])
def test_an_alignment_that_is_no_power_of_two_is_refused(alignment: Any, tmp_path: Path) -> None:
    assert f"general.alignment = {alignment!r}" in refusal(
        tmp_path, tiny_metadata() | {"general.alignment": alignment}
    )


def test_arrays_in_arrays_without_end_are_a_damaged_file(tmp_path: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 9)
    (tmp_path / "x.gguf").write_bytes(head + struct.pack("<IQ", 9, 1) * 5000)
    with pytest.raises(ModelLoadError, match="damaged"):
        GgufFile(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorToWrite((4, 8), bytes(128), type_id=99), "'output.weight' has the GGML type 99,"),
        (TensorToWrite((4, 8), bytes(128), type_id=40), "'output.weight' has the GGML type 40 (NVFP4),"),
        (TensorToWrite((4, 8), bytes(128), type_id=31), "GGML type 31 (Q4_0_4_4, which ggml no longer has),"),
        (TensorToWrite((4, 8), bytes(128), type_id=8), "rows of 8 weights, but Q8_0 has blocks of 32"),
        (TensorToWrite((4, 8), bytes(60)), "truncated: it ends before the end of the tensor 'output.weight'"),
    ],
)
def test_a_tensor_that_the_file_does_not_hold_is_refused_when_it_opens(
    tensor: TensorToWrite, words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, tensors=tiny_tensors() | {"output.weight": tensor})


@pytest.mark.parametrize("name", ["general.type", "output_norm.weight"])
def test_a_name_that_is_there_twice_is_a_damaged_file(name: str, tmp_path: Path) -> None:
    data = write_raw(
        tmp_path / "x.gguf",
        tiny_metadata() | {"general.abcd": "x"},
        tiny_tensors() | {"output_abcd.weight": ones(8)},
    )
    twin = name.replace("type", "abcd").replace("_norm", "_abcd")
    data.write_bytes(data.read_bytes().replace(twin.encode(), name.encode()))
    with pytest.raises(ModelLoadError, match=f"{name}' twice"):
        GgufFile(data)


FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"llama.block_count": ValueOfType(4, 2**32 - 1)}, "block_count"),
    ({"llama.block_count": ValueOfType(4, 2**31 - 1)}, "block_count"),
    ({"llama.context_length": ValueOfType(10, 2**63)}, "context_length"),
    (
        {"llama.attention.head_count": ValueOfType(4, [2]), "llama.attention.value_length": 8},
        "attention.value_length",
    ),
    ({"llama.attention.key_length": ValueOfType(4, [4]), "llama.attention.scale": 0.25}, "attention.scale"),
    ({"llama.rope.freq_base": ValueOfType(12, 1e300)}, "rope.freq_base"),
    ({"llama.expert_count": ValueOfType(4, 2**31 - 1), "llama.expert_used_count": 2}, "expert_count"),
]


@pytest.mark.parametrize(("values", "key"), FAULTY)
def test_numbers_and_arrays_without_measure_are_refused_by_key(
    values: dict[str, Any], key: str, tmp_path: Path
) -> None:
    assert f"llama.{key}" in refusal(tmp_path, tiny_metadata() | values)


def test_an_array_of_the_same_value_for_each_layer_is_that_value(tmp_path: Path) -> None:
    arrays = {
        "llama.attention.head_count": ValueOfType(4, [2]),
        "llama.attention.value_length": ValueOfType(4, [4]),
    }
    assert opened(tmp_path, tiny_metadata() | arrays).config.heads == 2
