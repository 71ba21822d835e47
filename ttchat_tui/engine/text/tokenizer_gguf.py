"""Tokenizers from GGUF metadata: BPE over bytes (gpt2) or SentencePiece's BPE (llama)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.text.template import TemplateData
from ttchat_tui.engine.text.tokenizer import ChatTokenizer

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
"""`tokenizer.ggml.token_type`, from llama.cpp's llama_token_type."""

_CONTRACTIONS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_SPLIT: Final = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
QWEN2_SPLIT: Final = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL

_GPT2: Final = frozenset({"gpt-2", "phi-2", "mpt", "olmo"})
_DIGITS: Final = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})
_LLAMA3: Final = frozenset({"llama-bpe", "llama3", "llama-v3", "falcon3"})
_QWEN2: Final = frozenset({"qwen2", "deepseek-r1-qwen"})
"""Values of `tokenizer.ggml.pre` that split text the same way, from llama.cpp's llama-vocab.cpp."""


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> ChatTokenizer:
    """The tokenizer that a GGUF file describes.

    Raises:
        ModelLoadError: this kind of tokenizer cannot be built exactly.
    """
    if "tokenizer.ggml.tokens" not in metadata:
        raise ModelLoadError("The GGUF file has no vocabulary.", "Use a complete model file.")
    match metadata.get("tokenizer.ggml.model"):
        case "gpt2":
            tokenizer = _byte_level(metadata)
        case "llama":
            tokenizer = _sentencepiece(metadata)
        case kind:
            raise ModelLoadError(
                f"GGUF tokenizers of kind {kind!r} are not supported; gpt2 and llama are.",
                "Use the model's safetensors folder instead.",
            )
    _add_special(tokenizer, metadata)
    return ChatTokenizer(tokenizer, end_ids(metadata), _beginning(metadata))


def end_ids(metadata: Mapping[str, Any]) -> frozenset[int]:
    """The ids that end a text, a turn or a message, as far as the metadata has them."""
    found = (metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom"))
    return frozenset(token_id for token_id in found if token_id is not None)


def _beginning(metadata: Mapping[str, Any]) -> list[int]:
    """The id before every text. Where the file does not say whether there is one, as llama.cpp decides (llama-vocab.cpp)."""
    is_usual = (
        metadata.get("tokenizer.ggml.model") == "llama" or metadata.get("tokenizer.ggml.pre") in _LLAMA3
    )
    bos = metadata.get("tokenizer.ggml.bos_token_id")
    return [bos] if bos is not None and metadata.get("tokenizer.ggml.add_bos_token", is_usual) else []


def _vocabulary(metadata: Mapping[str, Any]) -> dict[str, int]:
    return {token: index for index, token in enumerate(metadata["tokenizer.ggml.tokens"])}


def _byte_level(metadata: Mapping[str, Any]) -> Tokenizer:
    pre = metadata.get("tokenizer.ggml.pre", "")
    merges: list[tuple[str, str]] = []
    for line in metadata.get("tokenizer.ggml.merges", ()):
        left, _, right = line.partition(" ")
        merges.append((left, right))
    tokenizer = Tokenizer(
        models.BPE(vocab=_vocabulary(metadata), merges=merges, ignore_merges=pre in _LLAMA3)
    )
    if pre in _QWEN2:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _splitter(pre)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _splitter(pre: str) -> pre_tokenizers.PreTokenizer:
    if pre in _GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre in _DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if pre in _LLAMA3 or pre in _QWEN2:
        pattern = LLAMA3_SPLIT if pre in _LLAMA3 else QWEN2_SPLIT
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([split, as_bytes])
    raise ModelLoadError(
        f"The GGUF file's pre-tokenizer ({pre or 'none named'}) is not supported.",
        "Use the model's safetensors folder instead.",
    )


def _sentencepiece(metadata: Mapping[str, Any]) -> Tokenizer:
    """SentencePiece merges the pair whose union has the best score first. In a BPE that is the order of merges."""
    vocab = _vocabulary(metadata)
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", 0)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=merges_by_score(
                vocab, metadata["tokenizer.ggml.scores"], metadata["tokenizer.ggml.token_type"]
            ),
            unk_token=metadata["tokenizer.ggml.tokens"][unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    replace = normalizers.Replace(" ", "▁")
    has_prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), replace]) if has_prefix else replace
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def template_from_gguf(metadata: Mapping[str, Any]) -> TemplateData:
    """The chat template, with the special tokens that it may name."""
    tokens: list[str] = metadata.get("tokenizer.ggml.tokens", [])
    special: dict[str, str] = {}
    for name, key in (
        ("bos_token", "bos"),
        ("eos_token", "eos"),
        ("unk_token", "unknown"),
        ("pad_token", "padding"),
    ):
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if token_id is not None and token_id < len(tokens):
            special[name] = tokens[token_id]
    return TemplateData(source=metadata.get("tokenizer.chat_template", ""), special=special)


def merges_by_score(vocab: Mapping[str, int], scores: list[float], types: list[int]) -> list[tuple[str, str]]:
    """All pairs of tokens that form a normal token, best score first; of equal scores the longer left part first."""
    found: list[tuple[float, int, int, str, str]] = []
    for token, index in vocab.items():
        if types[index] in (_UNKNOWN, _CONTROL, _USER_DEFINED):
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocab and right in vocab:
                found.append((-scores[index], -len(left), -len(right), left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _add_special(tokenizer: Tokenizer, metadata: Mapping[str, Any]) -> None:
    """Add control tokens as special tokens. User-defined tokens match in plain text too."""
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    types: list[int] = metadata.get("tokenizer.ggml.token_type") or []
    control = [tokens[index] for index, kind in enumerate(types) if kind == _CONTROL]
    matched = [tokens[index] for index, kind in enumerate(types) if kind == _USER_DEFINED]
    adder: Any = tokenizer  # The package's stubs do not type the lists' items.
    adder.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    adder.add_tokens([AddedToken(text, special=False, normalized=False) for text in matched])
