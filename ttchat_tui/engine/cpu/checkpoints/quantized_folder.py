"""Folders of safetensors that are quantised for graphics cards: refused, with the GGUF file to take instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ttchat_tui.engine.base import ModelLoadError

_METHODS: Final = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "fp8": "FP8",
    "fbgemm_fp8": "FP8",
    "bitsandbytes": "bitsandbytes",
}
"""`quant_method` of transformers → the name that people use."""
_EIGHT_BITS: Final = ("FP8",)
_SUFFIX: Final = re.compile(
    r"[-_.](gptq|awq|fp8|bnb|bitsandbytes|int4|int8|[48]bit|dynamic).*", re.IGNORECASE
)


def refuse_quantized(folder: Path, config: Mapping[str, Any]) -> None:
    """Let pass what is not quantised, or by a method that transformers runs on a CPU.

    Raises:
        ModelLoadError: it is quantised by another method.
    """
    stated: Any = config.get("quantization_config")
    if (
        not isinstance(stated, Mapping)
        or (method := _METHODS.get(str(stated.get("quant_method", "")).lower())) is None
    ):
        return
    is_8_bit = method in _EIGHT_BITS or stated.get("bits") == 8 or bool(stated.get("load_in_8bit"))
    name = _SUFFIX.sub("", folder.name) or folder.name
    raise ModelLoadError(
        f"The weights in {folder} are quantised with {method}, which needs a graphics card.",
        f"Download a GGUF file of the model, such as {name}-{'Q8_0' if is_8_bit else 'Q4_K_M'}.gguf.",
    )
