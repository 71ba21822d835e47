"""Tiny random models of each family, saved as transformers saves them: the oracle and our reader share the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.late_transformers import from_transformers

VOCAB = 260
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 96, "intermediate_size": 112, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512,
    "bos_token_id": 256, "eos_token_id": 258,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
_STRETCHED = {"rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 64}


_SMALL: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 256,
    "eos_token_id": 258,
}  # fmt: skip
_LONGROPE = {
    "rope_type": "longrope", "rope_theta": 500.0, "original_max_position_embeddings": 32,
    "short_factor": [1.0, 1.1, 1.3, 1.7], "long_factor": [1.5, 2.0, 4.0, 8.0],
}  # fmt: skip
_YARN = {
    "rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0, "original_max_position_embeddings": 32,
    "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.4,
}  # fmt: skip
_SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 7}
_BOTH_ROPES = {"sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}
DESCRIBED: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("Gemma", {"hidden_act": "gelu_pytorch_tanh"}),
    "gemma2": ("Gemma2", {**_SLIDING, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 2.0,
                          "final_logit_softcapping": 3.0}),
    "gemma3": ("Gemma3Text", {**_SLIDING, "query_pre_attn_scalar": 16, "rope_parameters": {
        **_BOTH_ROPES, "full_attention": {"rope_type": "linear", "rope_theta": 5e3, "factor": 8.0}}}),
    "phi3": ("Phi3", {"sliding_window": 20}),
    "phi4-mini": ("Phi3", {"rope_parameters": {**_LONGROPE, "partial_rotary_factor": 0.5},
                           "original_max_position_embeddings": 32, "tie_word_embeddings": True}),
    "granite": ("Granite", {"embedding_multiplier": 6.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2,
                            "logits_scaling": 0.5}),
    "granite4": ("GraniteMoeHybrid", {"layer_types": ["full_attention"] * 2, "shared_intermediate_size": 96,
                                      "num_local_experts": 0, "position_embedding_type": "rope",
                                      "embedding_multiplier": 6.0, "residual_multiplier": 0.4,
                                      "attention_multiplier": 0.2, "logits_scaling": 0.5}),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {**_SLIDING, "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
        "full_attention": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0, "attention_factor": 1.4,
                           "original_max_position_embeddings": 32}}}),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 1, 1, 0], "num_hidden_layers": 4}),
    "glm4": ("Glm4", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}}),
    "ministral3": ("Ministral3", {"rope_parameters": _YARN}),
    "exaone4": ("Exaone4", {**_SLIDING, "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}}),
    "exaone4-1.2b": ("Exaone4", {"layer_types": ["full_attention"] * 4, "num_hidden_layers": 4, "sliding_window": None}),
    "qwen3-moe": ("Qwen3Moe", {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
                               "norm_topk_prob": True}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 20}),
    "qwen2-yarn": ("Qwen2", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0,
                                                 "original_max_position_embeddings": 64}}),
    "llama-mlp-bias": ("Llama", {"mlp_bias": True, "attention_bias": True}),
}  # fmt: skip
"""One of each family in `families.py` but for the four of `build`: transformers' name, and its configuration."""


def described(name: str, **shape: Any) -> Any:
    """A model of `DESCRIBED`, whose matrices Q8_0 holds exactly; `shape` are other sizes."""
    torch.manual_seed(5)
    family, config = DESCRIBED[name]
    settings = from_transformers(f"{family}Config")(**{**_SMALL, **config, **shape})
    model = from_transformers(f"{family.removesuffix('Text')}ForCausalLM")(settings)
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.dim() == 1 or path.endswith("gate.weight"):  # Files have routers in float32.
                weight.add_(torch.randn_like(weight) * 0.2)
            else:
                weight.copy_(in_8_bits(weight))
    return model.float().eval()


def in_8_bits(like: torch.Tensor) -> torch.Tensor:
    """Random, each group of 32 with the greatest code, so that rounding finds the same scale again."""
    codes = torch.randint(-127, 128, like.shape).float()
    codes[..., ::32] = 127.0 * torch.randint(0, 2, codes[..., ::32].shape).mul_(2).sub_(1)
    return codes * 2.0**-9


def random_model(family: str, **config: Any) -> Any:
    """A causal language model of "Llama", "Qwen2"… with random weights."""
    settings = from_transformers(f"{family}Config")(**config)
    return from_transformers("GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM")(settings)


def _llama(**options: Any) -> Any:
    return random_model("Llama", **_SHAPE, **options)


def build(name: str) -> Any:
    """A transformers model of float32 random weights, the same every time."""
    torch.manual_seed(7)
    match name:
        case "llama":
            model = _llama(tie_word_embeddings=False)
        case "llama-tied":
            model = _llama(tie_word_embeddings=True)
        case "llama-bias":
            model = _llama(attention_bias=True)
        case "llama3-rope":
            model = _llama(rope_parameters=_LLAMA3)
        case "llama-linear-rope":
            model = _llama(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0})
        case "llama-dynamic-rope":
            model = _llama(rope_parameters={**_STRETCHED, "rope_type": "dynamic"})
        case "mistral":
            model = random_model("Mistral", **_SHAPE, sliding_window=50)
        case "qwen2":
            model = random_model("Qwen2", **_SHAPE)
        case "qwen2-sliding":
            sliding: dict[str, Any] = {"sliding_window": 40, "max_window_layers": 1}
            model = random_model("Qwen2", **_SHAPE, use_sliding_window=True, **sliding)
        case "qwen3":
            model = random_model("Qwen3", **{**_SHAPE, "head_dim": 32})
        case "gpt2":
            model = random_model(
                "GPT2", vocab_size=VOCAB, n_positions=256, n_embd=48, n_layer=2, n_head=4, eos_token_id=258
            )
        case _:
            raise ValueError(name)
    with torch.no_grad():
        for weight in model.parameters():  # Norms and biases are born as ones and zeros, which hide mistakes.
            weight.add_(torch.randn_like(weight) * (0.2 if weight.dim() == 1 else 0.1))
    return model.float().eval()


def save(model: Any, folder: Path, template: str = CHATML) -> Path:
    """config.json, safetensors, a byte-level tokenizer and a chat template."""
    model.save_pretrained(folder)
    tokenizer = Tokenizer(
        models.BPE(
            vocab={char: n for n, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ("<s>", "<|im_start|>", "<|im_end|>", "<pad>")
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": {"content": "<|im_end|>"}, "chat_template": template})
    )
    return folder
