r"""How byte-level vocabularies split a text before merging: one row for each `tokenizer.ggml.pre` of llama.cpp.

Names, patterns and flags: src/llama-vocab.cpp (`llm_tokenizer_bpe`, `llama_vocab::impl::load`). Its std::regex knows no
classes of letters; where it quotes the original of the model's tokenizer.json, the original is here. Each pattern splits the
pieces of the one before it, and what it does not match are pieces too. The syntax is Oniguruma's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Split(NamedTuple):
    """One way of splitting."""

    patterns: tuple[str, ...]
    merges_within_words: bool = True
    """False: a piece that is a token is that token, whatever the merges say (`ignore_merges`)."""
    adds_beginning: bool = False
    """Every text begins with the token for it, where the file does not say."""
    is_composed: bool = False
    """Unicode's NFC before the split, as the tokenizer.json of these models; llama.cpp leaves it out."""
    spells_bytes: bool = True
    """Vocabulary in GPT-2's letters for bytes. False: in characters, "▁" for a space and <0xNN> for other bytes."""


_ENDINGS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_OTHERS: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER: Final = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
_LOWER: Final = r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CASED: Final = rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+%(endings)s|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*%(endings)s"
"""Words that end before a capital letter."""
_CASED_OTHERS: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED_WITH_ENDINGS: Final = _CASED % {"endings": f"{_ENDINGS}?"}
_CODE_WORDS: Final = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CJK: Final = "[一-龥\u3040-ゟ゠-ヿ]+"
_NO_HAN: Final = r"&&[^\p{Han}]"

_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3: Final = rf"{_ENDINGS}|{_WORDS}|\p{{N}}{{1,3}}{_OTHERS}"
_QWEN2: Final = rf"{_ENDINGS}|{_WORDS}|\p{{N}}{_OTHERS}"
_QWEN35: Final = (
    rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_GPT4O: Final = rf"{_CASED_WITH_ENDINGS}|\p{{N}}{{1,3}}{_CASED_OTHERS}"
_TEKKEN: Final = rf"{_CASED % {'endings': ''}}|\p{{N}}{_CASED_OTHERS}"
_LONG_SPACES: Final = "".join(rf"|\s{{{size}}}(?!\S)" for size in (512, 256, 128, 64, 32, 16, 8, 4))
_JAIS2: Final = rf"{_ENDINGS}|{_WORDS}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+{_LONG_SPACES}|\s{{1,2}}(?!\S)|\s{{1}}"
_BAILING: Final = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_SEED: Final = rf"{_ENDINGS}|{_WORDS}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
_EXAONE_MOE: Final = (
    rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]?"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
_HAN_WORDS: Final = (
    r"[\p{Han}]+"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}{_NO_HAN}]*[{_LOWER}{_NO_HAN}]+{_ENDINGS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}{_NO_HAN}]+[{_LOWER}{_NO_HAN}]*{_ENDINGS}?|\p{{N}}{{1,3}}{_OTHERS}"
)
_ASIAN: Final = (
    "[一-鿿㐀-䶿豈-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdfเ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+"
)
_DEEPSEEK_LETTERS: Final = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-"
    "\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-"
    "\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-"
    "\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-"
    "\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-"
    "\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-"
    "\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-"
    "\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
"""Its own list of letters that have cases."""

_ROWS: Final = (
    ("default", Split((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"))),
    (
        (
            "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de "
            "jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe"
        ),
        Split((_GPT2,)),
    ),
    ("smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", Split((r"\p{N}", _GPT2))),
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        Split((_LLAMA3,), merges_within_words=False, adds_beginning=True),
    ),
    ("dbrx smaug-bpe chatglm-bpe", Split((_LLAMA3,))),
    ("glm4 glm5", Split((_LLAMA3,), merges_within_words=False)),
    ("jais-2", Split((_JAIS2,))),
    ("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez", Split((_QWEN2,), is_composed=True)),
    ("stablelm2 hunyuan solar-open grok-2", Split((_QWEN2,))),
    ("qwen35", Split((_QWEN35,))),
    ("ufakzeka", Split((rf"{_WORDS}|\p{{N}}{_OTHERS}",))),
    ("laguna", Split((r"[^\n]+|[\n]+", _QWEN2))),
    ("minicpm5", Split((r"\p{N}{1,3}", rf"{_ENDINGS}|{_WORDS}|\p{{N}}+{_OTHERS}"), merges_within_words=False)),
    ("deepseek-coder", Split((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"))),
    (
        "deepseek-llm",
        Split(
            (
                r"[\r\n]", rf"\s?[{_DEEPSEEK_LETTERS}]+", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$",
                "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}+",
            )
        ),
    ),
    ("deepseek-v3 hunyuan-dense joyai-llm hy_v4", Split((r"\p{N}{1,3}", _CJK, _CODE_WORDS))),
    (
        "spark2_5",
        Split((r"\p{N}{1,3}", _CJK, _CODE_WORDS.replace(r"[\r\n]*|\s*[\r\n]+|", r"|[\r\n]|"), r"\p{N}")),
    ),
    (
        "youtu",
        Split(
            (
                "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+",
                rf"{_CASED_WITH_ENDINGS}|\p{{N}}{_CASED_OTHERS}",
            ),
            merges_within_words=False,
        ),
    ),
    ("falcon", Split((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"))),
    ("poro-chat bloom gpt3-finnish", Split((r" ?[^(\s|.,!?…。，、।۔،)]+",))),
    ("viking", Split((r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"))),
    ("tekken", Split((_TEKKEN,), merges_within_words=False, adds_beginning=True)),
    (
        "chameleon",
        Split(
            (
                "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]", _GPT2,
            ),
            adds_beginning=True,
        ),
    ),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", Split((_GPT4O,))),
    ("granite-embed-multi-97m", Split((_GPT4O,), merges_within_words=False)),
    ("tiny_aya cohere2moe", Split((r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O))),
    ("kimi-k2", Split((_HAN_WORDS,))),
    ("superbpe", Split((r"\p{N}+", r"(?=(\d{3})+(?!\d))"))),
    ("bailingmoe bailingmoe2 llada-moe", Split((_BAILING,))),
    ("seed-coder", Split((_SEED,))),
    ("afmoe", Split((r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", _ASIAN, _CODE_WORDS))),
    ("exaone-moe", Split((_EXAONE_MOE,))),
    ("gemma4 granite-embed-multi-311m", Split((r"[^\n]+|[\n]+",), adds_beginning=True, spells_bytes=False)),
    ("sarvam-moe", Split((r"[^\n]+|[\n]+",), spells_bytes=False)),
)  # fmt: skip

SPLITS: Final[Mapping[str, Split]] = {name: split for names, split in _ROWS for name in names.split()}
"""By `tokenizer.ggml.pre`. Missing: `whitespace`, of models that embed texts."""
