"""A model file, independent of its format: configuration and weights by canonical name.

Canonical names: `embed`, `norm`, `head`, and for each layer `layers.N.` + `attn_norm`, `q`, `k`, `v`, `o`, `q_norm`,
`k_norm`, `attn_post_norm`, `ffn_norm`, `gate`, `up`, `down`, `ffn_post_norm`; with experts `router`, and `experts.E.` +
`gate`, `up`, `down`. A matrix may have a bias, such as `q_bias`. Matrices are [out, in], rows of q and k in the half-split
order of transformers' rotary embedding. What a file has in one tensor has a name for each part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.families import FAMILIES, Family
from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks

RopeKind: TypeAlias = Literal["main", "local", "none"]
"""Which rotary embedding a layer has: the stretched one, that of layers with a window, or none."""


TEXT_ONLY: Final = (
    "The model also has a part for images or sound, which is not read: it runs as a model for text."
)
"""A note about a file or folder with such a part."""


class RopeScaling(msgspec.Struct, frozen=True, kw_only=True):
    """How rotary frequencies are stretched beyond the context of the first training."""

    kind: Literal["linear", "llama3", "yarn", "longrope"]
    factor: float = 1.0
    original_context: int = 8192
    """Tokens."""
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    """For llama3, as the one before."""
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    """For yarn, as the one before."""
    is_truncated: bool = True
    """The blend of yarn begins and ends at whole pairs."""
    magnitude: float = 1.0
    """What q and k that turn are multiplied by: `attention_factor` of yarn and longrope."""
    short_factors: tuple[float, ...] = ()
    """Divisors of the frequencies, for longrope: of conversations up to `original_context`."""
    long_factors: tuple[float, ...] = ()
    """Of longer ones."""


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """A feed-forward layer of experts: a softmax over the router's outputs chooses some for each token."""

    experts: int
    used: int
    """Experts for a token."""
    ffn_size: int
    """Of one expert."""
    is_normed: bool
    """The weights of the chosen ones are divided by their sum."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a model. Sizes in elements, lengths in tokens."""

    family: str
    """A key of `families.FAMILIES`."""
    hidden_size: int
    ffn_size: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocab_size: int
    context_length: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    is_head_tied: bool = False
    """The embedding is also the output head."""
    sliding_window: int = 0
    """Positions that a token sees, its own included; 0 is all."""
    sliding_layers: tuple[bool, ...] = ()
    """Which layers use the window; empty is all of them."""
    rotary_size: int = 0
    """Leading elements of a head that turn; 0 is all."""
    local_rope_theta: float = 0.0
    """Base of the rotary embedding of layers with a window, which is not stretched; 0: they have that of the others."""
    unrotated_layers: tuple[bool, ...] = ()
    """Which layers have no rotary embedding; empty is none of them."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """Of what attention and feed-forward add to the hidden state."""
    attention_scale: float = 0.0
    """Of the products of q and k; 0 is 1 / sqrt(head_size)."""
    logit_scale: float = 1.0
    score_cap: float = 0.0
    """A score s of attention becomes cap * tanh(s / cap); 0 is no cap."""
    logit_cap: float = 0.0
    """The same of logits."""
    query_growth: float = 0.0
    """b: q at position p is multiplied by 1 + b * log(1 + floor(p / original context))."""
    routing: Routing | None = None

    def window_of(self, layer: int) -> int:
        """The sliding window of one layer; 0 is none."""
        is_sliding = self.sliding_layers[layer] if self.sliding_layers else True
        return self.sliding_window if is_sliding else 0

    @property
    def traits(self) -> Family:
        return FAMILIES[self.family]

    def rope_of(self, layer: int) -> RopeKind:
        """The rotary embedding of one layer."""
        if self.unrotated_layers and self.unrotated_layers[layer]:
            return "none"
        return "local" if self.local_rope_theta and self.window_of(layer) else "main"

    @property
    def rope_kinds(self) -> list[RopeKind]:
        """Those of all layers, each once."""
        return list(dict.fromkeys(self.rope_of(layer) for layer in range(self.layers)))

    def is_long(self, length: int) -> bool:
        """Whether a conversation of so many positions has other rotary frequencies than a short one (LongRoPE)."""
        scaling = self.rope_scaling
        return scaling is not None and scaling.kind == "longrope" and length > scaling.original_context

    def query_scales(self, positions: range) -> NDArray[np.float32]:
        """What q is multiplied by for its position (Ministral 3, as Llama 4), [positions, 1, 1]."""
        context = self.rope_scaling.original_context if self.rope_scaling is not None else self.context_length
        growth = np.log1p(np.arange(positions.start, positions.stop) // context) * self.query_growth
        scales: Any = 1.0 + growth
        return scales.astype(np.float32).reshape(-1, 1, 1)

    def parameters(self) -> int:
        """Number of weights in matrices and embedding, without norms and biases (under 0.1 %)."""
        attention = self.hidden_size * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        ffn = self.ffn_size if self.routing is None else self.routing.experts * self.routing.ffn_size
        layer = attention + 3 * self.hidden_size * ffn
        return self.layers * layer + self.vocab_size * self.hidden_size * (1 if self.is_head_tied else 2)


class RawTensor(msgspec.Struct, frozen=True):
    """A weight as the file has it."""

    kind: str
    """GGML's name of the type (`ggml_types.py`), or of safetensors': F32, F16, BF16 …"""
    shape: tuple[int, ...]
    """[out, in] of a matrix."""
    data: NDArray[np.uint8]
    """A read-only view of the memory map."""
    paired_heads: int = 0
    """Not 0: the rows of each of so many heads are in pair order, (0, half, 1, half + 1 …), as llama.cpp's converter writes q
    and k of Llama. `tensor` and `int4_blocks` undo it."""


def finite(name: str, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weight itself.

    Raises:
        ModelLoadError: some of it is infinite or no number.
    """
    # Two passes without a copy: a NaN is the least and the greatest of all.
    if weight.size and not (np.isfinite(weight.min()) and np.isfinite(weight.max())):
        raise ModelLoadError(
            f"The weight {name} is infinite or not a number in places.",
            "Download the model again, or another quantisation of it.",
        )
    return weight


class Checkpoint(Protocol):
    """An open model file or folder. A weight is read from a memory map on request."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def names(self) -> Collection[str]:
        """Canonical names of its weights."""
        ...

    @property
    def rope_factors(self) -> NDArray[np.float32] | None:
        """Divisors of the rotary frequencies [head_size / 2]; None if the file does not contain them."""
        ...

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """What the authors recommend for sampling, by transformers' names; may be empty."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the file."""
        ...

    @property
    def stored_bits(self) -> Literal[4, 8, 16]:
        """4 if some matrices are 4-bit blocks, 8 if all are quantised, else 16."""
        ...

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Read the weight of this canonical name as float32, a copy.

        Raises:
            ModelLoadError: it is missing or not finite, or its type is not supported.
        """
        ...

    def int4_blocks(self, name: str) -> Int4Blocks | None:
        """Read the weight of this canonical name as 4-bit blocks; None if the file has it in another format.

        Raises:
            ModelLoadError: it is missing or unreadable.
        """
        ...

    def raw(self, name: str) -> RawTensor:
        """The weight of this canonical name, without conversion.

        Raises:
            ModelLoadError: it is missing, or its type is not known.
        """
        ...

    def release(self, name: str) -> None:
        """Take the pages of `raw(name)` out of this process's memory; they can still be read."""
        ...
