"""A checkpoint folder without weights: the card is scripted, only its tokenizer, template and numbers are read."""

from __future__ import annotations

import functools
from itertools import product
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests.tt.tiny_llama import NAME, SPECIALS, TEMPLATE, write_folder

_LETTERS: Final = sorted(pre_tokenizers.ByteLevel.alphabet())
_SYLLABLES: Final = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
WORDS: Final = [f"Ġ{first}{second}" for first, second in product(_SYLLABLES[:12], _SYLLABLES)]

FIRST_WORD: Final = len(_LETTERS)
LAST_WORD: Final = FIRST_WORD + len(WORDS)
"""Ids that the card says lie between these: a word each, with the space before it."""
VOCAB: Final = 1152
"""More than there are tokens: as real models, padded."""
CONTEXT: Final = 2048


def write_checkpoint(parent: Path) -> Path:
    """The folder, called as a model is that every generation knows."""
    tokenizer = _tokenizer()
    assert tokenizer.get_vocab_size() <= VOCAB
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.token_to_id(SPECIALS[0]),
        "eos_token_id": [tokenizer.token_to_id(SPECIALS[-1])],
    }
    return write_folder(parent / NAME, config, tokenizer, TEMPLATE)


@functools.cache
def _tokenizer() -> Tokenizer:
    names = [*_LETTERS, *WORDS, "word", "Ġword"]
    tokenizer = Tokenizer(
        models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[], ignore_merges=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer
