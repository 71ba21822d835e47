"""A model's generation_config.json: the sampling parameters that its authors recommend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ttchat_tui.domain.sampling import SamplingParams, checked

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
