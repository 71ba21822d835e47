"""A small Llama with random weights in Hugging Face's layout, its tokenizer and template, for the mock card.

`python tests/tt/tiny_llama.py FOLDER` writes FOLDER/Llama-3.2-1B-Instruct: tt_transformers looks its settings up by the
folder's name. Widths are those of the real model (the kernels' grids want them), layers and vocabulary are not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

NAME: Final = "Llama-3.2-1B-Instruct"
LAYERS: Final = 2
HIDDEN: Final = 2048
FFN: Final = 8192
HEADS: Final = 32
KV_HEADS: Final = 8
VOCAB: Final = 4096

TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SPECIALS: Final = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)


def write_model(parent: Path, seed: int = 0) -> Path:
    """Write the folder. Id 0 is "!", which a card without numerics repeats forever. Another seed gives other weights."""
    tokenizer = make_tokenizer()
    config = _config(tokenizer.token_to_id(SPECIALS[0]), tokenizer.token_to_id(SPECIALS[-1]))
    return write_folder(parent / NAME, config, tokenizer, TEMPLATE, _weights(seed))


def write_folder(
    folder: Path,
    config: dict[str, object],
    tokenizer: Tokenizer,
    template: str,
    weights: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Write a checkpoint in Hugging Face's layout. Without weights only its tokenizer, template and numbers can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", config)
    generation = {"eos_token_id": config["eos_token_id"], "temperature": 0.6, "top_p": 0.9}
    _write(folder / "generation_config.json", generation)
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIALS[0],
            "eos_token": SPECIALS[-1],
            "chat_template": template,
        },
    )
    if weights is not None:
        save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def make_tokenizer() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer


def _config(bos: int | None, eot: int | None) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HIDDEN // HEADS,
        "vocab_size": VOCAB,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "bos_token_id": bos,
        "eos_token_id": [eot],
        "attention_bias": False,
        "mlp_bias": False,
    }


def _weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator) * 0.02).bfloat16()

    head = HIDDEN // HEADS
    weights = {
        "model.embed_tokens.weight": random(VOCAB, HIDDEN),
        "model.norm.weight": torch.ones(HIDDEN).bfloat16(),
    }
    for index in range(LAYERS):
        layer = f"model.layers.{index}."
        weights |= {
            layer + "self_attn.q_proj.weight": random(HIDDEN, HIDDEN),
            layer + "self_attn.k_proj.weight": random(KV_HEADS * head, HIDDEN),
            layer + "self_attn.v_proj.weight": random(KV_HEADS * head, HIDDEN),
            layer + "self_attn.o_proj.weight": random(HIDDEN, HIDDEN),
            layer + "mlp.gate_proj.weight": random(FFN, HIDDEN),
            layer + "mlp.up_proj.weight": random(FFN, HIDDEN),
            layer + "mlp.down_proj.weight": random(HIDDEN, FFN),
            layer + "input_layernorm.weight": torch.ones(HIDDEN).bfloat16(),
            layer + "post_attention_layernorm.weight": torch.ones(HIDDEN).bfloat16(),
        }
    return weights


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.write(f"{write_model(Path(sys.argv[1]))}\n")
