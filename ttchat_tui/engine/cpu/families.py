"""The families of models that our own forward runs: what each one adds to the layer of Llama, a row a family.

Checkpoints read from it how a file stores a family's weights; the forwards read what they compute. Neither asks for a name.
Sources: transformers' `models/<model type>/modeling_*.py`, and for files in GGUF llama.cpp's `src/models/<architecture>.cpp`
and the class of its converter that writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A Llama but for what is named here."""

    model_types: tuple[str, ...]
    """`model_type` of config.json."""
    architectures: tuple[str, ...] = ()
    """`general.architecture` of GGUF files."""
    config_fields: Mapping[str, Any] = {}
    """Fields of config.json that transformers' code for the family reads beyond Llama's, or has a default of, with what it takes
    where a file leaves one out. It reads no other, so a field of another family changes nothing."""
    gguf_keys: tuple[str, ...] = ()
    """Hyperparameters of GGUF files beyond Llama's, without the architecture before them, that are computed."""
    gguf_defaults: Mapping[str, Any] = {}
    """What some of them are where a GGUF file leaves them out: files of the first days of a family."""
    activation: Literal["silu", "gelu"] = "silu"
    """Of the gate of the feed-forward layer; gelu by its approximation with tanh."""
    norms: Literal["before", "after", "around"] = "before"
    """Where the norms of attention and feed-forward are: of their input, of their output, or of both."""
    post_attention_layernorm: Literal["ffn_norm", "attn_post_norm"] = "ffn_norm"
    """What the weight of this name is in safetensors."""
    qk_norm: Literal["none", "head", "whole"] = "none"
    """The norm of q and k before they are rotated: over each head, or over all heads at once."""
    scales_embedding: bool = False
    """An embedding is multiplied by the square root of its size."""
    has_experts: bool = False
    """In safetensors. In GGUF files `gguf_keys` says it."""
    ties_head: bool = False
    """The embedding is also the output head, where a config.json does not say it."""
    norm_offset: float = 0.0
    """Added to the weights of norms in safetensors. GGUF files have the sum."""
    has_pairs: bool = False
    """Rotary pairs are neighbours (2i, 2i + 1), in both kinds of file."""
    has_pairs_in_gguf: bool = False
    """llama.cpp's converter makes them neighbours."""
    has_joined_gate: bool = False
    """GGUF files have gate and up in one tensor, `ffn_up`."""
    rotary_share: float = 1.0
    """The part of a head that turns, where a file does not say it."""
    window: Literal["never", "switch", "from layer", "always"] = "never"
    """Whether `sliding_window` of config.json holds; "switch": if `use_sliding_window` says so; "from layer": then for layers
    from `max_window_layers` on."""
    full_every: int = 0
    """Every n-th layer sees all positions, where a file does not say which do; 0: none if there is a window."""
    has_local_rope: bool = False
    """Layers with a window have a rotary embedding of their own, which is not stretched."""
    local_theta: float = 0.0
    """Its base where a GGUF file does not say it; 0 is the base of the other layers."""
    wide_layers: int = 0
    """With so many layers attention is scaled by the size of `hidden_size / heads`, in GGUF files, which do not say it: 27B."""
    unrotated: Literal["none", "every fourth", "without window", "unless rope"] = "none"
    """Layers without rotary embedding; "without window": those that see all positions beside others that do not; "unless rope":
    all, if `position_embedding_type` is not rope."""
    has_rope_switch: bool = False
    """In GGUF files `rope.scaling.finetuned` says whether there is a rotary embedding."""


def _usual(norm_eps: float, context: int) -> dict[str, Any]:
    """What every family reads, and transformers has a default of for each."""
    return {"rms_norm_eps": norm_eps, "max_position_embeddings": context}


_QWEN: Final = {**_usual(1e-6, 32_768), "use_sliding_window": False, "sliding_window": 4096}
_MINISTRAL_ROPE: Final = {
    "rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16_384,
    "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
}  # fmt: skip
_SCALES: Final = {
    **_usual(1e-6, 2048),
    "embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 1.0, "logits_scaling": 1.0,
}  # fmt: skip
_EXPERTS: Final = ("expert_count", "expert_used_count")
_SECTIONS: Final = ("rope.dimension_sections",)
"""Pairs that turn by time, height and width of a place in an image. All three are the position of a token of text."""
_WINDOW: Final = ("attention.sliding_window",)
_WINDOWS: Final = (*_WINDOW, "attention.sliding_window_pattern")
_LLAMA: Final = Family(
    model_types=("llama",),
    architectures=("llama",),
    gguf_keys=(*_EXPERTS, *_WINDOW),
    has_pairs_in_gguf=True,
    config_fields=_usual(1e-6, 2048),
)
_GEMMA: Final = Family(
    model_types=("gemma",), architectures=("gemma",), activation="gelu", scales_embedding=True, ties_head=True,
    norm_offset=1.0, config_fields={**_usual(1e-6, 8192), "head_dim": 256},
)  # fmt: skip
_GEMMA2: Final = msgspec.structs.replace(
    _GEMMA, model_types=("gemma2",), architectures=("gemma2",), norms="around",
    post_attention_layernorm="attn_post_norm", window="always", full_every=2, wide_layers=46,
    gguf_keys=(*_WINDOWS, "attn_logit_softcapping", "final_logit_softcapping"),
    gguf_defaults={
        "attention.sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    },
    config_fields={
        **_usual(1e-6, 8192), "head_dim": 256, "sliding_window": 4096, "layer_types": None, "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    },
)  # fmt: skip
_GEMMA3: Final = {
    **_usual(1e-6, 131_072), "vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
    "query_pre_attn_scalar": 256, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
    "sliding_window": 4096, "sliding_window_pattern": 6, "layer_types": None, "final_logit_softcapping": None,
}  # fmt: skip
_OLMO2: Final = Family(
    model_types=("olmo2",), architectures=("olmo2",), norms="after", post_attention_layernorm="attn_post_norm",
    qk_norm="whole", gguf_keys=(*_WINDOWS, "rope.freq_base_swa"), config_fields=_usual(1e-5, 2048),
)  # fmt: skip
_GRANITE: Final = msgspec.structs.replace(
    _LLAMA, model_types=("granite",), architectures=("granite",), has_rope_switch=True,
    config_fields=_SCALES,
    gguf_keys=(
        "attention.scale", "embedding_scale", "logit_scale", "residual_scale",
        # Of Granite 4's other layers, which the dense models have none of.
        "expert_shared_feed_forward_length", "ssm.conv_kernel", "ssm.group_count", "ssm.inner_size", "ssm.state_size",
        "ssm.time_step_rank",
    ),
)  # fmt: skip

FAMILIES: Final[dict[str, Family]] = {
    "llama": _LLAMA,
    "mistral": msgspec.structs.replace(_LLAMA, model_types=("mistral",), architectures=(), window="always", config_fields={**_usual(1e-6, 131_072), "sliding_window": 4096}),
    "mixtral": msgspec.structs.replace(
        _LLAMA, model_types=("mixtral",), architectures=(), has_experts=True, window="always",
        config_fields={**_usual(1e-5, 131_072), "sliding_window": None, "num_experts": None, "num_local_experts": 8, "num_experts_per_tok": 2, "rope_theta": 1e6},
    ),
    "ministral3": msgspec.structs.replace(
        _LLAMA, model_types=("ministral3",), architectures=("mistral3",), window="always",
        gguf_keys=(*_WINDOW, "attention.temperature_scale"),
        config_fields={**_usual(1e-5, 262_144), "sliding_window": None, "head_dim": 128, "rope_parameters": _MINISTRAL_ROPE},
    ),
    "granite": _GRANITE,
    "granite4": msgspec.structs.replace(
        _GRANITE, model_types=("granitemoehybrid",), architectures=(), unrotated="unless rope",
        config_fields={
            **_SCALES, "num_local_experts": 8, "shared_intermediate_size": 1024, "position_embedding_type": None,
            "layer_types": ("linear_attention",),
        },
    ),
    "smollm3": msgspec.structs.replace(
        _LLAMA, model_types=("smollm3",), architectures=("smollm3",), gguf_keys=(), ties_head=True,
        unrotated="every fourth",
        config_fields={
            **_usual(1e-6, 32_768), "use_sliding_window": False, "sliding_window": None, "layer_types": None, "no_rope_layers": None,
            "no_rope_layer_interval": 4, "rope_theta": 2e6,
        },
    ),
    "qwen2": Family(model_types=("qwen2",), architectures=("qwen2", "qwen2vl", "qwen25vl"), gguf_keys=_SECTIONS, window="from layer", config_fields={**_QWEN, "max_window_layers": 28, "layer_types": None}),
    "qwen3": Family(model_types=("qwen3",), architectures=("qwen3",), qk_norm="head", window="from layer", config_fields={**_QWEN, "max_window_layers": 28, "layer_types": None, "head_dim": 128}),
    "qwen3_moe": Family(
        model_types=("qwen3_moe",), architectures=("qwen3moe",), qk_norm="head", has_experts=True, window="switch",
        gguf_keys=(*_EXPERTS, "expert_feed_forward_length"),
        config_fields={
            **_QWEN, "num_experts": None, "num_local_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": False,
            "moe_intermediate_size": 768, "mlp_only_layers": (), "decoder_sparse_step": 1,
        },
    ),
    "phi3": Family(
        model_types=("phi3",), architectures=("phi3",), has_joined_gate=True, window="always", gguf_keys=_WINDOW,
        config_fields={**_usual(1e-5, 4096), "sliding_window": None, "original_max_position_embeddings": 4096, "partial_rotary_factor": 1.0},
    ),
    "glm4": Family(
        model_types=("glm4",), architectures=("glm4",), norms="around", has_pairs=True, has_joined_gate=True,
        rotary_share=0.5, config_fields={**_usual(1.5625e-7, 131_072), "head_dim": 128, "partial_rotary_factor": 0.5},
    ),
    "olmo3": msgspec.structs.replace(
        _OLMO2, model_types=("olmo3",), window="always", full_every=4, has_local_rope=True,
        config_fields={
            **_usual(1e-5, 2048), "sliding_window": 4096, "layer_types": None, "rope_theta": 5e5, "rope_local_base_freq": 5e5,
        },
    ),
    "olmo2": _OLMO2,
    "exaone4": Family(
        model_types=("exaone4",), architectures=("exaone4",), norms="after",
        post_attention_layernorm="attn_post_norm", qk_norm="head", window="always", full_every=4,
        unrotated="without window", gguf_keys=_WINDOWS,
        config_fields={**_usual(1e-5, 2048), "sliding_window": 4096, "sliding_window_pattern": 4, "layer_types": None},
    ),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3": msgspec.structs.replace(
        _GEMMA2, model_types=("gemma3_text",), architectures=("gemma3",), qk_norm="head", full_every=6,
        wide_layers=62, config_fields=_GEMMA3, gguf_defaults={}, gguf_keys=(*_WINDOWS, "final_logit_softcapping", "rope.freq_base_swa"), has_local_rope=True, local_theta=10_000.0,
    ),
}  # fmt: skip
"""By the name that `ModelConfig.family` has. SmolLM2 is a llama; Phi-3.5, Phi-4 and Phi-4-mini are phi3; GGUF files of
OLMo 2 are an OLMo 3 without windows; the text part of Qwen2-VL and Qwen2.5-VL is a Qwen 2; the dense models of Granite 4 are granite in GGUF. Biases and experts are where a file has them."""


def family_of_model_type(model_type: str) -> str | None:
    """The family of a config.json; None if there is no description of it."""
    return next((name for name, family in FAMILIES.items() if model_type in family.model_types), None)


def family_of_architecture(architecture: str) -> str | None:
    """The family of a GGUF file; None if there is no description of it. Mistral and Mixtral are llamas there."""
    return next((name for name, family in FAMILIES.items() if architecture in family.architectures), None)
