"""transformers' forward over the default model's dequantised weights, in float32: the reference for all others."""

from __future__ import annotations

from typing import Any, Final

import torch

from tests.late_transformers import from_transformers
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint

_HF_NAMES: Final = {
    "attn_norm": "input_layernorm", "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
    "o": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
    "down": "mlp.down_proj", "embed": "embed_tokens", "norm": "norm",
}  # fmt: skip


def reference_model(checkpoint: Checkpoint) -> Any:
    """A `LlamaForCausalLM` with a tied head, as SmolLM2 is one, without a detour through transformers' own reader."""
    config = checkpoint.config
    shape = from_transformers("LlamaConfig")(
        vocab_size=config.vocab_size, hidden_size=config.hidden_size, intermediate_size=config.ffn_size,
        num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=config.kv_heads,
        max_position_embeddings=config.context_length, rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta}, tie_word_embeddings=True,
    )  # fmt: skip
    with from_transformers("no_init_weights", "transformers.initialization")():
        model = from_transformers("LlamaForCausalLM")(shape)
    model.tie_weights()
    state: dict[str, torch.Tensor] = {}
    for name in checkpoint.names:
        *layer, part = name.split(".")
        state[".".join(["model", *layer, _HF_NAMES[part], "weight"])] = torch.from_numpy(
            checkpoint.tensor(name)
        )
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    return model.eval()
