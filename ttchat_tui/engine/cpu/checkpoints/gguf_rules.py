"""What a GGUF file says must be computed or change nothing: every other key and tensor is refused by its name.

Keys: `Keys` in llama.cpp's gguf-py/gguf/constants.py; how they are read: `load_hparams` in its src/llama-model.cpp and the
`load_arch_hparams` of src/models/*.cpp. Tensors: `create_tensor` in the same files. Pure functions over names and numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

from ttchat_tui.domain.model_files import gguf_that_is_no_model
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_names import file_name, names_of
from ttchat_tui.engine.cpu.checkpoints.parts import (
    TensorPart,
    lacking_bias,
    parts_by_name,
    shape_of,
    times,
    weight_names,
)

CURE: Final = "Use the model's safetensors folder instead: it runs through transformers. Or choose another GGUF file of the model."
DAMAGED: Final = "Download the file again, or choose another GGUF file of the model."

COMPUTED: Final = frozenset(
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.type",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "rope.scaling.yarn_log_multiplier",
    }
)
"""Hyperparameters, without the architecture before them, that `gguf_config.py` reads. Further ones: `Family.gguf_keys`."""

_WITHOUT_EFFECT: Final = frozenset(
    {
        "vocab_size",  # The embedding has as many rows as it has.
        "rope.scaling.finetuned",  # Read by llama.cpp and used nowhere.
        "attention.relative_buckets_count",  # T5's.
    }
)
"""Hyperparameters that change no number of a decoder with RMS norms and plain rotary embeddings."""

_NO_POOLING: Final = (0, -1, 2**32 - 1)
"""None, or none is named."""
_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.indexer.top_k": (0,),
    "attention.kv_lora_rank": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.output_scale": (0, 1),
    "attention.q_lora_rank": (0,),
    "attention.recurrent_layers": (False,),
    "attention.rope_pattern": (True,),
    "attention.scale": (0,),
    "attention.shared_kv_layers": (0,),
    "attention.sliding_window": (0,),
    "attention.temperature_length": (0,),
    "attention.temperature_scale": (0,),
    "attention.value_scale": (0, 1),
    "attn_logit_softcapping": (0,),
    "decoder_block_count": (0,),
    "deepstack_mapping": (-1,),
    "embedding_scale": (0, 1),
    "expert_chunk_feed_forward_length": (0,),
    "expert_count": (0,),
    "expert_feed_forward_length": (0,),
    "expert_gating_func": (0, 1),  # None is named, or softmax.
    "expert_group_count": (0,),
    "expert_group_used_count": (0,),
    "expert_shared_count": (0,),
    "expert_shared_feed_forward_length": (0,),
    "expert_used_count": (0,),
    "expert_weights_scale": (0, 1),
    "final_logit_softcapping": (0,),
    "interleave_moe_layer_step": (0,),
    "leading_dense_block_count": (0,),
    "logit_scale": (0, 1),
    "moe_every_n_layers": (0,),
    "n_deepstack_layers": (0,),
    "nextn_predict_layers": (0,),
    "pooling_type": _NO_POOLING,
    "residual_scale": (0, 1),
    "router_logit_softcapping": (0,),
    "rope.dimension_sections": (0,),
    "rope.scaling.alpha": (0, 1),
    "rope.scaling.yarn_attn_factor": (0, 1),
    "rope.scaling.yarn_ext_factor": (-1, 0),
    "swiglu_clamp_exp": (0,),
    "swiglu_clamp_shexp": (0,),
    "swin_norm": (False,),
    "tensor_data_layout": ("Meta AI original pth",),
    "use_parallel_residual": (False,),
}
"""Values with which a key changes nothing, as if it were not there. `tensor_data_layout`: the order of rows that `gguf_file.py`
undoes for the architecture llama."""
_UNREAD: Final[Mapping[str, tuple[Any, ...]]] = {
    "activation.situ_beta": (1.0,),
    "attention.indexer.kpool_select_tail": (True,),
    "attn_logit_softcapping": (50.0,),
    "decoder_start_token_id": (-1,),
    "expert_group_scale": (0.05,),
    "expert_weights_norm": (False, True),  # Both our families divide.
    "final_logit_softcapping": (30.0,),
    "kda.gate_lower_bound": (-math.inf,),
    "router_logit_softcapping": (30.0,),
    "token_shift_count": (2,),
}
"""What `llama_model_saver` writes for every architecture, the defaults of src/llama-hparams.h, though no loader of an architecture
that does not compute the key reads it. Another value is not llama.cpp's."""

_OF_OTHERS: Final = re.compile(
    r"(attention\.indexer|attn_res|convnext|hrm|hyper_connection|kda|ple|posnet|shortconv|ssm|wkv)\..+"
    r"|attention\.((key|value)_length_mla|\w+_lora_rank|layer_norm_epsilon|group_norm_\w+|output_group_count|compress_\w+)(_swa)?"
    r"|activation\.situ_linear_beta|dense_\d_feat_(in|out)|expert_latent_length|experts_per_group|hash_layer_count"
    r"|rescale_every_n_layers|time_(mix|decay)_extra_dim"
)
"""Parts of layers that other architectures have. A size of 0 is none."""
_UNUSED: Final = re.compile(r"blk\.\d+\.(attn_rot_embd(\.weight)?|attn\.rotary_emb\.inv_freq)")
"""Rotary frequencies that follow from `rope.freq_base`: `MODEL_TENSOR_SKIP` of gguf-py; llama.cpp does not read them."""


def check_kind(metadata: Mapping[str, Any]) -> None:
    """Raises ModelLoadError for files that hold no language model: what they hold, and where the model is."""
    architecture = str(metadata.get("general.architecture", ""))
    what = gguf_that_is_no_model(str(metadata.get("general.type", "")), architecture)
    if not what and metadata.get(f"{architecture}.pooling_type", 0) not in _NO_POOLING:
        what = "a model for embedding or ranking texts, which writes none"
    if what:
        raise ModelLoadError(f"This GGUF file is {what}.", "Choose the file of a chat model.")


def check_keys(metadata: Mapping[str, Any], architecture: str, also_computed: Collection[str] = ()) -> None:
    """To be called when the numbers in `COMPUTED` are known to be sound.

    Args:
        metadata: with what the family takes for keys that are left out.
        also_computed: hyperparameters that the model's family computes.
    Raises:
        ModelLoadError: a hyperparameter changes numbers and is not computed; it is named with its value.
    """
    prefix = f"{architecture}."
    computed = COMPUTED.union(also_computed)
    for key, value in metadata.items():
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        if name in computed or name in _WITHOUT_EFFECT or _is_neutral(name, value):
            continue
        if name in _REPEATED and _REPEATED[name](value, metadata, prefix):
            continue
        raise ModelLoadError(f"The GGUF file has {key} = {shown(value)}, which is not supported.", CURE)


def check_tensors(shapes: Mapping[str, tuple[int, ...]], config: ModelConfig) -> dict[str, TensorPart]:
    """Where each weight is, by its canonical name.

    Args:
        shapes: of every tensor of the file, outputs first.
    Raises:
        ModelLoadError: a tensor is missing, has another shape, or would not be read.
    """
    needed, optional = weight_names(config)
    factors = _factor_shapes(config)
    found: dict[str, TensorPart] = {}
    for name, tensor in names_of(shapes, config).items():
        if _UNUSED.fullmatch(tensor):
            continue
        parts = {} if tensor in factors else parts_by_name({name: tensor}, config)
        if tensor not in factors and (
            not parts or found.keys() & parts.keys() or not parts.keys() <= needed | optional
        ):
            raise ModelLoadError(f"The GGUF file has the tensor {tensor}, which is not supported.", CURE)
        size = factors.get(tensor) or shape_of(name, config)
        if size is not None and shapes[tensor] != size:
            raise ModelLoadError(
                f"The tensor {tensor} has the shape {times(shapes[tensor])}; the file's hyperparameters give {times(size)}.",
                CURE,
            )
        found |= parts
    lacking = lacking_bias(found, config)
    for name in (*sorted(needed - found.keys()), *([lacking] if lacking else [])):
        raise ModelLoadError(f"The GGUF file has no tensor {file_name(name)}.", DAMAGED)
    return found


def shown(value: Any) -> str:
    """A value of the metadata for a sentence: one line, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _factor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Of divisors of the rotary frequencies, which are no weights."""
    turning = ((config.rotary_size or config.head_size) // 2,)
    found = {"rope_freqs.weight": turning}
    if config.rope_scaling is not None and config.rope_scaling.kind == "longrope":
        found |= {"rope_factors_short.weight": turning, "rope_factors_long.weight": turning}
    return found


def _is_neutral(name: str, value: Any) -> bool:
    """Whether the key changes nothing with this value; of an array, with each of its values."""
    if isinstance(value, list):
        return all(_is_neutral(name, each) for each in cast(list[Any], value))
    neutral = (0,) if _OF_OTHERS.fullmatch(name) else _NEUTRAL.get(name, ())
    return any(_same(value, each) for each in (*neutral, *_UNREAD.get(name, ())))


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return isinstance(value, (int, float)) and math.isclose(value, other, rel_tol=1e-6)


def _head_size(metadata: Mapping[str, Any], prefix: str) -> int:
    """The size of a head: `load_hparams` in llama-model.cpp."""

    def count(key: str) -> int:
        value = metadata[f"{prefix}{key}"]
        return (
            cast(list[int], value)[0] if isinstance(value, list) else value
        )  # Of equal values, one for each layer.

    if f"{prefix}attention.key_length" in metadata:
        return count("attention.key_length")
    return count("embedding_length") // count("attention.head_count")


def _is_head_size(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    values = cast(list[Any], value) if isinstance(value, list) else [value]
    return all(_same(each, _head_size(metadata, prefix)) for each in values)


def _is_rotary_size(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return _same(value, metadata.get(f"{prefix}rope.dimension_count", _head_size(metadata, prefix)))


def _is_usual_scale(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return _same(value, 1 / math.sqrt(_head_size(metadata, prefix)))


def _is_usual_base(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    """The base of layers with a window: that of the others, or of no layer."""
    return _has_no_window(value, metadata, prefix) or _same(
        value, metadata.get(f"{prefix}rope.freq_base", 10_000.0)
    )


def _is_no_shorter(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return type(value) is int and value >= metadata[f"{prefix}context_length"]


def _is_usual_share(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    """Of YaRN in the frequencies: all of it."""
    return _same(value, 1) and metadata.get(f"{prefix}rope.scaling.type") == "yarn"


def _has_no_window(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return not metadata.get(f"{prefix}attention.sliding_window")


_REPEATED: Final[Mapping[str, Callable[[Any, Mapping[str, Any], str], bool]]] = {
    "attention.key_length_swa": _is_head_size,
    "attention.scale": _is_usual_scale,
    "attention.sliding_window": _is_no_shorter,
    "attention.sliding_window_pattern": _has_no_window,
    "attention.value_length": _is_head_size,
    "attention.value_length_swa": _is_head_size,
    "rope.dimension_count": _is_head_size,
    "rope.dimension_count_swa": _is_rotary_size,
    "rope.freq_base_swa": _is_usual_base,
    "rope.scaling.yarn_ext_factor": _is_usual_share,
}
"""Keys that change nothing where they only repeat what follows from others."""
