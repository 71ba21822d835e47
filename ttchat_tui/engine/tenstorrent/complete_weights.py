"""Refuses a checkpoint that lacks weights. tt-metal reads it through transformers, which fills them with random numbers."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ttchat_tui.engine.base import ModelLoadError


@contextmanager
def refuse_missing_weights() -> Generator[None, None, None]:
    """During the block, `from_pretrained` of transformers' models raises ModelLoadError where weights are missing.

    It does nothing if no transformers is imported: then tt-metal reads its checkpoints without it.
    """
    transformers: Any = sys.modules.get("transformers")
    if transformers is None:
        yield
        return
    base = transformers.PreTrainedModel
    original = base.__dict__["from_pretrained"]

    def from_pretrained(
        cls: Any, folder: Any, *args: Any, output_loading_info: bool = False, **more: Any
    ) -> Any:
        model, info = original.__func__(cls, folder, *args, output_loading_info=True, **more)
        missing = sorted(info["missing_keys"])
        if missing:
            others = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise ModelLoadError(
                f"{folder} has no weights {missing[0]}{others}.",
                "Download the model again, or choose another one.",
            )
        return (model, info) if output_loading_info else model

    base.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        base.from_pretrained = original
