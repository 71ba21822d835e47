"""Tokens that end a turn, whatever the metadata of their file calls eos: known by their text, as llama.cpp knows them.

Source of every row: `llama_vocab::impl::load` in llama.cpp's src/llama-vocab.cpp (`special_eog_ids`), unless it names another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

ENDS: Final[Mapping[str, str]] = {
    "<|im_end|>": "ChatML: Qwen, SmolLM, Yi",
    "<|eot_id|>": "Llama 3: the end of a turn",
    "<|eom_id|>": "Llama 3: the end of a message before a tool answers",
    "<|end|>": "Phi 3",
    "<|return|>": "gpt-oss (harmony): the end of an answer",
    "<|call|>": "gpt-oss (harmony): a tool is called",
    "<|flush|>": "Solar Open",
    "<|calls|>": "Solar Open: tools are called",
    "<end_of_turn>": "Gemma 2 and 3",
    "<|endoftext|>": "GPT-2, Qwen, Phi",
    "</s>": "Llama 2, Mistral",
    "<EOT>": "CodeLlama",
    "_<EOT>": "CodeLlama",
    "[EOT]": "Kimi K2",
    "[EOS]": "Kimi K2",
    "<|end_of_text|>": "Llama 3 and Granite: the end of a text",
    "<end_of_utterance>": "SmolVLM, SmolDocling",
    "<eos>": "Gemma",
    "<turn|>": "Gemma 4",
    "<|tool_response>": "Gemma 4: a tool answers",
    "<｜end▁of▁sentence｜>": "DeepSeek",
    "[e~[": "MiniMax M2",
    "<|fim_pad|>": "Qwen Coder: padding after infilling",
    "<fim-pad>": "padding after infilling",
    "<fim_pad>": "StarCoder, Granite: padding after infilling",
    "<PAD>": "padding after infilling",
    "[PAD]": "Kimi K2: padding",
    "<|fim_repo|>": "Qwen Coder: another repository",
    "<|repo_name|>": "Qwen Coder: another repository",
    "<fim-repo>": "another repository",
    "<REPO>": "another repository",
    "<reponame>": "StarCoder, Granite: another repository",
    "<|file_sep|>": "Qwen Coder: another file",
}
"""Text of a token → the models that have it."""

NO_ENDS: Final = (
    # A turn of harmony has several messages, and `<|end|>` ends one of them.
    ("<|end|>", ("<|return|>", "<|call|>")),
    # OpenAI's harmony format (github.com/openai/harmony), in vocabularies without the two.
    ("<|end|>", ("<|start|>", "<|channel|>", "<|message|>")),
    # Solar Open, which has such messages too.
    ("<|end|>", ("<|flush|>", "<|call|>")),
    ("<|end|>", ("<|flush|>", "<|calls|>")),
    # A word of HTML in these two.
    ("</s>", ("<|tool_response>",)),
    ("</s>", ("<|plamo:eos|>",)),
)
"""A text, and other tokens: in a vocabulary with all of them it ends nothing, even if the metadata says so."""

_INFILLING: Final = frozenset(
    {
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>",
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>",
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>",
    }
)  # fmt: skip
"""Control tokens that end nothing."""
_HARMONY: Final = frozenset({"<|start|>", "<|channel|>", "<|message|>", "<|end|>"})


def end_ids(named: Collection[int], tokens: Mapping[str, int]) -> frozenset[int]:
    """
    Args:
        named: ends by the file's metadata.
        tokens: text → id of the tokens that are no plain text.
    """
    found = {tokens[text] for text in ENDS if text in tokens}.union(named)
    return frozenset(found - {tokens[text] for text in _not_ending(tokens)})


def control_texts(tokens: Collection[str]) -> frozenset[str]:
    """The tokens of this vocabulary that are control tokens, even where their file types them as text."""
    ends = (text for text in ENDS if text in tokens)
    found = {*ends, *(text for text in _INFILLING if text in tokens)} - _not_ending(tokens)
    return frozenset(found | (_HARMONY if all(text in tokens for text in _HARMONY) else frozenset[str]()))


def _not_ending(tokens: Collection[str]) -> set[str]:
    return {text for text, others in NO_ENDS if text in tokens and all(other in tokens for other in others)}
