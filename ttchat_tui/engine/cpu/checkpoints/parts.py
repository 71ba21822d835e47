"""The weights of a model and their shapes, and tensors of which a file has several in one: q, k and v, gate and up, or all experts.
Each part is a run of a tensor's rows."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig


class TensorPart(NamedTuple):
    """Where a weight is."""

    tensor: str
    """Name in the file."""
    first: int = 0
    """Row; those of a tensor with three dimensions are counted through."""
    rows: int = 0
    """0: the whole tensor."""


def parts_by_name(names: Mapping[str, str], config: ModelConfig) -> dict[str, TensorPart]:
    """
    Args:
        names: canonical name, or that of a joined tensor such as `layers.0.qkv` → name in the file.
    Returns:
        By canonical name.
    """
    found: dict[str, TensorPart] = {}
    for name, tensor in names.items():
        prefix, _, last = name.rpartition(".")
        if prefix.endswith(".experts"):
            sizes = list(_experts(last, config))
        elif last in ("qkv", "qkv_bias"):
            sizes = [(last.replace("qkv", part), rows) for part, rows in _qkv(config)]
        elif last in ("gate_up", "gate_up_bias"):
            sizes = [(last.replace("gate_up", part), config.ffn_size) for part in ("gate", "up")]
        else:
            found[name] = TensorPart(tensor)
            continue
        first = 0
        for part, rows in sizes:
            found[f"{prefix}.{part}"] = TensorPart(tensor, first, rows)
            first += rows
    return found


def _qkv(config: ModelConfig) -> Iterator[tuple[str, int]]:
    for part, heads in (("q", config.heads), ("k", config.kv_heads), ("v", config.kv_heads)):
        yield part, heads * config.head_size


def _experts(joined: str, config: ModelConfig) -> Iterator[tuple[str, int]]:
    """`joined`: gate_up, gate, up or down, of all experts one after the other."""
    routing = config.routing
    if routing is None:
        return
    for number in range(routing.experts):
        for part in joined.split("_"):
            yield f"{number}.{part}", config.hidden_size if part == "down" else routing.ffn_size


def shape_of(name: str, config: ModelConfig) -> tuple[int, ...] | None:
    """The shape of a weight by its canonical name, or that of a joined tensor, outputs first; None for an unknown name."""
    prefix, _, part = name.rpartition(".")
    if prefix.endswith(".experts"):  # Of all in one tensor.
        one = shape_of(f"{prefix}.0.{part}", config)
        return None if one is None or config.routing is None else (config.routing.experts, *one)
    base, bias, _ = part.partition("_bias")
    hidden, q, kv = config.hidden_size, config.heads * config.head_size, config.kv_heads * config.head_size
    is_whole, routing = config.traits.qk_norm == "whole", config.routing
    ffn = routing.ffn_size if routing is not None and ".experts." in prefix else config.ffn_size
    outputs = {
        "embed": config.vocab_size, "head": config.vocab_size, "q": q, "k": kv, "v": kv, "o": hidden, "qkv": q + 2 * kv,
        "gate": ffn, "up": ffn, "gate_up": 2 * ffn, "down": hidden, "router": routing.experts if routing else 0,
    }  # fmt: skip
    if base in outputs:
        inputs = {"o": q, "down": ffn}.get(base, hidden)
        return (outputs[base],) if bias else (outputs[base], inputs)
    norms = {"q_norm": q if is_whole else config.head_size, "k_norm": kv if is_whole else config.head_size}
    return (norms.get(base, hidden),) if base.endswith("norm") else None


def weight_names(config: ModelConfig) -> tuple[frozenset[str], frozenset[str]]:
    """Canonical names of the weights that a model has, and of those that it may have."""
    traits, routing = config.traits, config.routing
    parts = ["q", "k", "v", "o"]
    parts += ["attn_norm", "ffn_norm"] if traits.norms != "after" else []
    parts += ["attn_post_norm", "ffn_post_norm"] if traits.norms != "before" else []
    parts += ["q_norm", "k_norm"] if traits.qk_norm != "none" else []
    biases = ["q_bias", "k_bias", "v_bias", "o_bias"]
    if routing is None:
        parts += ["gate", "up", "down"]
        biases += ["gate_bias", "up_bias", "down_bias"]
    else:
        experts = (
            f"experts.{number}.{part}" for number in range(routing.experts) for part in ("gate", "up", "down")
        )
        parts += ["router", *experts]
    layers = [f"layers.{number}" for number in range(config.layers)]
    needed = {"embed", "norm", *(f"{layer}.{part}" for layer in layers for part in parts)}
    return frozenset(needed), frozenset({"head", *(f"{layer}.{bias}" for layer in layers for bias in biases)})


def lacking_bias(names: Collection[str], config: ModelConfig) -> str:
    """The canonical name of a bias that one layer lacks and another has; empty if they have the same ones."""
    biases = {name.rpartition(".")[2] for name in names if name.endswith("_bias")}
    each = (f"layers.{layer}.{bias}" for layer in range(config.layers) for bias in sorted(biases))
    return next((name for name in each if name not in names), "")


def times(shape: tuple[int, ...]) -> str:
    """A shape in words: "64 x 32"."""
    return " x ".join(map(str, shape)) or "()"


def half_split_rows(weight: NDArray[Any], heads: int, rotary_size: int = 0) -> NDArray[Any]:
    """Rows of each head from pair order (2i, 2i + 1) to half-split order (i, i + rotary_size / 2).

    `rotary_size`: leading rows of a head that turn; 0 is all. The others keep their places. It undoes `LlamaModel.permute`
    of llama.cpp's converter.
    """
    rest = weight.shape[1:]
    by_head = weight.reshape(heads, -1, *rest)
    turning, still = np.split(by_head, [rotary_size or by_head.shape[1]], axis=1)
    split = turning.reshape(heads, -1, 2, *rest).swapaxes(1, 2).reshape(turning.shape)
    return np.concatenate((split, still), axis=1).reshape(weight.shape)
