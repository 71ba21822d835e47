"""Which tokens end a turn, by llama.cpp's rules, in vocabularies of every kind and with faulty types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.text.end_of_turn import ENDS, control_texts, end_ids
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.engine.text.tokenizer_gguf import tokenizer_from_gguf

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
LETTERS = list("abcdefghijklmnopqrstuvwxyz<>|_/")
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}{{ m.content }}<|im_end|>{% endfor %}"


def gguf(special: Mapping[str, int], **metadata: Any) -> ChatTokenizer:
    """A byte-level vocabulary of letters and these tokens with their types."""
    tokens = [*LETTERS, *special]
    return tokenizer_from_gguf(
        {
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [*([NORMAL] * len(LETTERS)), *special.values()], "tokenizer.ggml.merges": [],
            **{f"tokenizer.ggml.{key}": tokens.index(value) if value in tokens else value for key, value in metadata.items()},
        }
    )  # fmt: skip


def names(tokenizer: ChatTokenizer) -> set[str]:
    return {tokenizer.piece_of(each).decode() for each in tokenizer.end_ids}


@pytest.mark.parametrize("kind", [NORMAL, CONTROL, USER_DEFINED, 0, 5])
@pytest.mark.parametrize("text", list(ENDS))
def test_every_known_end_ends_a_turn_whatever_its_type_and_whatever_eos_is(text: str, kind: int) -> None:
    assert names(gguf({text: kind, "<other>": CONTROL}, eos_token_id="<other>")) == {text, "<other>"}


@pytest.mark.parametrize("kind", [NORMAL, USER_DEFINED])
def test_a_mistyped_end_comes_from_the_template_and_from_no_message(kind: int) -> None:
    tokenizer = gguf({"<|im_start|>": CONTROL, "<|im_end|>": kind, "<eos>": CONTROL}, eos_token_id="<eos>")
    template = ChatTemplate(CHATML, {}, tokenizer.controls)
    end = len(LETTERS) + 1
    pieces = template.pieces([ChatMessage("user", "a<|im_end|>b")])
    ids = [each for part in tokenizer.encode_pieces(pieces) for each in part]
    assert ids.count(end) == 1
    assert ids[-1] == end


@pytest.mark.parametrize("key", ["eos", "eot", "eom", "fim_pad"])
@pytest.mark.parametrize("form", ["_token_id", "_token_ids"])
@pytest.mark.parametrize("ends", [[0], [0, 1], [1, 0, 10**6, -1]])
def test_ends_in_a_list_are_all_ends(key: str, form: str, ends: list[int]) -> None:
    tokenizer = gguf(
        {"<one>": CONTROL, "<two>": CONTROL}, **{key + form: [len(LETTERS) + each for each in ends]}
    )
    assert names(tokenizer) == {("<one>", "<two>")[each] for each in ends if each in (0, 1)} | (
        {LETTERS[-1]} if -1 in ends else set()
    )


@pytest.mark.parametrize(
    "key", ["eos_token_id", "eot_token_id", "eom_token_id", "fim_pad_token_id", "fim_sep_token_id"]
)
def test_what_the_metadata_names_ends_a_turn(key: str) -> None:
    assert names(gguf({"<own>": CONTROL}, **{key: "<own>"})) == {"<own>"}


@pytest.mark.parametrize("value", [10**6, -1, "text", 1.5, None, [3.5, None, "a"]])
def test_an_id_outside_the_vocabulary_is_none(value: Any) -> None:
    assert gguf({"<|im_end|>": CONTROL}, eos_token_id=value).end_ids == {len(LETTERS)}


@pytest.mark.parametrize(
    ("others", "text"),
    [
        (["<|return|>", "<|call|>"], "<|end|>"),
        (["<|start|>", "<|channel|>", "<|message|>"], "<|end|>"),
        (["<|flush|>", "<|calls|>"], "<|end|>"),
        (["<|flush|>", "<|call|>"], "<|end|>"),
        (["<|tool_response>"], "</s>"),
        (["<|plamo:eos|>"], "</s>"),
    ],
)
def test_some_ends_are_none_beside_other_tokens(others: list[str], text: str) -> None:
    assert text not in names(gguf(dict.fromkeys([text, *others], CONTROL), eos_token_id=text))
    for missing in others:
        left = [each for each in others if each != missing]
        assert text in names(gguf(dict.fromkeys([text, *left], CONTROL), eos_token_id=text))


@pytest.mark.parametrize("kind", [NORMAL, CONTROL, USER_DEFINED])
def test_the_channels_of_gpt_oss_are_shown_and_no_message_can_have_them(kind: int) -> None:
    channels = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>"]
    tokenizer = gguf(dict.fromkeys([*channels, "<|return|>", "<|call|>"], kind), eos_token_id="<|return|>")
    assert names(tokenizer) == {"<|return|>", "<|call|>"}
    assert set(channels) <= set(tokenizer.controls)
    first = len(LETTERS)
    assert [tokenizer.token_bytes(first + n).decode() for n in range(4)] == channels
    assert not {first, first + 1} & set(
        tokenizer.encode_pieces([PromptPiece("<|start|>a<|channel|>", False)])[0]
    )


def test_a_folder_whose_end_is_no_special_token_is_mended_too() -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken("<|im_end|>", special=False), AddedToken("<tool>", special=False)])
    tokenizer = ChatTokenizer(made)
    assert (tokenizer.end_ids, set(tokenizer.controls)) == ({1}, {"<|im_end|>"})
    assert tokenizer.token_bytes(1) == b""


def test_a_vocabulary_without_any_known_end_keeps_what_is_named() -> None:
    assert end_ids([7], {"<x>": 1}) == {7}
    assert control_texts({"<x>": 1, "</s>": 2, "<PRE>": 3}) == {"</s>", "<PRE>"}


@pytest.mark.parametrize(
    ("metadata", "is_eaten"),
    [
        ({"general.name": "Phi-3 Mini 4k"}, True),
        ({"general.name": "my phi3"}, True),
        ({"general.architecture": "phi3", "general.name": "x"}, True),
        ({"general.architecture": "llama", "general.name": "x"}, False),
    ],
)
def test_control_tokens_of_phi_3_take_the_space_after_them(metadata: dict[str, str], is_eaten: bool) -> None:
    tokens = ["<unk>", "<s>", "</s>", "<|user|>", "▁", "a", "▁a"]
    made = tokenizer_from_gguf(
        {
            "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": [0.0] * 7,
            "tokenizer.ggml.token_type": [2, 3, 3, 3, 1, 1, 1], "tokenizer.ggml.add_space_prefix": False, **metadata,
        }
    )  # fmt: skip
    ids = made.encode_pieces(
        [
            PromptPiece("<|user|>", True),
            PromptPiece(" a", False),
            PromptPiece("<s>", True),
            PromptPiece(" a", False),
        ]
    )
    assert ids == [(3,), (5,) if is_eaten else (6,), (1,), (6,)]
