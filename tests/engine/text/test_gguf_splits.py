"""How texts are split before merging, for each `tokenizer.ggml.pre`; scripts/check_vocabularies.py holds it to llama.cpp."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from tests.engine.decoding.decoded import decoded
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.text.gguf_splits import SPLITS
from ttchat_tui.engine.text.template import PromptPiece
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.engine.text.tokenizer_gguf import tokenizer_from_gguf

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def built(pre: str, tokens: list[str], /, **metadata: Any) -> ChatTokenizer:
    return tokenizer_from_gguf(
        {
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.merges": [], **{f"tokenizer.ggml.{key}": value for key, value in metadata.items()},
        }
    )  # fmt: skip


def split(pre: str, text: str) -> list[str]:
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(each), behavior="isolated") for each in SPLITS[pre].patterns
    ]
    return [piece for piece, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("default", "a12345, b", ["a", "123", "45", ",", " b"]),
        ("gpt-2", "it's 1234  x", ["it", "'s", " 1234", " ", " x"]),
        ("smollm", "a 12", ["a", " ", "1", "2"]),
        ("llama-bpe", "I'LL 12345\n\n x", ["I", "'LL", " ", "123", "45", "\n\n", " x"]),
        ("qwen2", "I'LL 12", ["I", "'LL", " ", "1", "2"]),
        ("qwen35", "ne\u0301e", ["ne\u0301e"]),
        ("ufakzeka", "it's", ["it", "'s"]),
        ("laguna", "a\n b", ["a", "\n", " b"]),
        ("minicpm5", "a12345", ["a", "123", "45"]),
        ("deepseek-coder", "ab 12中文", ["ab", " ", "1", "2", "中文"]),
        ("deepseek-llm", "Ab éà: 123", ["Ab", " éà", ":", " ", "123"]),
        ("deepseek-v3", "a1234(foo 中文", ["a", "123", "4", "(foo", " ", "中文"]),
        ("youtu", "HelloWorld한국", ["Hello", "World", "한국"]),
        ("falcon", "a`` 12345", ["a", "``", " ", "123", "45"]),
        ("bloom", "Hello world.", ["Hello", " world", "."]),
        ("viking", "ab12", ["ab", "1", "2"]),
        ("tekken", "HelloWORLDs it's 12", ["Hello", "WORLDs", " it", "'s", " ", "1", "2"]),
        ("gpt-4o", "HelloWorld it's 1234/", ["Hello", "World", " it's", " ", "123", "4", "/"]),
        ("tiny_aya", "x 1234567", ["x", " ", "1", "234", "567"]),
        ("superbpe", "to be 1234567 or", ["to be ", "1", "234", "567", " or"]),
        ("kimi-k2", "abc中文def 1234", ["abc", "中文", "def", " ", "123", "4"]),
        ("bailingmoe", "a\n\nb", ["a", "\n\n", "b"]),
        ("seed-coder", "a==\nb", ["a", "==", "\n", "b"]),
        ("afmoe", "a1234567", ["a", "1", "234", "567"]),
        ("exaone-moe", "ab cd ef12", ["ab cd ef", "1", "2"]),
        ("chameleon", "a<sentinel:3>b", ["a", "<", "sentinel", ":", "3", ">", "b"]),
        ("jais-2", "a" + " " * 20 + "b", ["a", " " * 16, " " * 2, " ", " b"]),
        ("gemma4", "a b\n\nc", ["a b", "\n\n", "c"]),
    ],
)
def test_texts_are_split_as_the_models_split_them(pre: str, text: str, pieces: list[str]) -> None:
    assert split(pre, text) == pieces


EACH = {split: pre for pre, split in SPLITS.items()}
TOKENIZERS = {
    pre: built(pre, BYTES if split.spells_bytes else ["▁", *BYTE_TOKENS]) for split, pre in EACH.items()
}


@given(text=st.text(max_size=30))
@settings(deadline=None, max_examples=15)
def test_every_way_of_splitting_gives_any_text_back(text: str) -> None:
    for split, pre in EACH.items():
        tokenizer = TOKENIZERS[pre]
        normal = unicodedata.normalize("NFC", text) if split.is_composed else text
        expected = normal if split.spells_bytes else normal.replace("▁", " ")
        assert decoded(tokenizer, list(tokenizer.encode_pieces([PromptPiece(text, False)])[0])) == expected, (
            pre
        )


def test_a_piece_that_is_a_token_is_that_token_where_merges_do_not_make_it() -> None:
    tokens = [*BYTES, "abc"]
    text = [PromptPiece("abc", False)]
    assert built("llama-bpe", tokens).encode_pieces(text) == [(256,)]
    assert len(built("qwen2", tokens).encode_pieces(text)[0]) == 3


@pytest.mark.parametrize(
    ("pre", "metadata", "expected"),
    [
        ("llama-bpe", {}, (5,)),
        ("tekken", {}, (5,)),
        ("qwen2", {}, ()),
        ("qwen2", {"add_bos_token": True}, (5,)),
        ("llama-bpe", {"add_bos_token": False}, ()),
        ("gemma4", {"add_bos_token": False}, (5,)),
    ],
)
def test_a_text_begins_with_the_token_that_llama_cpp_puts_there(
    pre: str, metadata: dict[str, Any], expected: Any
) -> None:
    assert built(pre, BYTES, bos_token_id=5, **metadata).beginning == expected


def test_a_missing_name_is_the_default() -> None:
    assert built("", BYTES).encode_pieces([PromptPiece("a 12,", False)])


@pytest.mark.parametrize(
    "kind", ["t5", "bert", "rwkv", "plamo2", "whitespace", "hybriddna", "none", "new", None]
)
def test_other_kinds_of_vocabularies_are_refused_by_name(kind: str | None) -> None:
    with pytest.raises(ModelLoadError, match=f"tokenizer.ggml.model = {kind!r}") as caught:
        built("gpt-2", BYTES, model=kind)
    assert caught.value.info.cure


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"pre": "whitespace"}, "pre = 'whitespace'"),
        ({"pre": "of tomorrow"}, "pre = 'of tomorrow'"),
        ({"merges": ["a"]}, "'a' in tokenizer.ggml.merges"),
        ({"merges": ["a b"]}, "'a b' in tokenizer.ggml.merges"),
        ({"merges": ["a zz"]}, "'a zz' in tokenizer.ggml.merges"),
        ({"tokens": ["a", "b", "a"]}, "'a' twice"),
        ({"tokens": []}, "no vocabulary"),
        ({"tokens": "abc"}, "another kind of value in tokenizer.ggml.tokens"),
        ({"tokens": [1, 2]}, "another kind of value in tokenizer.ggml.tokens"),
        ({"merges": [1]}, "another kind of value in tokenizer.ggml.merges"),
        ({"merges": "a b"}, "another kind of value in tokenizer.ggml.merges"),
        ({"token_type": ["x"] * 256}, "another kind of value in tokenizer.ggml.token_type"),
        ({"model": "llama", "scores": ["x"] * 256}, "another kind of value in tokenizer.ggml.scores"),
        ({"token_type": [1, 1]}, "2 values in tokenizer.ggml.token_type"),
        ({"scores": []}, "0 values in tokenizer.ggml.scores"),
        ({"model": "llama"}, "no tokenizer.ggml.scores"),
        ({"model": "llama", "scores": [0.0] * 256}, "no tokenizer.ggml.token_type"),
    ],
)
def test_a_vocabulary_whose_parts_do_not_fit_is_refused(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelLoadError, match=words) as caught:
        built("gpt-2", BYTES, **metadata)
    assert caught.value.info.cure


def test_empty_and_broken_texts_in_a_vocabulary_are_tokens_of_their_own() -> None:
    assert built("gpt-2", ["a", "", "\ufffd", "\ufffd", ""]).size == 5


@pytest.mark.parametrize(("has_prefix", "text"), [(True, "word"), (False, " word")])
def test_a_reply_loses_its_first_space_only_where_texts_get_one(has_prefix: bool, text: str) -> None:
    tokens = ["<unk>", "<s>", "</s>", "▁word"]
    tokenizer = built(
        "", tokens, model="llama", scores=[0.0] * 4, token_type=[2, 3, 3, 1], add_space_prefix=has_prefix
    )
    assert tokenizer.new_decoder(is_start=True).push(3) == text
    assert tokenizer.new_decoder(is_start=False).push(3) == " word"
    assert (tokenizer.beginning, tokenizer.end_ids) == ((1,), {2})
