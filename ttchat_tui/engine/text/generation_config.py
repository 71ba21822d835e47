"""A model's generation_config.json: how its makers would sample it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ttchat_tui.domain.sampling import SamplingParams, checked

_GREEDY: Final = SamplingParams(temperature=0.0, top_k=0, top_p=1.0)


def recommended_sampling(config: Mapping[str, Any]) -> SamplingParams | None:
    """generation_config.json as sampling parameters; None when it recommends none.

    What it does not name cuts nothing, as in vLLM (transformers would put its own top-k of 50 there).
    """
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: config[name] for name in names if config.get(name) is not None}
    if not given:
        return None
    base = _GREEDY if config.get("do_sample") is False else msgspec.structs.replace(_GREEDY, temperature=1.0)
    try:
        return checked(msgspec.structs.replace(base, **given))
    except msgspec.ValidationError:
        return None  # Out of our ranges: better no advice than half of it.
