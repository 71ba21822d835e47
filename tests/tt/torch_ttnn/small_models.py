"""Small models of several families with random weights that every number format of a card holds exactly.

Weights are whole numbers from -7 to 7 times a power of two, which bfloat4_b holds in any order of blocks. So a card and a
CPU differ by the rounding of activations only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import torch

from tests.tt.tiny_llama import SPECIALS, make_tokenizer, write_folder

_LARGEST: Final = 7
TEMPLATE: Final = "{{ bos_token }}{% for message in messages %}{{ message.content }}<|eot_id|>{% endfor %}"
"""As short as it can be: a message of n letters is a prompt of n + 2 tokens."""


class SmallModel(msgspec.Struct, frozen=True, kw_only=True):
    """A shape. Widths are small, but such that ttnn's grids take them."""

    name: str
    """tt_transformers looks its settings up by the folder's name."""
    family: str
    hidden: int = 512
    ffn: int = 1024
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 64
    layers: int = 2
    vocab: int = 261
    """The tokenizer's: a letter for each byte, and five specials."""
    has_bias: bool = False
    config: dict[str, Any] = {}
    """Keys of config.json that only this family has."""


LLAMA: Final = SmallModel(
    name="Llama-3.2-1B-Instruct",
    family="Llama",
    config={
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
)
QWEN: Final = SmallModel(
    name="Qwen2.5-1.5B-Instruct",
    family="Qwen2",
    has_bias=True,
    config={"rope_theta": 1000000.0, "use_sliding_window": False},
)
MISTRAL: Final = SmallModel(
    name="Mistral-7B-Instruct-v0.3",
    family="Mistral",
    config={"rope_theta": 1000000.0, "sliding_window": None},
)


def write_model(parent: Path, model: SmallModel, seed: int = 0) -> Path:
    """Write the folder in Hugging Face's layout. Another seed gives other weights."""
    tokenizer = make_tokenizer()
    config = _config(model, tokenizer.token_to_id(SPECIALS[0]), tokenizer.token_to_id(SPECIALS[-1]))
    return write_folder(parent / model.name, config, tokenizer, TEMPLATE, _weights(model, seed))


def _config(model: SmallModel, bos: int | None, eos: int | None) -> dict[str, Any]:
    return {
        "architectures": [f"{model.family}ForCausalLM"],
        "model_type": model.family.lower(),
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocab,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "bos_token_id": bos,
        "eos_token_id": [eos],
        **model.config,
    }


def _weights(model: SmallModel, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def whole(rows: int, columns: int, gain: float = 1.0) -> torch.Tensor:
        """[rows, columns] that multiply the standard deviation of their input by about `gain`."""
        numbers = torch.randint(-_LARGEST, _LARGEST + 1, (rows, columns), generator=generator).float()
        wanted = gain / (numbers.std() * columns**0.5)
        return (numbers * torch.exp2(wanted.log2().round())).bfloat16()

    def norm(size: int) -> torch.Tensor:
        return (1 + 0.25 * torch.randn(size, generator=generator)).bfloat16()

    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    weights = {
        "model.embed_tokens.weight": whole(model.vocab, model.hidden, model.hidden**0.5),
        "lm_head.weight": whole(model.vocab, model.hidden),
        "model.norm.weight": norm(model.hidden),
    }
    for index in range(model.layers):
        layer = f"model.layers.{index}."
        attention = layer + "self_attn."
        weights |= {
            # Scores large enough that attention chooses: a wrong position must show in the text.
            attention + "q_proj.weight": whole(queries, model.hidden, 1.5),
            attention + "k_proj.weight": whole(keys, model.hidden, 1.5),
            attention + "v_proj.weight": whole(keys, model.hidden),
            attention + "o_proj.weight": whole(model.hidden, queries, 2.0),
            layer + "mlp.gate_proj.weight": whole(model.ffn, model.hidden),
            layer + "mlp.up_proj.weight": whole(model.ffn, model.hidden),
            layer + "mlp.down_proj.weight": whole(model.hidden, model.ffn),
            layer + "input_layernorm.weight": norm(model.hidden),
            layer + "post_attention_layernorm.weight": norm(model.hidden),
        }
        if model.has_bias:
            for part, size in (("q", queries), ("k", keys), ("v", keys)):
                weights[f"{attention}{part}_proj.bias"] = whole(1, size)[0]
    return weights
