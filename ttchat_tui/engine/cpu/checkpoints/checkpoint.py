"""A model file, independent of its format: configuration and weights by canonical name.

Canonical names: `embed`, `norm`, `head`, and for each layer `layers.N.` + `attn_norm`, `q`, `k`, `v`, `o`, `q_bias`,
`k_bias`, `v_bias`, `o_bias`, `q_norm`, `k_norm`, `ffn_norm`, `gate`, `up`, `down`. Matrices are [out, in], rows of q and
k in the half-split order of transformers' rotary embedding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks

Family: TypeAlias = Literal["llama", "mistral", "qwen2", "qwen3"]
"""Architectures that `forward/model.py` runs. SmolLM2 is a llama."""

FAMILIES: Final[frozenset[str]] = frozenset({"llama", "mistral", "qwen2", "qwen3"})


class RopeScaling(msgspec.Struct, frozen=True, kw_only=True):
    """How rotary frequencies are stretched beyond the context of the first training."""

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192
    """Tokens. The last three fields are for llama3."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a model. Sizes in elements, lengths in tokens."""

    family: Family
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

    def window_of(self, layer: int) -> int:
        """The sliding window of one layer; 0 is none."""
        is_sliding = self.sliding_layers[layer] if self.sliding_layers else True
        return self.sliding_window if is_sliding else 0

    def parameters(self) -> int:
        """Number of weights in matrices and embedding, without norms and biases (under 0.1 %)."""
        attention = self.hidden_size * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden_size * self.ffn_size
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
        """The authors' recommended sampling parameters, by transformers' names; may be empty."""
        ...

    @property
    def stored_bits(self) -> Literal[4, 8, 16]:
        """4 if some matrices are 4-bit blocks, 8 if all are quantised, else 16."""
        ...

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Read the weight of this canonical name as float32, a copy.

        Raises:
            ModelLoadError: it is missing, or its type is not supported.
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
