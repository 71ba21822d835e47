"""All weights of a model for the compiled kernel: packed from the file's own bytes, which need no float copy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.checkpoints.parts import half_split_rows
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.linear import NativeLinear
from ttchat_tui.engine.cpu.native.step import NativeLayer
from ttchat_tui.engine.cpu.native.tiles import (
    NotPackable,
    RawPart,
    SourcePart,
    is_packable,
    recipe_of,
    rounded_to_q8_0,
)
from ttchat_tui.engine.cpu.weights.weights import MatrixPart, convert_layers, joined_bias
from ttchat_tui.engine.decoding.rules import NoUsableLogits

_CURE: Final = "Download the file again, or another quantisation of it."


class NativeWeights(msgspec.Struct, frozen=True):
    embed: Embedding
    layers: list[NativeLayer]
    norm: NDArray[np.float32]
    """[hidden], weight of the final norm, with the scale of the logits. It multiplies the activations, which have the finer steps."""
    head: NativeLinear
    """hidden → at least vocab."""


class Embedding:
    """The rows of the embedding, read from the file when they are needed: a prompt has few of them."""

    def __init__(self, library: Library, part: RawPart) -> None:
        self._library = library
        self._part = part
        self._source: SourcePart = recipe_of([part], is_paired=False, rounded=None).parts[0]

    def rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """[ids, hidden], rounded to float16 where that holds them.

        Raises:
            NoUsableLogits: they are infinite or not numbers.
        """
        rounded = self._library.unpack_halves(self._source, self._part.shape[1], ids)
        if rounded is not None:
            return rounded
        rows = self._library.unpack(self._part, np.array(ids, np.int32))
        if not np.isfinite(rows).all():
            raise NoUsableLogits(
                "The model's embedding is infinite or not a number for a token of the text.", _CURE
            )
        return rows


def convert_weights(
    checkpoint: Checkpoint,
    library: Library,
    rounded: Literal["int4", "int8"] | None,
    report: Callable[[int, int], None],
) -> NativeWeights:
    """Pack all weights, on all of the library's threads. `report` as for `convert_layers`.

    Args:
        rounded: round what has more bits in the file to 4 or 8.
    Raises:
        ModelLoadError: a weight is missing, or cannot be read or packed.
    """
    build = _NativeBuilder(checkpoint, library, rounded)
    report(0, checkpoint.config.layers)
    norm = checkpoint.tensor("norm") * np.float32(checkpoint.config.logit_scale)
    layers = convert_layers(checkpoint, build, report, workers=1)
    return NativeWeights(Embedding(library, build.raw("embed")), layers, norm, build.head())


def stored_format(checkpoint: Checkpoint) -> str:
    """The format in which most weights of the layers are packed without rounding: `q5_k`, `bf16`. A file that is named after
    one format (Q4_K_M) has others too."""
    weights: Counter[str] = Counter()
    for name in checkpoint.names:
        raw = checkpoint.raw(name) if name.startswith("layers.") else None
        if raw is not None and len(raw.shape) > 1:
            weights[raw.kind if is_packable(raw.kind) else "Q8_0"] += math.prod(raw.shape)
    return weights.most_common(1)[0][0].lower() if weights else ""


class _NativeBuilder:
    """A `Builder`."""

    def __init__(
        self, checkpoint: Checkpoint, library: Library, rounded: Literal["int4", "int8"] | None
    ) -> None:
        self._checkpoint = checkpoint
        self._library = library
        self._rounded: Literal["int4", "int8"] | None = rounded

    def vector(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values

    def matrix(self, *parts: MatrixPart, is_gate_up: bool = False) -> NativeLinear:
        bias = joined_bias(self._checkpoint, parts)
        return self._packed(parts, bias, is_paired=is_gate_up, rounded=self._rounded)

    def head(self) -> NativeLinear:
        name = "embed" if self._checkpoint.config.is_head_tied else "head"
        # Four bits by request are for the layers only.
        return self._packed([MatrixPart(name)], None, rounded="int8" if self._rounded else None)

    def raw(self, name: str, part: MatrixPart | None = None) -> RawPart:
        """The file's own bytes; of types that the kernel does not read, 8 bits."""
        raw, rotary_size = self._checkpoint.raw(name), self._checkpoint.config.rotary_size
        rows = np.arange(raw.shape[0], dtype=np.int32)
        shape = (raw.shape[0], raw.shape[1])
        if is_packable(raw.kind):
            kind, data = raw.kind, raw.data
            order = half_split_rows(rows, raw.paired_heads, rotary_size) if raw.paired_heads else rows
        else:
            kind, data, order = "Q8_0", rounded_to_q8_0(self._checkpoint.tensor(name)), rows
        if part is not None and part.reorder:
            order = part.reorder(order)
        is_moved = not np.array_equal(order, rows)
        factor = 1.0 if part is None else part.factor
        return RawPart(kind, shape, data, np.ascontiguousarray(order) if is_moved else None, factor)

    def _packed(
        self,
        parts: Sequence[MatrixPart],
        bias: NDArray[np.float32] | None,
        *,
        is_paired: bool = False,
        rounded: Literal["int4", "int8"] | None,
    ) -> NativeLinear:
        raw = [self.raw(part.name, part) for part in parts]
        try:
            linear = NativeLinear(self._library, raw, bias, is_paired=is_paired, rounded=rounded)
        except NotPackable as error:
            raise ModelLoadError(
                f"A weight cannot be loaded: {error}.",
                _CURE,
            ) from error
        for part in parts:
            self._checkpoint.release(part.name)
        return linear
