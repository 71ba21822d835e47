"""A GGUF file of random weights in the shape of a real model and in the types of a quantisation: speed does not depend on
values, and the real files are no part of the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import gguf
import numpy as np
from numpy.typing import NDArray


class RandomShape(NamedTuple):
    family: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocab: int
    window: int = 0


QWEN_0_5B: Final = RandomShape("qwen2", 896, 4864, 24, 14, 2, 64, 151_936)
"""Qwen2.5-0.5B."""
GEMMA_270M: Final = RandomShape("gemma3", 640, 2048, 18, 4, 1, 256, 262_144, window=512)
"""Gemma 3 270M."""

_Q: Final = gguf.GGMLQuantizationType
_MIXES: Final = {
    "Q2_K": (_Q.Q2_K, _Q.Q3_K, _Q.Q6_K),
    "Q3_K_M": (_Q.Q3_K, _Q.Q5_K, _Q.Q6_K),
    "Q4_0": (_Q.Q4_0, _Q.Q4_0, _Q.Q6_K),
    "Q4_K_M": (_Q.Q4_K, _Q.Q6_K, _Q.Q6_K),
    "Q5_K_M": (_Q.Q5_K, _Q.Q6_K, _Q.Q6_K),
    "Q6_K": (_Q.Q6_K, _Q.Q6_K, _Q.Q6_K),
    "Q8_0": (_Q.Q8_0, _Q.Q8_0, _Q.Q8_0),
    "IQ4_XS": (_Q.IQ4_XS, _Q.IQ4_XS, _Q.Q6_K),
    "F16": (_Q.F16, _Q.F16, _Q.F16),
    "BF16": (_Q.BF16, _Q.BF16, _Q.BF16),
}
"""Types of most weights, of v and down in every other layer, and of the embedding, which is the head. After
`llama_tensor_get_type` of llama.cpp."""
MIXES: Final = tuple(_MIXES)
_NARROW: Final = {
    _Q.Q2_K: _Q.IQ4_NL, _Q.Q3_K: _Q.IQ4_NL, _Q.Q4_K: _Q.Q5_0, _Q.Q5_K: _Q.Q5_1, _Q.Q6_K: _Q.Q8_0, _Q.IQ4_XS: _Q.IQ4_NL,
}  # fmt: skip
"""llama.cpp's substitutes for rows that are no multiple of 256, as 896 is not."""
_SCALES: Final = {
    _Q.Q2_K: (80, 84), _Q.Q3_K: (108, 110), _Q.Q4_K: (0, 4), _Q.Q5_K: (0, 4), _Q.Q6_K: (208, 210), _Q.IQ4_XS: (0, 2),
    _Q.IQ4_NL: (0, 2), _Q.Q4_0: (0, 2), _Q.Q5_0: (0, 2), _Q.Q5_1: (0, 4), _Q.Q8_0: (0, 2),
}  # fmt: skip
"""First and last byte of a block's float16 scales."""


def write_random_model(path: Path, mix: str, shape: RandomShape = QWEN_0_5B) -> None:
    """Write about 0.2 to 1 GB."""
    writer = gguf.GGUFWriter(path, shape.family)
    writer.add_block_count(shape.layers)
    writer.add_context_length(32_768)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    if shape.window:
        writer.add_sliding_window(shape.window)
    _write_vocabulary(writer, shape.vocab)
    generator = np.random.default_rng(0)
    for name, size, kind in _weights(mix, shape):
        if len(size) == 1:
            fill = np.ones if "norm" in name else np.zeros
            writer.add_tensor(name, fill(size, np.float32))
        else:
            writer.add_tensor(name, _random(size, kind, generator), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_vocabulary(writer: Any, size: int) -> None:
    """Byte-level BPE with one merge; most tokens are never written."""
    bytes_ = [chr(byte if 33 <= byte < 127 else 256 + byte) for byte in range(256)]
    tokens = [*bytes_, "ab", *(f"<unused{n}>" for n in range(257, size - 1)), "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (size - 1) + [3])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(size - 1)


def _weights(mix: str, shape: RandomShape) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """Name, shape [out, in] and type."""
    most, better, embedding = _MIXES[mix]
    hidden, ffn, head = shape.hidden, shape.ffn, shape.head_size
    q, kv = shape.heads * head, shape.kv_heads * head
    is_gemma = shape.family == "gemma3"
    norms = {"attn_norm": hidden, "ffn_norm": hidden}
    if is_gemma:
        norms |= {
            "post_attention_norm": hidden, "post_ffw_norm": hidden, "attn_q_norm": head, "attn_k_norm": head,
        }  # fmt: skip
    yield "token_embd.weight", (shape.vocab, hidden), _fitting(embedding, hidden)
    yield "output_norm.weight", (hidden,), None
    for layer in range(shape.layers):
        at, finer = f"blk.{layer}", better if layer % 2 else most
        for name, size in norms.items():
            yield f"{at}.{name}.weight", (size,), None
        for part, outputs in (("q", q), ("k", kv), ("v", kv)):
            kind = finer if part == "v" else most
            yield f"{at}.attn_{part}.weight", (outputs, hidden), _fitting(kind, hidden)
            if not is_gemma:
                yield f"{at}.attn_{part}.bias", (outputs,), None
        yield f"{at}.attn_output.weight", (hidden, q), _fitting(most, q)
        yield f"{at}.ffn_gate.weight", (ffn, hidden), _fitting(most, hidden)
        yield f"{at}.ffn_up.weight", (ffn, hidden), _fitting(most, hidden)
        yield f"{at}.ffn_down.weight", (hidden, ffn), _fitting(finer, ffn)


def _fitting(kind: Any, inputs: int) -> Any:
    return _NARROW.get(kind, kind) if inputs % 256 else kind


def _random(shape: tuple[int, ...], kind: Any, generator: np.random.Generator) -> NDArray[Any]:
    rows, columns = shape
    if kind in (_Q.F16, _Q.BF16):
        weights = generator.standard_normal(shape, np.float32) * np.float32(0.02)
        return weights.astype(np.float16) if kind == _Q.F16 else gguf.quants.quantize(weights, kind)
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (rows, columns // per_block, size), np.uint8)
    first, end = _SCALES[kind]
    scales = np.full((*blocks.shape[:2], (end - first) // 2), 1e-4, np.float16)
    blocks[..., first:end] = scales.view(np.uint8)
    return blocks.reshape(rows, -1)
