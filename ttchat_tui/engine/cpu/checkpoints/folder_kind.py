"""What a model folder holds that does not run here, in words: weights quantised for other machines, models that do not chat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from ttchat_tui.domain.model_files import without_safetensors
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.safetensors_container import SafetensorsContainer

_METHODS: Final = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "fp8": "FP8",
    "fbgemm_fp8": "FP8",
    "modelopt": "NVIDIA's ModelOpt",
    "compressed-tensors": "compressed-tensors",
    "bitsandbytes": "bitsandbytes",
    "bitnet": "BitNet",
    "aqlm": "AQLM",
    "hqq": "HQQ",
    "exl2": "ExLlama",
    "exl3": "ExLlama",
    "quark": "AMD's Quark",
    "torchao": "torchao",
    "auto-round": "AutoRound",
}
"""`quantization_config.quant_method` of config.json. Not `mxfp4`, which transformers turns into float numbers on the CPU."""
_WITHOUT_TEXT: Final = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
"""Endings of `architectures` in config.json: heads that write no text."""
_PACKED: Final = re.compile(r".*\.(qweight|qzeros|weight_packed|weight_quant)")
"""Tensors of GPTQ, AWQ, compressed-tensors and their kin."""
_NO_FLOATS: Final = frozenset({"I8", "U8", "I16", "U16", "I32", "U32"})
_SUFFIX: Final = re.compile(
    r"[-_.](gptq|awq|fp8|nvfp4|bnb|mlx|exl[23]|hqq|quantized|w\d+a\d+|int[48]|[348]bit|[348]-bit|dynamic|4bits?)\b.*",
    re.IGNORECASE,
)


def check_folder_kind(folder: Path, raw: Mapping[str, Any], name: str) -> None:
    """
    Args:
        raw: its config.json.
        name: the model's, as shown.
    Raises:
        ModelLoadError: the folder's weights are in a form that does not run here, or it is no model to chat with.
    """
    method = _quantised_by(raw)
    if not method and not raw.get("quantization_config"):
        method = _packed_by(folder)
    if method:
        base = _SUFFIX.sub("", name.rstrip("/").rpartition("/")[2]) or "its name"
        raise ModelLoadError(
            f"{folder} holds weights quantised by {method}, which do not run on the CPU.",
            f"Take a GGUF file of the model: search for {base}-GGUF, and choose Q4_K_M or Q8_0.",
        )
    architectures = raw.get("architectures")
    for each in cast(list[Any], architectures) if isinstance(architectures, list) else []:
        if str(each).endswith(_WITHOUT_TEXT):
            raise ModelLoadError(
                f"{folder} holds a {each}, which writes no text.",
                "Choose a model for chats: its architecture ends in ForCausalLM.",
            )
    if (folder / "adapter_config.json").is_file() and any(folder.glob("adapter_model.*")):
        raise ModelLoadError(
            f"{folder} holds an adapter (adapter_config.json) beside the model, and weights with an adapter are another model.",
            "Merge it into the model, or move adapter_config.json away to chat with the model alone.",
        )
    if not any(folder.glob("*.safetensors")):
        names = [file.name for file in folder.iterdir()]
        raise ModelLoadError(
            f"{folder} {without_safetensors(names)}.", "Download the model with .safetensors files."
        )


def _quantised_by(raw: Mapping[str, Any]) -> str:
    config = _table(raw, "quantization_config")
    method = config.get("quant_method")
    if method is not None:
        return "" if method == "mxfp4" else _METHODS.get(str(method), str(method))
    if any(key.lstrip("_").startswith("load_in_") for key in config):
        return "bitsandbytes"
    mlx = _table(raw, "quantization") or config
    if not mlx:
        return ""
    bits = mlx.get("bits")
    return f"MLX in {bits} bits" if bits else "MLX"


def _packed_by(folder: Path) -> str:
    """How weights are quantised of which config.json says nothing; empty if they are floats, or cannot be read."""
    for path in sorted(folder.glob("*.safetensors")):
        with suppress(ModelLoadError):  # The load explains it.
            for name, kind in SafetensorsContainer(path).kinds.items():
                if kind.startswith("F8") and name.endswith("weight"):
                    return f"FP8 (the tensor {name})"
                if _PACKED.fullmatch(name) or (name.endswith(".weight") and kind in _NO_FLOATS):
                    return f"a method that config.json does not name (the tensor {name})"
    return ""


def _table(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The table of this name; empty if there is none."""
    value = raw.get(key)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
