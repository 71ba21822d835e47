"""config.json → `ModelConfig`, for the model types that `families.py` describes.

Source: transformers' `models/<model type>/configuration_*.py`, and `modeling_rope_utils.py` for rotary embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import msgspec
import numpy as np

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeScaling, Routing
from ttchat_tui.engine.cpu.families import FAMILIES, Family, family_of_model_type

_ACTIVATIONS: Final = {"silu": ("silu", "swish"), "gelu": ("gelu_pytorch_tanh",)}
"""`Family.activation` → transformers' names."""
_SEEING: Final = frozenset({"gemma3", "mistral3"})
"""Model types of which we run the part for text."""
_LAYERS: Final = frozenset({"attention", "full_attention"})
_OF_ALL: Final = frozenset(
    {
        "head_dim", "hidden_act", "hidden_activation", "hidden_size", "intermediate_size", "max_position_embeddings",
        "model_type", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "original_max_position_embeddings",
        "partial_rotary_factor", "quantization_config",
        "rms_norm_eps", "rope_parameters", "rope_scaling", "rope_theta", "tie_word_embeddings",
        "use_bidirectional_attention", "vocab_size",
    }
)  # fmt: skip
"""Fields that every family reads. Further ones: `Family.config_fields`."""
_GREATEST: Final = float(np.finfo(np.float32).max)
_MOST_LAYERS: Final = 10_000
"""More are damage."""
_ROPES: Final = ("default", "linear", "llama3", "yarn", "longrope", "su")


def why_not_own(raw: Mapping[str, Any]) -> str:
    """Why `forward/model.py` does not run this config.json, as the object of a sentence; empty if it does."""
    with _sound():
        return _why_not_own(_of_text(raw))


def _why_not_own(raw: Mapping[str, Any]) -> str:
    model_type = str(raw.get("model_type", ""))
    name = family_of_model_type(model_type)
    if name is None:
        return f"a model of type {model_type!r}"
    if raw.get("quantization_config"):
        return "quantised safetensors"
    family = FAMILIES[name]
    activation = raw.get("hidden_activation") or raw.get("hidden_act") or family.activation
    if activation not in _ACTIVATIONS[family.activation]:
        return f"a model with the activation {activation!r}"
    known = _LAYERS if family.window == "never" else _LAYERS | {"sliding_attention"}
    if kinds := set(raw.get("layer_types") or ()) - known:
        return f"a model with layers of type {min(kinds)!r}"
    if family.window == "never" and raw.get("use_sliding_window") and raw.get("sliding_window"):
        return "a model with a sliding window"
    if _experts(raw) and not family.has_experts:
        return "a model with experts"
    if raw.get("mlp_only_layers") or raw.get("decoder_sparse_step", 1) != 1:
        return "a model with experts in some of its layers"
    if raw.get("use_bidirectional_attention"):
        return "a model with attention in both directions"
    ropes = [_main_rope(raw), _local_rope(raw)]
    if kinds := [kind for kind in map(_kind, ropes) if kind not in _ROPES]:
        return f"a model with {kinds[0]!r} rope scaling"
    if any("mrope_section" in rope for rope in ropes) or _kind(_local_rope(raw)) != "default":
        return "a model with rotary embeddings of another kind"
    if "partial_rotary_factor" not in family.config_fields and _rotary_share(raw, ropes[0]) != 1.0:
        return "a model of which a part of each head turns"
    return ""


def read_config(raw: Mapping[str, Any]) -> ModelConfig:
    """config.json → `ModelConfig`.

    Raises:
        ModelLoadError: a field is missing.
    """
    with _sound():
        raw = _of_text(raw)
        name = family_of_model_type(raw["model_type"])
        assert name is not None, "`why_not_own` says so"
        family, heads, hidden = FAMILIES[name], raw["num_attention_heads"], raw["hidden_size"]
        head_size = raw.get("head_dim") or hidden // heads
        if raw["num_hidden_layers"] > _MOST_LAYERS:
            raise ValueError(f"num_hidden_layers = {raw['num_hidden_layers']}")
        window, sliding = _sliding(raw, family)
        rope, routing = _main_rope(raw), _routing(raw)
        share = _rotary_share(raw, rope)
        config = ModelConfig(
            family=name,
            hidden_size=hidden,
            ffn_size=(raw.get("shared_intermediate_size") or raw["intermediate_size"]) if routing is None
            else routing.ffn_size,
            layers=raw["num_hidden_layers"],
            heads=heads,
            kv_heads=raw.get("num_key_value_heads") or heads,
            head_size=head_size,
            vocab_size=raw["vocab_size"],
            context_length=raw["max_position_embeddings"],
            norm_eps=raw["rms_norm_eps"],
            rope_theta=_theta(raw, rope),
            rope_scaling=_scaling(raw, rope),
            is_head_tied=bool(raw.get("tie_word_embeddings", family.ties_head)),
            sliding_window=window,
            sliding_layers=sliding,
            rotary_size=int(head_size * share) if share != 1.0 else 0,
            local_rope_theta=_local_theta(raw) if family.has_local_rope and window else 0.0,
            unrotated_layers=_unrotated(raw, family, window, sliding),
            embedding_scale=math.sqrt(hidden) if family.scales_embedding else raw.get("embedding_multiplier", 1.0),
            residual_scale=raw.get("residual_multiplier", 1.0),
            attention_scale=_attention_scale(raw),
            logit_scale=1.0 / raw.get("logits_scaling", 1.0),
            score_cap=raw.get("attn_logit_softcapping") or 0.0,
            logit_cap=raw.get("final_logit_softcapping") or 0.0,
            query_growth=rope.get("llama_4_scaling_beta") or 0.0,
            routing=routing,
        )  # fmt: skip
        return _checked(config)


def _checked(config: ModelConfig) -> ModelConfig:
    """Raises ValueError for a value of another type, and for numbers beyond measure."""
    for field in (
        "hidden_size",
        "ffn_size",
        "layers",
        "heads",
        "kv_heads",
        "head_size",
        "vocab_size",
        "context_length",
    ):
        size = getattr(config, field)
        if type(size) is not int or not 1 <= size < 2**31:
            raise ValueError(f"{field} = {size!r}")
    for field in (
        "norm_eps", "rope_theta", "local_rope_theta", "embedding_scale", "residual_scale", "attention_scale", "logit_scale",
        "score_cap", "logit_cap", "query_growth",
    ):  # fmt: skip
        number = getattr(config, field)
        if not 0 <= number <= _GREATEST:
            raise ValueError(f"{field} = {number!r}")
    if not 0 <= config.sliding_window < 2**31:
        raise ValueError(f"sliding_window = {config.sliding_window!r}")
    for kinds in (config.sliding_layers, config.unrotated_layers):
        if len(kinds) not in (0, config.layers):
            raise ValueError(f"{len(kinds)} kinds of layers for {config.layers} layers")
    if config.head_size % 2 or config.rotary_size % 2 or not 0 <= config.rotary_size <= config.head_size:
        raise ValueError(
            f"{config.rotary_size or config.head_size} of {config.head_size} elements of a head turn"
        )
    if config.routing is not None and not 1 <= config.routing.used <= config.routing.experts:
        raise ValueError(f"{config.routing.used} of {config.routing.experts} experts for a token")
    return msgspec.convert(msgspec.structs.asdict(config), decodable(ModelConfig))


@contextmanager
def _sound() -> Generator[None, None, None]:
    """Raises ModelLoadError for a config.json without a field, or with a value that makes no model."""
    try:
        yield
    except KeyError as error:
        raise ModelLoadError(f"config.json has no {error}.", "Download the model again.") from error
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise ModelLoadError(
            f"config.json has a value that makes no model: {error}.", "Download the model again."
        ) from error


def _of_text(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a config.json says about text, as far as the model's family reads it, and the family's defaults. A model that also
    sees images has a part for text."""
    text = raw.get("text_config")
    if raw.get("model_type") in _SEEING and isinstance(text, dict):
        whole = {key: raw[key] for key in ("quantization_config", "tie_word_embeddings") if key in raw}
        raw = {**whole, **cast("dict[str, Any]", text)}
    name = family_of_model_type(str(raw.get("model_type", "")))
    if name is None:
        return raw
    fields = FAMILIES[name].config_fields
    read = _OF_ALL | fields.keys()
    named = {key: value for key, value in raw.items() if key in read}
    if named.get("rope_parameters", {}) is None:  # As if it were left out.
        del named["rope_parameters"]
    return {**fields, **named}


def _attention_scale(raw: Mapping[str, Any]) -> float:
    if "query_pre_attn_scalar" in raw:
        return raw["query_pre_attn_scalar"] ** -0.5
    return raw.get("attention_multiplier", 0.0)


def _experts(raw: Mapping[str, Any]) -> int:
    return raw.get("num_experts") or raw.get("num_local_experts") or 0


def _routing(raw: Mapping[str, Any]) -> Routing | None:
    experts = _experts(raw)
    if not experts:
        return None
    return Routing(
        experts=experts,
        used=raw["num_experts_per_tok"],
        ffn_size=raw.get("moe_intermediate_size") or raw["intermediate_size"],
        # Mixtral has no such field and divides.
        is_normed=raw.get("norm_topk_prob", raw["model_type"] == "mixtral"),
    )


def _ropes(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """transformers 5 writes `rope_parameters`, which include theta; earlier versions `rope_scaling`."""
    return raw.get("rope_scaling") or raw.get("rope_parameters") or {}


def _main_rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return _ropes(raw).get("full_attention") or _ropes(raw)


def _local_rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return _ropes(raw).get("sliding_attention") or {}


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _theta(raw: Mapping[str, Any], rope: Mapping[str, Any]) -> float:
    return float(rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0)


def _rotary_share(raw: Mapping[str, Any], rope: Mapping[str, Any]) -> float:
    return rope.get("partial_rotary_factor") or raw.get("partial_rotary_factor") or 1.0


def _local_theta(raw: Mapping[str, Any]) -> float:
    return float(_local_rope(raw).get("rope_theta") or raw["rope_local_base_freq"])


def _original_context(raw: Mapping[str, Any], rope: Mapping[str, Any]) -> int:
    """A field beside the rope comes before that of the rope, in its stretched forms: `standardize_rope_params`."""
    key = "original_max_position_embeddings"
    is_beside = rope is _ropes(raw) and _kind(rope) not in ("default", "linear")
    return int((raw.get(key) if is_beside else 0) or rope.get(key) or raw["max_position_embeddings"])


def _scaling(raw: Mapping[str, Any], rope: Mapping[str, Any]) -> RopeScaling | None:
    longest, original = raw["max_position_embeddings"], _original_context(raw, rope)
    match _kind(rope):
        case "linear":
            return RopeScaling(kind="linear", factor=float(rope["factor"]), original_context=original)
        case "llama3":
            return RopeScaling(
                kind="llama3",
                factor=float(rope["factor"]),
                low_freq_factor=float(rope["low_freq_factor"]),
                high_freq_factor=float(rope["high_freq_factor"]),
                original_context=original,
            )
        case "yarn":
            return _yarn(rope, original, longest)
        case "longrope" | "su":
            factor = float(rope.get("factor") or longest / original)
            usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1.0 else 1.0
            return RopeScaling(
                kind="longrope",
                original_context=original,
                magnitude=rope.get("attention_factor") or usual,
                short_factors=tuple(rope["short_factor"]),
                long_factors=tuple(rope["long_factor"]),
            )
        case _:  # Not stretched; where queries grow they do so from there on.
            grows = bool(rope.get("llama_4_scaling_beta"))
            return RopeScaling(kind="linear", original_context=original) if grows else None


def _yarn(rope: Mapping[str, Any], original: int, longest: int) -> RopeScaling:
    factor = float(rope.get("factor") or longest / original)
    magnitude = rope.get("attention_factor")
    if magnitude is None and rope.get("mscale") and rope.get("mscale_all_dim"):
        magnitude = yarn_magnitude(factor, rope["mscale"]) / yarn_magnitude(factor, rope["mscale_all_dim"])
    return RopeScaling(
        kind="yarn",
        factor=factor,
        original_context=original,
        beta_fast=float(rope.get("beta_fast") or 32.0),
        beta_slow=float(rope.get("beta_slow") or 1.0),
        is_truncated=bool(rope.get("truncate", True)),
        magnitude=yarn_magnitude(factor) if magnitude is None else magnitude,
    )


def yarn_magnitude(factor: float, share: float = 1.0) -> float:
    """What YaRN multiplies q and k by (arXiv:2309.00071, equation 22)."""
    return 1.0 if factor <= 1.0 else 0.1 * share * math.log(factor) + 1.0


def _sliding(raw: Mapping[str, Any], family: Family) -> tuple[int, tuple[bool, ...]]:
    """The window and the layers that use it (empty: all)."""
    window, layers = raw.get("sliding_window") or 0, raw["num_hidden_layers"]
    is_off = family.window != "always" and not raw.get("use_sliding_window", False)
    if family.window == "never" or is_off or not window:
        return 0, ()
    if kinds := raw.get("layer_types"):
        return window, tuple(kind == "sliding_attention" for kind in kinds)
    if family.window == "from layer":
        return window, tuple(layer >= raw.get("max_window_layers", 0) for layer in range(layers))
    return window, layers_with_window(raw.get("sliding_window_pattern", family.full_every), layers)


def layers_with_window(pattern: Any, layers: int) -> tuple[bool, ...]:
    """
    Args:
        pattern: n: all but every n-th layer; 0 is all. Or letters that repeat, L for a window (EXAONE 4).
    """
    if isinstance(pattern, str):
        return tuple(pattern[layer % len(pattern)] == "L" for layer in range(layers))
    return tuple((layer + 1) % pattern != 0 for layer in range(layers)) if pattern else ()


def _unrotated(
    raw: Mapping[str, Any], family: Family, window: int, sliding: tuple[bool, ...]
) -> tuple[bool, ...]:
    if family.unrotated == "every fourth" and raw.get("no_rope_layers"):
        return tuple(not has_rope for has_rope in raw["no_rope_layers"])
    if family.unrotated == "unless rope" and raw.get("position_embedding_type") != "rope":
        return (True,) * raw["num_hidden_layers"]
    every = raw.get("no_rope_layer_interval") or 4
    return unrotated_layers(family, raw["num_hidden_layers"], window, sliding, every)


def unrotated_layers(
    family: Family, layers: int, window: int, sliding: tuple[bool, ...], every: int = 4
) -> tuple[bool, ...]:
    """`ModelConfig.unrotated_layers` of a family that has some."""
    if family.unrotated == "every fourth":
        return tuple((layer + 1) % every == 0 for layer in range(layers))
    if family.unrotated == "without window" and window:
        return tuple(not has_window for has_window in sliding)
    return ()
