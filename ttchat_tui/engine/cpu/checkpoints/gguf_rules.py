"""What a GGUF file says must be computed or change nothing: every other key and tensor is refused by its name.

Keys: `Keys` in llama.cpp's gguf-py/gguf/constants.py; how they are read: `load_hparams` in its src/llama-model.cpp and the
`load_arch_hparams` of src/models/*.cpp. Tensors: `create_tensor` in the same files. Pure functions over names and numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from ttchat_tui.engine.base import ModelLoadError

CURE: Final = "Use the model's safetensors folder instead: it runs through transformers. Or choose another GGUF file of the model."
DAMAGED: Final = "Download the file again, or choose another GGUF file of the model."

COMPUTED: Final = frozenset(
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.factor",
        "rope.scaling.type",
    }
)
"""Hyperparameters, without the architecture before them, that `gguf_file.py` reads. Further ones belong to a family."""

_WITHOUT_EFFECT: Final = frozenset(
    {
        "vocab_size",  # The embedding has as many rows as it has.
        "rope.scaling.finetuned",  # Read by llama.cpp and used nowhere.
        "rope.scaling.original_context_length",  # This and the next two: for yarn and longrope, which are kinds of their own.
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "rope.scaling.yarn_log_multiplier",
        "attention.relative_buckets_count",  # T5's.
    }
)
"""Hyperparameters that change no number of a decoder with RMS norms and plain rotary embeddings."""

_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.indexer.top_k": (0,),
    "attention.kv_lora_rank": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.output_scale": (0, 1),
    "attention.q_lora_rank": (0,),
    "attention.scale": (0,),
    "attention.shared_kv_layers": (0,),
    "attention.temperature_length": (0,),
    "attention.temperature_scale": (0,),
    "attention.value_scale": (0, 1),
    "attn_logit_softcapping": (0,),
    "embedding_scale": (0, 1),
    "expert_count": (0,),
    "expert_feed_forward_length": (0,),
    "expert_group_count": (0,),
    "expert_group_used_count": (0,),
    "expert_shared_count": (0,),
    "expert_shared_feed_forward_length": (0,),
    "expert_used_count": (0,),
    "expert_weights_scale": (0, 1),
    "final_logit_softcapping": (0,),
    "leading_dense_block_count": (0,),
    "logit_scale": (0, 1),
    "n_deepstack_layers": (0,),
    "nextn_predict_layers": (0,),
    "pooling_type": (0,),
    "residual_scale": (0, 1),
    "router_logit_softcapping": (0,),
    "rope.scaling.alpha": (0, 1),
    "rope.scaling.attn_factor": (1,),
    "rope.scaling.yarn_attn_factor": (1,),
    "rope.scaling.yarn_ext_factor": (-1, 0),
    "swin_norm": (False,),
    "tensor_data_layout": ("Meta AI original pth",),
    "use_parallel_residual": (False,),
}
"""Values with which a key changes nothing, as if it were not there. `tensor_data_layout`: the order of rows that `gguf_file.py`
undoes for the architecture llama."""

_KINDS: Final = {
    "mmproj": "the image or audio part of a model, which needs the model's main file beside it",
    "adapter": "an adapter (LoRA), which needs the model that it was trained for",
    "imatrix": "statistics for quantising a model",
    "vocab": "a vocabulary without weights",
}
"""`general.type` → what such a file is, in words."""

_ARCHITECTURES: Final = {
    "clip": "the image or audio part of a model, which needs the model's main file beside it",
    "t5encoder": "an encoder, which writes no text",
    "wavtokenizer-dec": "a decoder of sound",
    "eagle3": "a draft model, which only speeds another one up",
    "dflash": "a draft model, which only speeds another one up",
    "gemma4-assistant": "a draft model, which only speeds another one up",
}
_EMBEDDERS: Final = re.compile(r".*bert.*|.*-embed.*|gemma-embedding")
"""Architectures of llama.cpp's src/llama-arch.cpp that embed or rank texts."""

_OPTIONAL: Final = frozenset({"attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias"})
_HEAD_NORMS: Final = ("attn_q_norm", "attn_k_norm")
_TOP: Final = frozenset({"token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight"})
_UNUSED: Final = re.compile(r"blk\.\d+\.(attn_rot_embd(\.weight)?|attn\.rotary_emb\.inv_freq)")
"""Rotary frequencies that follow from `rope.freq_base`: `MODEL_TENSOR_SKIP` of gguf-py; llama.cpp does not read them."""
_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)")


class Shape(NamedTuple):
    """What the shapes of tensors follow from, in elements."""

    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int


def check_kind(metadata: Mapping[str, Any]) -> None:
    """Raises ModelLoadError for files that hold no language model: what they hold, and where the model is."""
    what = _KINDS.get(str(metadata.get("general.type", "model")))
    architecture = str(metadata.get("general.architecture", ""))
    what = what or _ARCHITECTURES.get(architecture)
    if what is None and (_EMBEDDERS.fullmatch(architecture) or metadata.get(f"{architecture}.pooling_type")):
        what = "a model for embedding or ranking texts, which writes none"
    if what is not None:
        raise ModelLoadError(f"This GGUF file is {what}.", "Choose the file of a chat model.")


def check_keys(metadata: Mapping[str, Any], architecture: str, also_computed: Collection[str] = ()) -> None:
    """To be called when the numbers in `COMPUTED` are known to be sound.

    Args:
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


def check_tensors(shapes: Mapping[str, tuple[int, ...]], shape: Shape, *, has_head_norms: bool) -> None:
    """
    Args:
        shapes: of every tensor of the file, outputs first.
        has_head_norms: each head of q and k has a norm (Qwen3).
    Raises:
        ModelLoadError: a tensor is missing, has another shape, or would not be read.
    """
    expected = _expected_shapes(shape, has_head_norms)
    for name in shapes:
        if name in _TOP or name in expected or _UNUSED.fullmatch(name):
            continue
        layer = _LAYER.fullmatch(name)
        if layer is not None and layer[2] in _OPTIONAL and int(layer[1]) < shape.layers:
            continue
        raise ModelLoadError(f"The GGUF file has the tensor {name}, which is not supported.", CURE)
    for name, size in expected.items():
        if name not in shapes:
            raise ModelLoadError(f"The GGUF file has no tensor {name}.", DAMAGED)
        if size is not None and shapes[name] != size:
            raise _wrong_shape(name, shapes[name], size)
    outputs = {"attn_q.bias": shape.heads, "attn_k.bias": shape.kv_heads, "attn_v.bias": shape.kv_heads}
    for name, found in shapes.items():
        layer = _LAYER.fullmatch(name)
        if layer is not None and layer[2] in _OPTIONAL:
            heads = outputs.get(layer[2])
            size = (shape.hidden,) if heads is None else (heads * shape.head_size,)
            if found != size:
                raise _wrong_shape(name, found, size)
    _check_ends(shapes, shape)


def shown(value: Any) -> str:
    """A value of the metadata for a sentence: one line, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _check_ends(shapes: Mapping[str, tuple[int, ...]], shape: Shape) -> None:
    for name in ("token_embd.weight", "output_norm.weight"):
        if name not in shapes:
            raise ModelLoadError(f"The GGUF file has no tensor {name}.", DAMAGED)
    rows = shapes["token_embd.weight"][0]
    sizes = {
        "token_embd.weight": (rows, shape.hidden),
        "output_norm.weight": (shape.hidden,),
        "output.weight": (rows, shape.hidden),
        "rope_freqs.weight": (shape.head_size // 2,),
    }
    for name, size in sizes.items():
        if name in shapes and shapes[name] != size:
            raise _wrong_shape(name, shapes[name], size)


def _expected_shapes(shape: Shape, has_head_norms: bool) -> dict[str, tuple[int, ...]]:
    q, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sizes: dict[str, tuple[int, ...]] = {
        "attn_norm": (shape.hidden,),
        "attn_q": (q, shape.hidden),
        "attn_k": (kv, shape.hidden),
        "attn_v": (kv, shape.hidden),
        "attn_output": (shape.hidden, q),
        "ffn_norm": (shape.hidden,),
        "ffn_gate": (shape.ffn, shape.hidden),
        "ffn_up": (shape.ffn, shape.hidden),
        "ffn_down": (shape.hidden, shape.ffn),
    }
    if has_head_norms:
        sizes |= dict.fromkeys(_HEAD_NORMS, (shape.head_size,))
    return {f"blk.{n}.{name}.weight": size for n in range(shape.layers) for name, size in sizes.items()}


def _wrong_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> ModelLoadError:
    return ModelLoadError(
        f"The tensor {name} has the shape {_times(found)}; the file's hyperparameters give {_times(expected)}.",
        CURE,
    )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"


def _is_neutral(name: str, value: Any) -> bool:
    """Whether the key changes nothing with this value; of an array, with each of its values."""
    if isinstance(value, list):
        return all(_is_neutral(name, each) for each in value)
    return any(_same(value, each) for each in _NEUTRAL.get(name, ()))


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return isinstance(value, (int, float)) and math.isclose(value, other, rel_tol=1e-6)


def _head_size(metadata: Mapping[str, Any], prefix: str) -> Any:
    """The size of a head: `load_hparams` in llama-model.cpp."""
    found = metadata.get(f"{prefix}attention.key_length")
    if found is not None:
        return found
    return metadata[f"{prefix}embedding_length"] // metadata[f"{prefix}attention.head_count"]


def _is_head_size(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return _same(value, _head_size(metadata, prefix))


def _is_usual_scale(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return _same(value, 1 / math.sqrt(_head_size(metadata, prefix)))


def _has_no_window(value: Any, metadata: Mapping[str, Any], prefix: str) -> bool:
    return not metadata.get(f"{prefix}attention.sliding_window")


_REPEATED: Final[Mapping[str, Callable[[Any, Mapping[str, Any], str], bool]]] = {
    "attention.scale": _is_usual_scale,
    "attention.sliding_window_pattern": _has_no_window,
    "attention.value_length": _is_head_size,
    "rope.dimension_count": _is_head_size,
}
"""Keys that change nothing where they only repeat what follows from others."""
