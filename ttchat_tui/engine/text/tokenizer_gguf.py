"""Tokenizers from GGUF metadata: BPE over bytes or characters (gpt2, gemma4), or SentencePiece's BPE (llama)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.text.end_of_turn import control_texts
from ttchat_tui.engine.text.gguf_splits import SPLITS, Split
from ttchat_tui.engine.text.template import TemplateData
from ttchat_tui.engine.text.tokenizer import ChatTokenizer

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
"""`tokenizer.ggml.token_type`, from llama.cpp's llama_token_type."""

_CURE: Final = "Use the model's safetensors folder instead, or choose another GGUF file of the model."
_DAMAGED: Final = "Download the file again, or choose another GGUF file of the model."
_OTHER_KINDS: Final = {
    "t5": "Unigram, of T5 and its kin",
    "bert": "WordPiece, of models that embed texts",
    "rwkv": "RWKV's own",
    "plamo2": "PLaMo 2's own",
    "whitespace": "words between spaces, of models that embed texts",
    "hybriddna": "of models for DNA",
    "no_vocab": "none at all",
    "none": "none at all",
}
"""Values of `tokenizer.ggml.model` in llama.cpp's src/llama-vocab.cpp that are not built here."""
_MEMBERS: Final = {"tokens": str, "merges": str, "scores": (int, float), "token_type": int}
"""The lists of a vocabulary, and what they are of."""
_LEAVE_SPACE: Final = frozenset({"<unk>", "<s>", "<|endoftext|>"})
"""The control tokens of Phi 3 that do not take the space after them."""
_ENDS: Final = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
"""Ids of these keys end a reply, whatever their text: `special_eog_ids` in llama.cpp's src/llama-vocab.cpp."""
_DEFAULTS: Final[Mapping[str, Mapping[str, int]]] = {"llama": {"bos": 1, "eos": 2, "unknown": 0}}
"""Ids where the file names none, by kind. Those of gpt2 (11 for both) are of one old model, and wrong for others."""


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> ChatTokenizer:
    """The tokenizer that a GGUF file describes.

    Raises:
        ModelLoadError: this kind of tokenizer cannot be built exactly, or its parts do not fit together.
    """
    vocab = _vocabulary(metadata)
    match metadata.get("tokenizer.ggml.model"):
        case "gpt2" | "gemma4":
            tokenizer = _bpe(metadata, vocab, _split(metadata))
        case "llama":
            metadata = {**metadata, "tokenizer.ggml.token_type": _kinds(metadata, vocab)}
            tokenizer = _sentencepiece(metadata, vocab)
        case kind:
            what = f", which is {_OTHER_KINDS[str(kind)]}" if str(kind) in _OTHER_KINDS else ""
            raise ModelLoadError(
                f"The GGUF file has tokenizer.ggml.model = {kind!r}{what}; gpt2, gemma4 and llama are supported.",
                _CURE,
            )
    _add_special(tokenizer, metadata, vocab)
    return ChatTokenizer(tokenizer, end_ids(metadata), _beginning(metadata))


def end_ids(metadata: Mapping[str, Any]) -> frozenset[int]:
    """The ids that end a text, a turn or a message, as far as the metadata has them. Ollama writes several in lists."""
    size = len(_list(metadata, "tokens"))
    found = {token_id(metadata, key) for key in _ENDS}
    for key in _ENDS:
        for name in (f"tokenizer.ggml.{key}_token_id", f"tokenizer.ggml.{key}_token_ids"):
            value = metadata.get(name)
            found.update(cast(list[Any], value) if isinstance(value, list) else [])
    return frozenset(each for each in found if type(each) is int and 0 <= each < size)


def token_id(metadata: Mapping[str, Any], key: str) -> int | None:
    """`tokenizer.ggml.KEY_token_id`, or its default; None for ids outside the vocabulary, which llama.cpp ignores too."""
    default = _DEFAULTS.get(str(metadata.get("tokenizer.ggml.model")), {}).get(key)
    size = len(_list(metadata, "tokens"))
    for value in (metadata.get(f"tokenizer.ggml.{key}_token_id"), default):
        if type(value) is int and 0 <= value < size:
            return value
    return None


def _beginning(metadata: Mapping[str, Any]) -> list[int]:
    """The id before every text. Where the file does not say whether there is one, as llama.cpp decides (llama-vocab.cpp)."""
    kind = metadata.get("tokenizer.ggml.model")
    split = None if kind == "llama" else _split(metadata)
    is_added = metadata.get("tokenizer.ggml.add_bos_token", split is None or split.adds_beginning)
    if (
        split is SPLITS["gemma4"]
    ):  # Its files say false, and its models need one: llama.cpp's pull request 21500.
        is_added = True
    bos = token_id(metadata, "bos")
    return [bos] if bos is not None and is_added else []


def _list(metadata: Mapping[str, Any], key: str) -> list[Any]:
    """`tokenizer.ggml.KEY`; empty if it is missing.

    Raises:
        ModelLoadError: it is no list, or one of other things.
    """
    found = metadata.get(f"tokenizer.ggml.{key}", [])
    # The values of an array in a GGUF file are of one type.
    if not isinstance(found, list) or (found and not isinstance(found[0], _MEMBERS[key])):
        raise ModelLoadError(f"The GGUF file has another kind of value in tokenizer.ggml.{key}.", _DAMAGED)
    return cast(list[Any], found)


def _vocabulary(metadata: Mapping[str, Any]) -> dict[str, int]:
    """Text → id.

    Raises:
        ModelLoadError: the file has no vocabulary, or its lists have different lengths, or a token is in it twice.
    """
    tokens = _list(metadata, "tokens")
    if not tokens:
        raise ModelLoadError(
            "The GGUF file has no vocabulary (tokenizer.ggml.tokens).", "Use a complete model file."
        )
    for key in ("token_type", "scores"):
        size = len(_list(metadata, key))
        if size < len(tokens) and f"tokenizer.ggml.{key}" in metadata:
            raise ModelLoadError(
                f"The GGUF file has {len(tokens):,} tokens, but {size:,} values in tokenizer.ggml.{key}.",
                _DAMAGED,
            )
    vocab = {token: index for index, token in enumerate(tokens)}
    if len(vocab) == len(tokens) and "" not in vocab:
        return vocab
    return _distinct(tokens)


def _distinct(tokens: list[str]) -> dict[str, int]:
    """As `_vocabulary`, for one with empty or broken texts."""
    vocab: dict[str, int] = {}
    for index, token in enumerate(tokens):
        name = token or f"[EMPTY_{index}]"  # As llama.cpp calls them.
        if (
            name in vocab and "\ufffd" in name
        ):  # Different bytes that are no UTF-8, in files of old converters.
            name = f"[BROKEN_{index}]"
        if name in vocab:
            raise ModelLoadError(
                f"The GGUF file has the token {name!r} twice in tokenizer.ggml.tokens: {vocab[name]} and {index}.",
                _DAMAGED,
            )
        vocab[name] = index
    return vocab


def _split(metadata: Mapping[str, Any]) -> Split:
    """
    Raises:
        ModelLoadError: the file names a way of splitting that is not known.
    """
    name = metadata.get("tokenizer.ggml.pre") or "default"
    if metadata.get("tokenizer.ggml.model") == "gemma4":
        name = "gemma4"
    if not isinstance(name, str) or name not in SPLITS:
        raise ModelLoadError(
            f"The GGUF file has tokenizer.ggml.pre = {name!r}, which is not supported.", _CURE
        )
    return SPLITS[name]


def _bpe(metadata: Mapping[str, Any], vocab: dict[str, int], split: Split) -> Tokenizer:
    tokenizer = Tokenizer(
        _model(
            metadata,
            vocab,
            ignore_merges=not split.merges_within_words,
            byte_fallback=not split.spells_bytes,
        )
    )
    pieces: list[Any] = [
        pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in split.patterns
    ]
    if split.spells_bytes:
        pieces.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
    if split.is_composed:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    return tokenizer


def _model(metadata: Mapping[str, Any], vocab: dict[str, int], **options: Any) -> models.BPE:
    """
    Raises:
        ModelLoadError: there are no merges, or one does not make a token of two tokens.
    """
    if "tokenizer.ggml.merges" not in metadata:
        raise ModelLoadError("The GGUF file has no tokenizer.ggml.merges.", _CURE)
    lines = _list(metadata, "merges")
    pairs: Any = [tuple(line.split(" ", 1)) for line in lines]
    try:
        return models.BPE(vocab=vocab, merges=pairs, **options)
    except BaseException as error:  # tokenizers raises bare Exception, or panics
        for line, pair in zip(lines, pairs, strict=True):
            if not vocab.keys() >= {*pair, "".join(pair)} or len(pair) < 2:
                raise ModelLoadError(
                    f"The GGUF file has {line!r} in tokenizer.ggml.merges, which makes no token of two tokens.",
                    _DAMAGED,
                ) from error
        raise


def _kinds(metadata: Mapping[str, Any], vocab: Mapping[str, int]) -> list[int]:
    """`tokenizer.ggml.token_type`, with runs of "▁" as the normal tokens that llama.cpp takes them for. The first files of Gemma
    call them user-defined; later converters write these with spaces, as text has them."""
    kinds = _list(metadata, "token_type").copy()
    for index in [index for text, index in vocab.items() if not text.strip("▁") and index < len(kinds)]:
        kinds[index] = _NORMAL if kinds[index] == _USER_DEFINED else kinds[index]
    return kinds


def _sentencepiece(metadata: Mapping[str, Any], vocab: dict[str, int]) -> Tokenizer:
    """SentencePiece merges the pair whose union has the best score first. In a BPE that is the order of merges."""
    scores, types = _list(metadata, "scores"), _list(metadata, "token_type")
    if not scores or not types:
        missing = "token_type" if scores else "scores"
        raise ModelLoadError(f"The GGUF file has no tokenizer.ggml.{missing}.", _CURE)
    unknown = token_id(metadata, "unknown") or 0
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=merges_by_score(vocab, scores, types),
            unk_token=next(text for text, index in vocab.items() if index == unknown),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    replace = normalizers.Replace(" ", "▁")
    has_prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
    decoding: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if has_prefix:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace])
        tokenizer.decoder = decoders.Sequence([*decoding, decoders.Strip(" ", 1, 0)])
    else:
        tokenizer.normalizer = replace
        tokenizer.decoder = decoders.Sequence(decoding)
    return tokenizer


def template_from_gguf(metadata: Mapping[str, Any]) -> TemplateData:
    """The chat template, with the special tokens that it may name."""
    tokens = _list(metadata, "tokens")
    special: dict[str, str] = {}
    for name, key in (
        ("bos_token", "bos"),
        ("eos_token", "eos"),
        ("unk_token", "unknown"),
        ("pad_token", "padding"),
    ):
        found = token_id(metadata, key)
        if found is not None:
            special[name] = tokens[found]
    return TemplateData(source=_template_source(metadata), special=special)


def _template_source(metadata: Mapping[str, Any]) -> str:
    """The template without a name, else the first of those with one (`tokenizer.chat_template.NAME`)."""
    named = (metadata[key] for key in sorted(metadata) if key.startswith("tokenizer.chat_template."))
    candidates = (metadata.get("tokenizer.chat_template"), *named)
    return next((each for each in candidates if isinstance(each, str) and each), "")


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


def _eats_space(metadata: Mapping[str, Any]) -> bool:
    """Whether control tokens take the white space after them: Phi 3's do, and its files do not say so (llama-vocab.cpp knows
    them by their name)."""
    name = str(metadata.get("general.name", "")).lower()
    is_phi3 = (
        metadata.get("general.architecture") == "phi3" and metadata.get("tokenizer.ggml.model") == "llama"
    )
    return is_phi3 or "phi-3" in name or "phi3" in name


def _add_special(tokenizer: Tokenizer, metadata: Mapping[str, Any], vocab: Mapping[str, int]) -> None:
    """Add control tokens as special tokens, those too that the file types as text. User-defined tokens match in plain text."""
    texts, types = list(vocab), _list(metadata, "token_type")[: len(vocab)]
    control = control_texts(vocab)
    typed = [texts[index] for index, kind in enumerate(types) if kind == _CONTROL]
    special = [*typed, *(control.difference(typed))]
    matched = [texts[index] for index, kind in enumerate(types) if kind == _USER_DEFINED]
    matched = [text for text in matched if text not in control]
    eats_space = _eats_space(metadata)
    adder: Any = tokenizer  # The package's stubs do not type the lists' items.
    adder.add_special_tokens(
        [
            AddedToken(text, special=True, normalized=False, rstrip=eats_space and text not in _LEAVE_SPACE)
            for text in special
        ]
    )
    adder.add_tokens([AddedToken(text, special=False, normalized=False) for text in matched])
