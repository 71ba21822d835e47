"""Hyperparameters of a GGUF file → `ModelConfig`, for the architectures that `families.py` describes.

Source: `load_hparams` of llama.cpp's src/llama-model.cpp, `load_arch_hparams` of its src/models/*.cpp, and for rotary
embeddings src/llama-context.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeScaling, Routing
from ttchat_tui.engine.cpu.checkpoints.gguf_rules import CURE, DAMAGED, shown
from ttchat_tui.engine.cpu.checkpoints.hf_config import (
    layers_with_window,
    unrotated_layers,
    yarn_magnitude,
)
from ttchat_tui.engine.cpu.families import FAMILIES, Family, family_of_architecture

_MOST_EXPERTS: Final = 1024
"""More are damage."""
_GREATEST: Final = float(np.finfo(np.float32).max)


class GgufConfig:
    """The fields of one architecture."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        """
        Raises:
            ModelLoadError: there is no description of the architecture.
        """
        self.architecture = str(metadata.get("general.architecture", ""))
        name = family_of_architecture(self.architecture)
        if name is None:
            known = sorted({arch for family in FAMILIES.values() for arch in family.architectures})
            raise ModelLoadError(
                f"GGUF files of architecture {self.architecture!r} are not supported; {', '.join(known)} are.",
                CURE,
            )
        self._name = name
        self.family: Family = FAMILIES[name]
        left_out = {f"{self.architecture}.{key}": value for key, value in self.family.gguf_defaults.items()}
        self.metadata: Mapping[str, Any] = {**left_out, **metadata}
        """With what the family takes for keys that are left out."""

    def read(
        self,
        vocab_size: int,
        *,
        most_layers: int,
        is_head_tied: bool,
        short_factors: NDArray[np.float32] | None,
        long_factors: NDArray[np.float32] | None,
        has_rope_factors: bool,
    ) -> ModelConfig:
        """
        Args:
            most_layers: a greater number of layers is damage.
            short_factors: LongRoPE's, which are tensors of the file, as the next.
            has_rope_factors: the file has ready-made divisors of the frequencies (Llama 3.1).
        Raises:
            ModelLoadError: a field is missing or not supported.
        """
        hidden, layers = self._count("embedding_length"), self._count("block_count")
        if layers > most_layers:
            raise self._unsupported("block_count", layers)
        heads, kv_heads, head_size, rotary_size = self._heads(hidden)
        switch = f"{self.architecture}.rope.scaling.finetuned"
        if self.family.has_rope_switch and not self.metadata.get(switch, True):
            raise self._unsupported("rope.scaling.finetuned", value=False)
        theta, scaling = self._theta(), self._scaling(short_factors, long_factors)
        if has_rope_factors and scaling is not None:
            raise self._unsupported("rope.scaling.factor", scaling.factor)  # llama.cpp would apply both.
        window, routing = self._window(), self._routing()
        sliding = self._sliding(layers) if window else ()
        return ModelConfig(
            family=self._name,
            hidden_size=hidden,
            ffn_size=self._count("feed_forward_length") if routing is None else routing.ffn_size,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            head_size=head_size,
            vocab_size=vocab_size,
            context_length=self._count("context_length"),
            norm_eps=self._number("attention.layer_norm_rms_epsilon"),
            rope_theta=theta,
            rope_scaling=scaling,
            is_head_tied=is_head_tied,
            sliding_window=window,
            sliding_layers=sliding,
            rotary_size=rotary_size if rotary_size != head_size else 0,
            local_rope_theta=self._number("rope.freq_base_swa", self.family.local_theta or theta)
            if self.family.has_local_rope and window else 0.0,
            unrotated_layers=unrotated_layers(self.family, layers, window, sliding),
            embedding_scale=math.sqrt(hidden) if self.family.scales_embedding
            else self._own("embedding_scale", 1.0) or 1.0,
            residual_scale=self._own("residual_scale", 1.0) or 1.0,
            attention_scale=self._attention_scale(layers, hidden, heads),
            logit_scale=1.0 / (self._own("logit_scale", 1.0) or 1.0),
            score_cap=self._own("attn_logit_softcapping", 0.0),
            logit_cap=self._own("final_logit_softcapping", 0.0),
            query_growth=self._own("attention.temperature_scale", 0.0),
            routing=routing,
        )  # fmt: skip

    def _theta(self) -> float:
        theta = self._number("rope.freq_base", 10_000.0)
        if not theta:
            raise self._unsupported("rope.freq_base", theta)
        return theta

    def _heads(self, hidden: int) -> tuple[int, int, int, int]:
        """Heads, heads of keys and values, size of a head, and how much of it is rotated."""
        heads = self._count("attention.head_count")
        head_size = self._count("attention.key_length", hidden // heads)
        kv_heads = self._count("attention.head_count_kv", heads)
        if heads % kv_heads:
            raise self._unsupported(
                "attention.head_count_kv", kv_heads, f", which does not divide the {heads} heads and"
            )
        if head_size % 2:
            raise self._unsupported("attention.key_length", head_size)
        rotary_size = self._count("rope.dimension_count", int(head_size * self.family.rotary_share))
        if rotary_size % 2 or rotary_size > head_size:
            raise self._unsupported("rope.dimension_count", rotary_size)
        return heads, kv_heads, head_size, rotary_size

    @property
    def computed_keys(self) -> Collection[str]:
        """Hyperparameters that the family computes beyond those of all."""
        # A converter that reorders rows does so for whole heads.
        partial = () if self.family.has_pairs_in_gguf else ("rope.dimension_count",)
        is_wide = self.metadata.get(f"{self.architecture}.block_count") == self.family.wide_layers
        wide = ("attention.scale",) if is_wide else ()
        kind = self.metadata.get(f"{self.architecture}.rope.scaling.type")
        yarn = ("rope.scaling.yarn_attn_factor",) if kind == "yarn" else ()
        return (*self.family.gguf_keys, *partial, *wide, *yarn)

    def _window(self) -> int:
        """Positions; 0 is all. `check_keys` refuses a window that the family's files do not have."""
        key = "attention.sliding_window"
        window = self._number(key, 0)
        if not isinstance(window, int):
            raise self._unsupported(key, window)
        return window if key in self.family.gguf_keys else 0

    def _sliding(self, layers: int) -> tuple[bool, ...]:
        key = "attention.sliding_window_pattern"
        pattern: Any = self.metadata.get(f"{self.architecture}.{key}", self.family.full_every)
        if isinstance(pattern, list):
            values = cast(list[Any], pattern)
            if len(values) != layers or not isinstance(values[0], int):
                raise self._unsupported(key, values)
            return tuple(map(bool, values))
        if not isinstance(pattern, int) or pattern < 0:
            raise self._unsupported(key, pattern)
        return layers_with_window(pattern, layers)

    def _attention_scale(self, layers: int, hidden: int, heads: int) -> float:
        scale, wide = self._own("attention.scale", 0.0), 1.0 / math.sqrt(hidden // heads)
        if layers != self.family.wide_layers:
            return scale
        if scale and not math.isclose(scale, wide, rel_tol=1e-6):
            raise self._unsupported("attention.scale", scale)
        return wide

    def _routing(self) -> Routing | None:
        if not self._own("expert_count", 0):
            return None
        experts, used = self._count("expert_count"), self._count("expert_used_count")
        if experts > _MOST_EXPERTS:
            raise self._unsupported("expert_count", experts)
        if used > experts:
            raise self._unsupported("expert_used_count", used)
        return Routing(
            experts=experts,
            used=used,
            ffn_size=int(self._own("expert_feed_forward_length", 0)) or self._count("feed_forward_length"),
            is_normed=True,
        )

    def _scaling(
        self, short_factors: NDArray[np.float32] | None, long_factors: NDArray[np.float32] | None
    ) -> RopeScaling | None:
        """As `load_hparams` of llama.cpp's llama-model.cpp: linear if no type is named, and an older key for the factor."""
        factor = self._number("rope.scaling.factor", self._number("rope.scale_linear", 1.0)) or 1.0
        magnitude = self._number("rope.scaling.attn_factor", 1.0)
        original = self._count("rope.scaling.original_context_length", self._count("context_length"))
        kind = self.metadata.get(f"{self.architecture}.rope.scaling.type", "linear")
        if short_factors is not None and long_factors is not None:
            if factor != 1.0 and kind != "none":
                raise self._unsupported("rope.scaling.factor", factor)  # llama.cpp would apply both.
            return RopeScaling(
                kind="longrope",
                original_context=original,
                magnitude=magnitude,
                short_factors=tuple(short_factors.tolist()),
                long_factors=tuple(long_factors.tolist()),
            )
        if kind in ("", "default"):  # Ollama's converter, of a config.json without one.
            kind = "none"
        if kind not in ("none", "linear", "yarn", "longrope"):
            raise self._unsupported("rope.scaling.type", kind)
        if kind == "none" or (factor == 1.0 and not self._attention_factor()):
            grows = self._own("attention.temperature_scale", 0.0)
            plain = magnitude == 1.0 and not grows
            return (
                None if plain else RopeScaling(kind="linear", original_context=original, magnitude=magnitude)
            )
        if kind == "longrope":
            raise self._unsupported("rope.scaling.type", kind)
        if kind == "yarn":
            return self._yarn(factor, original, magnitude)
        return RopeScaling(kind="linear", factor=factor, original_context=original, magnitude=magnitude)

    def _attention_factor(self) -> float:
        """YaRN's magnitude where config.json names one (`attention_factor`). llama.cpp saves 1 where none is named."""
        named = self._own("rope.scaling.yarn_attn_factor", 0.0)
        return 0.0 if named == 1.0 else named

    def _yarn(self, factor: float, original: int, magnitude: float) -> RopeScaling:
        share = self._number("rope.scaling.yarn_log_multiplier", 0.0)
        usual = yarn_magnitude(factor) / (yarn_magnitude(factor, share) if share else 1.0)
        return RopeScaling(
            kind="yarn",
            factor=factor,
            original_context=original,
            beta_fast=self._number("rope.scaling.yarn_beta_fast", 32.0),
            beta_slow=self._number("rope.scaling.yarn_beta_slow", 1.0),
            magnitude=(self._attention_factor() or usual) * magnitude,
        )

    def _own(self, key: str, default: float) -> float:
        """As `_number`, of a hyperparameter that only some families have. llama.cpp saves those of all."""
        return self._number(key, default) if key in self.computed_keys else default

    def _count(self, key: str, default: int | None = None) -> int:
        """A number of things: at least one, within 31 bits. Of an array with a value for each layer, the one that all have."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list):
            values = cast(list[Any], value)
            if len(set(map(str, values))) != 1:
                raise self._unsupported(key, values, ", which differs between layers and")
            value = values[0]
        if value is None or isinstance(value, bool) or not isinstance(value, int):
            raise self._missing(key)
        if not 1 <= value < 2**31:
            raise self._unsupported(key, value)
        return value

    def _number(self, key: str, default: float | None = None) -> float:
        """A number that is not negative, within float32."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._missing(key)
        if not 0 <= value <= _GREATEST:
            raise self._unsupported(key, value)
        return value

    def _missing(self, key: str) -> ModelLoadError:
        return ModelLoadError(
            f"{self.architecture}.{key} is missing in the file's metadata, or is not a number.", DAMAGED
        )

    def _unsupported(self, key: str, value: Any, which: str = ", which") -> ModelLoadError:
        return ModelLoadError(
            f"The GGUF file has {self.architecture}.{key} = {shown(value)}{which} is not supported.", CURE
        )
