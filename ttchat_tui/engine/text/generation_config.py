"""A model's generation_config.json: the sampling parameters that its authors recommend, and the tokens that they never want.

A GGUF file has the same under keys of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import msgspec

from ttchat_tui.domain.sampling import SamplingParams, checked

_UNAPPLIED: Final = (
    "begin_suppress_tokens", "epsilon_cutoff", "eta_cutoff", "exponential_decay_length_penalty", "forced_bos_token_id",
    "forced_eos_token_id", "min_length", "min_new_tokens", "mirostat", "no_repeat_ngram_size", "sequence_bias", "typical_p",
    "xtc_probability",
)  # fmt: skip
"""What changes which tokens are drawn, and is not applied. With any of `_NEUTRAL` it changes nothing."""
_NEUTRAL: Final[tuple[Any, ...]] = (None, 0, 1, [], {})
_GREEDY: Final = SamplingParams(temperature=0.0, top_k=0, top_p=1.0)


def recommended_sampling(config: Mapping[str, Any]) -> SamplingParams | None:
    """generation_config.json as sampling parameters; None if it recommends none.

    Parameters that it does not name have no effect, as in vLLM (transformers would use its own top-k of 50).
    """
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: config[name] for name in names if config.get(name) is not None}
    if not given:
        return None
    base = _GREEDY if config.get("do_sample") is False else msgspec.structs.replace(_GREEDY, temperature=1.0)
    try:
        return checked(msgspec.structs.replace(base, **given))
    except msgspec.ValidationError:
        return None  # Out of our ranges: no recommendation is better than half of one.


def suppressed_ids(config: Mapping[str, Any], end_ids: Collection[int]) -> frozenset[int]:
    """The tokens that are never drawn: `suppress_tokens`, and those of `bad_words_ids` that are one token.

    As in transformers (`SuppressTokensLogitsProcessor`, `NoBadWordsLogitsProcessor`), no bad word ends a reply.
    """
    words = [word for word in _bad_words(config) if len(word) == 1 and word[0] not in end_ids]
    return frozenset([*_ids(config.get("suppress_tokens")), *(word[0] for word in words)])


def unapplied_notes(config: Mapping[str, Any]) -> list[str]:
    """A sentence about what the authors want and the sampler does not do; empty if there is nothing."""
    names = [name for name in _UNAPPLIED if config.get(name) not in _NEUTRAL]
    if any(len(word) > 1 for word in _bad_words(config)):
        names.append("bad_words_ids of several tokens")
    return (
        [f"The model's generation config has {', '.join(names)}, which this app does not apply."]
        if names
        else []
    )


def _bad_words(config: Mapping[str, Any]) -> list[list[int]]:
    value = config.get("bad_words_ids")
    return list(map(_ids, cast(list[Any], value))) if isinstance(value, list) else []


def _ids(value: Any) -> list[int]:
    values = cast(list[Any], value) if isinstance(value, list) else []
    return [each for each in values if type(each) is int and each >= 0]
