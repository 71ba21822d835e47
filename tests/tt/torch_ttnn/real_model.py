"""The default model as a Hugging Face folder, which the Tenstorrent engine wants, from its GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from tests.tt.torch_ttnn.rounding import rounded
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.text.tokenizer_gguf import tokenizer_from_gguf

_NAMES: Final = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": "lm_head.weight"}
_LAYER_NAMES: Final = {
    "attn_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "o": "self_attn.o_proj.weight",
    "ffn_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}
"""Hugging Face's names of a Llama's tensors, by canonical name."""


def write_smollm2(parent: Path, file: Path, *, is_rounded: bool = False) -> Path:
    """Write `SmolLM2-135M-Instruct`: weights as bfloat16, tokenizer, template.

    Args:
        file: the model's GGUF file; its 4 bits become the numbers that they stand for.
        is_rounded: with the weights that the card holds at `performance`, so that only activations round differently.
    """
    folder = parent / "SmolLM2-135M-Instruct"
    folder.mkdir(parents=True, exist_ok=True)
    gguf = GgufFile(file)
    try:
        tensors = {
            _upstream_name(name): _weight(name, torch.from_numpy(gguf.tensor(name)), is_rounded)
            .bfloat16()
            .contiguous()
            for name in gguf.names
        }
        save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
        special = gguf.template.special
        tokenizer = tokenizer_from_gguf(gguf.metadata)
        (folder / "tokenizer.json").write_text(tokenizer._tokenizer.to_str(), encoding="utf-8")
        ends = sorted(tokenizer.end_ids)
        _write(folder / "config.json", _config(gguf, ends))
        _write(folder / "generation_config.json", {"eos_token_id": ends})
        _write(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "chat_template": gguf.template.source,
                **special,
            },
        )
    finally:
        gguf.close()
    return folder


def _weight(name: str, weight: torch.Tensor, is_rounded: bool) -> torch.Tensor:
    if not is_rounded or weight.ndim < 2:
        return weight
    # tt_transformers keeps matrices as [input, output], and the gates in 4 bits.
    held = rounded(weight.T, "bfloat4_b" if name.endswith((".gate", ".up")) else "bfloat8_b")
    return held.T


def _upstream_name(name: str) -> str:
    """Hugging Face's name of a tensor with this canonical name."""
    if name in _NAMES:
        return _NAMES[name]
    _, layer, part = name.split(".", 2)
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}"


def _config(gguf: GgufFile, ends: list[int]) -> dict[str, Any]:
    config = gguf.config
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.ffn_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.is_head_tied,
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "eos_token_id": ends,
    }


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
