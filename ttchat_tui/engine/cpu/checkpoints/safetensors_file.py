"""A folder in Hugging Face's layout (config.json, safetensors, optionally an index) as a `Checkpoint`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.model_files import SINGLE_FILE, is_index_stale
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import TEXT_ONLY, ModelConfig, RawTensor, finite
from ttchat_tui.engine.cpu.checkpoints.hf_config import read_config, why_not_own
from ttchat_tui.engine.cpu.checkpoints.parts import (
    TensorPart,
    half_split_rows,
    lacking_bias,
    parts_by_name,
    shape_of,
    times,
)
from ttchat_tui.engine.cpu.checkpoints.safetensors_container import SafetensorsContainer
from ttchat_tui.engine.cpu.families import Family
from ttchat_tui.engine.text.json_file import read_json, read_json_if_there

_PREFIX: Final = re.compile(r"(model\.language_model|language_model\.model|language_model|model)\.")
"""Of a language model, alone or within one that also sees images. Some folders have none."""
_TOP: Final = {"embed_tokens.weight": "embed", "norm.weight": "norm", "lm_head.weight": "head"}
_LAYER: Final = {
    "input_layernorm.weight": "attn_norm",
    "self_attn.q_proj.weight": "q",
    "self_attn.k_proj.weight": "k",
    "self_attn.v_proj.weight": "v",
    "self_attn.o_proj.weight": "o",
    "self_attn.q_proj.bias": "q_bias",
    "self_attn.k_proj.bias": "k_bias",
    "self_attn.v_proj.bias": "v_bias",
    "self_attn.o_proj.bias": "o_bias",
    "self_attn.q_norm.weight": "q_norm",
    "self_attn.k_norm.weight": "k_norm",
    "mlp.gate_proj.weight": "gate",
    "mlp.up_proj.weight": "up",
    "mlp.down_proj.weight": "down",
    "mlp.gate_proj.bias": "gate_bias",
    "mlp.up_proj.bias": "up_bias",
    "mlp.down_proj.bias": "down_bias",
    "self_attn.qkv_proj.weight": "qkv",
    "mlp.gate_up_proj.weight": "gate_up",
    "shared_mlp.input_linear.weight": "gate_up",
    "shared_mlp.output_linear.weight": "down",
    "post_self_attn_layernorm.weight": "attn_post_norm",
    "pre_feedforward_layernorm.weight": "ffn_norm",
    "post_feedforward_layernorm.weight": "ffn_post_norm",
    "post_mlp_layernorm.weight": "ffn_post_norm",
    "mlp.gate.weight": "router",
    "block_sparse_moe.gate.weight": "router",
}
_EXPERT: Final = re.compile(r"(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.weight")
_OF_EXPERT: Final = {
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down",
    "w1": "gate", "w3": "up", "w2": "down",
}  # fmt: skip
"""Qwen's names, then Mixtral's."""
_OF_LAYER: Final = re.compile(r"layers\.(\d+)\.(.+)")
"""A canonical name."""
_COMPARED: Final = 2**24
"""Bytes of two weights that are compared at once."""
_IGNORED: Final = re.compile(r".*\.rotary_emb\.inv_freq")


class SafetensorsFolder:
    """A `Checkpoint`."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ModelLoadError: the folder is unreadable or incomplete, or the model is not supported.
        """
        self._folder = folder
        raw = read_json(folder / "config.json")
        reason = why_not_own(raw)
        if reason:
            raise ModelLoadError(f"{folder} contains {reason}, which our own forward does not run.")
        self.config = read_config(raw)
        self._files = _locate_tensors(folder)
        names = {
            _canonical(key, self.config.traits): key for key in self._files if not _IGNORED.fullmatch(key)
        }
        self._parts = parts_by_name(names, self.config)
        has_more = isinstance(raw.get("text_config"), dict)
        unread = (key for name, key in names.items() if not _is_read(name, self.config))
        beside = {key for key in names.values() if has_more and _is_beside_text(key)}
        self.notes = (TEXT_ONLY,) if beside else ()
        self.unread = next((key for key in unread if key not in beside), "")
        """A tensor that the forward does not read; empty if it reads all."""
        if not self.unread:
            self._check_shapes(names)
            self._part(lacking_bias(self._parts, self.config) or "norm")
        self._tie_ends()
        self.rope_factors: NDArray[np.float32] | None = None
        self.generation_config: Mapping[str, Any] = read_json_if_there(folder / "generation_config.json")

    def _tie_ends(self) -> None:
        """As transformers ties embedding and head: only equal ones, and the one that is there serves as both."""
        ends = [self._parts[name] for name in ("embed", "head") if name in self._parts]
        if self.config.is_head_tied and len(ends) == 1:
            self._parts["embed"] = ends[0]
        elif self.config.is_head_tied and not self._is_same(*ends):
            self.config = msgspec.structs.replace(self.config, is_head_tied=False)

    def _is_same(self, one: TensorPart, other: TensorPart) -> bool:
        first, second = (self._files[part.tensor].raw(part) for part in (one, other))
        pieces = range(0, len(first.data), _COMPARED)
        return (first.kind, first.shape) == (second.kind, second.shape) and all(
            np.array_equal(first.data[at : at + _COMPARED], second.data[at : at + _COMPARED]) for at in pieces
        )

    def _check_shapes(self, names: Mapping[str, str]) -> None:
        """Raises ModelLoadError for a weight of another shape than config.json gives. `names`: canonical → in the file."""
        for name, tensor in names.items():
            shape, found = shape_of(name, self.config), self._files[tensor].shape(tensor)
            if shape is not None and found != shape:
                raise ModelLoadError(
                    f"The tensor {tensor} in {self._folder} has the shape {times(found)}; config.json gives {times(shape)}.",
                    "Download the model again: its files are of different models or versions.",
                )

    @property
    def names(self) -> Collection[str]:
        return self._parts.keys()

    def tensor(self, name: str) -> NDArray[np.float32]:
        part = self._part(name)
        file = self._files[part.tensor]
        weight = finite(part.tensor, file.float32(part))
        file.release(part.tensor)
        if name.endswith("norm"):
            weight += np.float32(self.config.traits.norm_offset)
        heads = self._paired_heads(name)
        return half_split_rows(weight, heads, self.config.rotary_size) if heads else weight

    def raw(self, name: str) -> RawTensor:
        part = self._part(name)
        raw = self._files[part.tensor].raw(part)
        return msgspec.structs.replace(raw, paired_heads=self._paired_heads(name))

    def release(self, name: str) -> None:
        part = self._part(name)
        self._files[part.tensor].release(part.tensor)

    def _paired_heads(self, name: str) -> int:
        """The number of heads in which the rows of this weight are in pair order; 0 if they are not."""
        last = name.rpartition(".")[2]
        if not self.config.traits.has_pairs or last not in ("q", "k", "q_bias", "k_bias"):
            return 0
        return self.config.heads if last[0] == "q" else self.config.kv_heads

    def _part(self, name: str) -> TensorPart:
        if name not in self._parts:
            raise ModelLoadError(
                f"{self._folder} has no tensor {_file_name(name)}.", "Download the model again."
            )
        return self._parts[name]

    @property
    def stored_bits(self) -> Literal[4, 8, 16]:
        return 16

    def int4_blocks(self, name: str) -> None:
        """None: these folders have no 4-bit blocks."""


def _locate_tensors(folder: Path) -> dict[str, SafetensorsContainer]:
    """Name in a file → the file."""
    weight_map = _read_index(folder)
    present = [path.name for path in sorted(folder.glob("*.safetensors"))]
    if weight_map and not is_index_stale(weight_map.values(), present):
        files = {name: SafetensorsContainer(folder / name) for name in set(weight_map.values())}
        places = {key: files[name] for key, name in weight_map.items()}
    else:
        whole = [SINGLE_FILE] if SINGLE_FILE in present else present
        places = _all_tensors(folder, whole)
    if not places:
        raise ModelLoadError(f"{folder} contains no safetensors files.", "Download the model again.")
    return places


def _all_tensors(folder: Path, names: Collection[str]) -> dict[str, SafetensorsContainer]:
    """As `_locate_tensors`, of files without an index."""
    places: dict[str, SafetensorsContainer] = {}
    for name in names:
        file = SafetensorsContainer(folder / name)
        if twice := sorted(places.keys() & file.names):
            raise ModelLoadError(
                f"{folder} has the tensor {twice[0]} in several files, such as {name}, and no index.",
                "Keep the files of one model in the folder.",
            )
        places |= dict.fromkeys(file.names, file)
    return places


def _read_index(folder: Path) -> dict[str, str]:
    """Tensor → file; empty without an index.

    Raises:
        ModelLoadError: it is damaged.
    """
    path = folder / "model.safetensors.index.json"
    found = read_json_if_there(path).get("weight_map", {})
    try:
        return msgspec.convert(found, decodable(dict[str, str]))
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"{path} is damaged: {error}.", "Download the model again.") from error


def _is_read(name: str, config: ModelConfig) -> bool:
    """Whether `weights.py` reads the tensor of this canonical name, which may be a joined one."""
    layer = _OF_LAYER.fullmatch(name)
    if layer is None:
        return name in _TOP.values()
    number, part = int(layer[1]), layer[2]
    norms = config.traits.norms
    is_there = {
        "attn_norm": norms != "after",
        "ffn_norm": norms != "after",
        "attn_post_norm": norms != "before",
        "ffn_post_norm": norms != "before",
        "router": config.routing is not None,
        "experts": config.routing is not None,
    }
    return number < config.layers and is_there.get(part.partition(".")[0], True)


def _is_beside_text(key: str) -> bool:
    """Whether a tensor is of another part of a model that also sees images."""
    return not _PREFIX.sub("", key, count=1).startswith(("layers.", "embed_tokens.", "norm.", "lm_head."))


def _file_name(name: str) -> str:
    """The canonical name → the usual one in these files."""
    known = {ours: theirs for theirs, ours in reversed((_TOP | _LAYER).items())}
    if not name.startswith("layers."):
        return known[name] if name == "head" else f"model.{known[name]}"
    _, number, part = name.split(".", 2)
    return f"model.layers.{number}.{known.get(part, part)}"


def _canonical(key: str, family: Family) -> str:
    """The canonical name, or that of a joined tensor; unknown names are unchanged."""
    short = _PREFIX.sub("", key, count=1)
    if short in _TOP:
        return _TOP[short]
    match = re.fullmatch(r"layers\.(\d+)\.(.+)", short)
    if match is None:
        return key
    layer, name = match.groups()
    if name == "post_attention_layernorm.weight":
        return f"layers.{layer}.{family.post_attention_layernorm}"
    if (expert := _EXPERT.fullmatch(name)) and expert[2] in _OF_EXPERT:
        return f"layers.{layer}.experts.{expert[1]}.{_OF_EXPERT[expert[2]]}"
    return f"layers.{layer}.{_LAYER[name]}" if name in _LAYER else key
