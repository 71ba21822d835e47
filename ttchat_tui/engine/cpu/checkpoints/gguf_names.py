"""Names of weights in GGUF files: llama.cpp's, and the canonical ones of the engine.

Source: `TENSOR_NAMES` in llama.cpp's gguf-py/gguf/constants.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig

_TOP: Final = {"token_embd.weight": "embed", "output_norm.weight": "norm", "output.weight": "head"}
_LAYER: Final = {
    "attn_norm.weight": "attn_norm",
    "attn_q.weight": "q",
    "attn_k.weight": "k",
    "attn_v.weight": "v",
    "attn_output.weight": "o",
    "attn_q.bias": "q_bias",
    "attn_k.bias": "k_bias",
    "attn_v.bias": "v_bias",
    "attn_output.bias": "o_bias",
    "attn_q_norm.weight": "q_norm",
    "attn_k_norm.weight": "k_norm",
    "ffn_norm.weight": "ffn_norm",
    "ffn_gate.weight": "gate",
    "ffn_up.weight": "up",
    "ffn_down.weight": "down",
    "ffn_gate.bias": "gate_bias",
    "ffn_up.bias": "up_bias",
    "ffn_down.bias": "down_bias",
    "attn_qkv.weight": "qkv",
    "attn_qkv.bias": "qkv_bias",
    "post_attention_norm.weight": "attn_post_norm",
    "post_ffw_norm.weight": "ffn_post_norm",
    "ffn_gate_inp.weight": "router",
    "ffn_gate_exps.weight": "experts.gate",
    "ffn_up_exps.weight": "experts.up",
    "ffn_gate_up_exps.weight": "experts.gate_up",
    "ffn_down_exps.weight": "experts.down",
}
_EXPERT: Final = re.compile(r"ffn_(gate|up|down)\.(\d+)\.weight")
"""Files of Mixtral of before April 2024 have a tensor for each expert."""


def names_of(tensors: Collection[str], config: ModelConfig) -> dict[str, str]:
    """Canonical name, or that of a joined tensor → llama.cpp's. `tensors`: all of a file."""
    return {_joined(canonical_name(tensor), tensors, config): tensor for tensor in tensors}


def canonical_name(name: str) -> str:
    """llama.cpp's tensor name → the canonical name, or that of a joined tensor; unknown names are unchanged."""
    if name in _TOP:
        return _TOP[name]
    match = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
    if match is None:
        return name
    layer, rest = match.groups()
    if expert := _EXPERT.fullmatch(rest):
        return f"layers.{layer}.experts.{expert[2]}.{expert[1]}"
    return f"layers.{layer}.{_LAYER[rest]}" if rest in _LAYER else name


def file_name(name: str) -> str:
    """The canonical name → llama.cpp's."""
    _, number, part = name.split(".", 2) if name.startswith("layers.") else ("", "", name)
    part = re.sub(r"^experts\.\d+\.", "experts.", part)
    known = {ours: theirs for theirs, ours in (_LAYER if number else _TOP).items()}
    return f"blk.{number}.{known.get(part, part)}" if number else known[part]


def _joined(name: str, tensors: Collection[str], config: ModelConfig) -> str:
    """The canonical name, but `gate_up` for an `up` that has no gate beside it, where a family's files have both in one tensor."""
    layer, _, part = name.rpartition(".")
    is_joined = (
        config.traits.has_joined_gate
        and part in ("up", "up_bias")
        and file_name(f"{layer}.gate") not in tensors
    )
    return f"{layer}.{part.replace('up', 'gate_up')}" if is_joined else name
