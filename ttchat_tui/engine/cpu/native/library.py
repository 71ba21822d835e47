"""ctypes bindings of decode.c. Calls release the GIL."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.cpu.native.tiles import (
    WIDTH,
    NotPackable,
    RawPart,
    Recipe,
    SourcePart,
    TileRow,
    Tiles,
    recipe_of,
)
from ttchat_tui.engine.cpu.weights.large_pages import Arena
from ttchat_tui.engine.decoding.passes import BLOCK, NUMPY, Units, factor_of
from ttchat_tui.engine.decoding.selection import Floats, Ids

MAX_ROWS: Final = 8
"""MAX_ROWS of matrix.h: rows in one pass over the weights."""
_Byte: Final = ctypes.c_char
_FLOAT: Final = 4
"""Bytes."""
_SURVEY_PARTS: Final = 4
"""SURVEY_PARTS of passes.h."""
_SCORE_GROUP: Final = 32
"""SCORE_GROUP of passes.h."""


_packing: Final = threading.Lock()
"""The thread pool of a compiled library takes one call at a time, from all `Library` objects."""


class Matrix(ctypes.Structure):
    """`Matrix` of matrix.h. Its creator must keep what it points to."""

    _fields_ = [
        ("outputs", ctypes.c_int32),
        ("inputs", ctypes.c_int32),
        ("rows", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("is_paired", ctypes.c_int32),
        ("padding", ctypes.c_int32),
    ]


class Layer(ctypes.Structure):
    """`Layer` of layer.h."""

    _fields_ = [
        ("attn_norm", ctypes.c_void_p),
        ("ffn_norm", ctypes.c_void_p),
        ("attn_post_norm", ctypes.c_void_p),
        ("ffn_post_norm", ctypes.c_void_p),
        ("qk_norm", ctypes.c_void_p),
        ("qkv", Matrix),
        ("o", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("router", ctypes.c_void_p),
        ("experts", ctypes.POINTER(Matrix)),
        ("window", ctypes.c_int32),
        ("rope", ctypes.c_int32),
    ]


class LayerStack(ctypes.Structure):
    """`LayerStack` of layer.h."""

    _fields_ = [
        ("hidden", ctypes.c_int32),
        ("ffn", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("kv_heads", ctypes.c_int32),
        ("head_size", ctypes.c_int32),
        ("layers", ctypes.c_int32),
        ("eps", ctypes.c_float),
        ("residual_scale", ctypes.c_float),
        ("score_cap", ctypes.c_float),
        ("is_gelu", ctypes.c_int32),
        ("is_whole_qk_norm", ctypes.c_int32),
        ("experts", ctypes.c_int32),
        ("used", ctypes.c_int32),
        ("expert_ffn", ctypes.c_int32),
        ("is_routing_normed", ctypes.c_int32),
        ("layer", ctypes.POINTER(Layer)),
    ]


class RowPlace(ctypes.Structure):
    """`RowPlace` of layer.h."""

    _fields_ = [
        ("position", ctypes.c_int32),
        ("shared", ctypes.c_int32),
        ("slot", ctypes.c_int32),
        ("q_scale", ctypes.c_float),
    ]


class Caches(ctypes.Structure):
    """`Caches` of layer.h."""

    _fields_ = [
        ("shared", ctypes.POINTER(ctypes.c_void_p)),
        ("own", ctypes.POINTER(ctypes.c_void_p)),
        ("shared_capacity", ctypes.c_int32),
        ("own_capacity", ctypes.c_int32),
        ("own_slots", ctypes.c_int32),
        ("is_q8", ctypes.c_int32),
    ]


class Library:
    """The compiled library, with `Passes`. It has one thread pool and one workspace: only one thread may call it at a time."""

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self.arena = Arena()
        """Memory for weights."""
        self._multiply: Any = compiled.multiply
        self._multiply.argtypes = [ctypes.POINTER(Matrix), ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        self._run_layers: Any = compiled.run_layers
        self._run_layers.argtypes = [
            ctypes.POINTER(LayerStack), ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32,
            ctypes.c_int32, ctypes.POINTER(RowPlace), ctypes.POINTER(Caches),
        ]  # fmt: skip
        self._packed_bytes: Any = compiled.packed_bytes
        self._packed_bytes.argtypes = [ctypes.POINTER(Recipe), ctypes.POINTER(TileRow)]
        self._packed_bytes.restype = ctypes.c_int64
        self._pack: Any = compiled.pack
        self._pack.argtypes = [ctypes.POINTER(Recipe), ctypes.POINTER(TileRow), ctypes.c_void_p]
        self._unpack: Any = compiled.unpack
        self._unpack.argtypes = [
            ctypes.POINTER(SourcePart), ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p,
        ]  # fmt: skip
        self._unpack_halves: Any = compiled.unpack_halves
        self._unpack_halves.argtypes = self._unpack.argtypes
        self._run_head: Any = compiled.run_head
        self._run_head.argtypes = [
            ctypes.POINTER(Matrix), ctypes.c_void_p, ctypes.c_float, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p,
            ctypes.c_int32, ctypes.c_float, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self._surveyed = _Survey(
            np.empty((1, 1), np.float32), 0, [], np.empty((0, 0), np.float32), np.empty((0, 0), np.int64)
        )
        self._weigh: Any = compiled.weigh_scores
        self._sum_weights: Any = compiled.sum_weights
        for each in (self._weigh, self._sum_weights):
            each.argtypes = [
                ctypes.c_void_p, ctypes.c_int32, ctypes.c_float, ctypes.c_float, ctypes.c_void_p,
            ]  # fmt: skip
            each.restype = None
        self._sum_weighted: Any = compiled.sum_weighted
        self._sum_weighted.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_float, ctypes.c_float]
        self._sum_weighted.restype = ctypes.c_int64
        self._find_top_k: Any = compiled.find_top_k
        self._find_top_k.argtypes = [
            ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
            ctypes.c_void_p,
        ]  # fmt: skip
        self._find_top_k.restype = None
        self._values, self._places = np.empty(0, np.float32), np.empty(0, np.int32)
        """Space of `find_top_k`."""
        self._set_threads: Any = compiled.set_threads
        self._set_threads.argtypes = [ctypes.c_int32]

    def set_threads(self, count: int) -> None:
        """Run calls on `count` threads, the caller's included."""
        self._set_threads(count)

    def pack(
        self,
        parts: Sequence[RawPart],
        *,
        is_paired: bool = False,
        rounded: Literal["int4", "int8"] | None = None,
    ) -> Tiles:
        """Pack weights, one below the other, on all threads. 0.3 to 0.9 ns of CPU time a weight.

        Args:
            is_paired: the first half of the outputs is gate, the second one up; they share tiles.
            rounded: round what has more bits in the file to 4 or 8; None keeps the weights.
        Raises:
            NotPackable: the kernel does not read a type, or weights are infinite or not numbers.
        """
        if (tiles := self._packed(parts, is_paired, rounded)) is not None:
            return tiles
        # A scale is beyond float16. This holds any number.
        if (tiles := self._packed(parts, is_paired, "fp32")) is not None:
            return tiles
        raise NotPackable("weights are infinite or not numbers")

    def _packed(
        self, parts: Sequence[RawPart], is_paired: bool, rounded: Literal["int4", "int8", "fp32"] | None
    ) -> Tiles | None:
        recipe = recipe_of(parts, is_paired=is_paired, rounded=rounded)
        rows = (TileRow * (int(recipe.outputs) // WIDTH))()
        size = int(self._packed_bytes(recipe, rows))
        if size == 0:
            raise NotPackable(f"rows of {recipe.inputs} weights are no whole number of blocks")
        memory = self.arena.take(size)
        with _packing:
            is_finite = self._pack(recipe, rows, memory.ctypes.data) == 0
        if not is_finite:
            return None
        return Tiles(int(recipe.outputs), int(recipe.inputs), rows, memory)

    def unpack(self, part: RawPart, rows: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """Rows of a weight as float32 [rows, inputs], in its order, without its factor; None takes all.

        Raises:
            IndexError: there is no such row.
            NotPackable: the kernel does not read the type.
        """
        recipe = recipe_of([part], is_paired=False, rounded=None)
        count = part.shape[0] if rows is None else len(rows)
        out = np.empty((count, part.shape[1]), np.float32)
        if rows is not None and count and not 0 <= rows.min() <= rows.max() < part.shape[0]:
            raise IndexError(f"a row of {rows.min()} to {rows.max()} is not one of {part.shape[0]}")
        wanted = None if rows is None else rows.ctypes.data
        if self._unpack(recipe.parts, part.shape[1], wanted, count, out.ctypes.data):
            raise NotPackable(f"rows of {part.shape[1]} weights are no whole number of blocks")
        return out

    def unpack_halves(
        self, source: SourcePart, inputs: int, rows: Sequence[int]
    ) -> NDArray[np.float32] | None:
        """As `unpack`, rounded to float16; None: that does not hold all numbers. `source`: of `recipe_of`.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= min(rows) <= max(rows) < int(source.rows):
            raise IndexError(f"a row of {min(rows)} to {max(rows)} is not one of {source.rows}")
        wanted, out = np.array(rows, np.int32), np.empty((len(rows), inputs), np.float32)
        is_beyond = self._unpack_halves(source, inputs, address(wanted), len(rows), address(out))
        return None if is_beyond else out

    def multiply(self, matrix: Matrix, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """[rows, inputs], contiguous → [rows, outputs], bias included.

        Raises:
            MemoryError: no memory for the rounded activations.
        """
        out = np.empty((len(x), int(matrix.outputs)), np.float32)
        if self._multiply(matrix, address(x), len(x), address(out)):
            raise MemoryError
        return out

    def run_head(
        self, matrix: Matrix, norm: NDArray[np.float32], eps: float, x: NDArray[np.float32], vocab_size: int
    ) -> NDArray[np.float32]:
        """Logits [rows, vocab_size] of hidden states x [rows, hidden], contiguous: RMSNorm and the product with `matrix`. Those of
        a row that is infinite or not a number are NaN. What a sampler asks of them first is made beside, and kept.

        Raises:
            MemoryError: no memory for the workspace.
        """
        rows = len(x)
        out = np.empty((rows, int(matrix.outputs)), np.float32)
        tops = np.empty(rows * _SURVEY_PARTS, np.int32)
        maxima = np.empty((rows, -(-vocab_size // _SCORE_GROUP)), np.float32)
        sums = np.empty((rows, -(-vocab_size // BLOCK)), np.int64)
        if self._run_head(
            matrix, address(norm), eps, address(x), rows, address(out), vocab_size, factor_of(1.0), address(tops),
            address(maxima), address(sums),
        ):  # fmt: skip
            raise MemoryError
        self._surveyed = _Survey(out, vocab_size, tops[:rows].tolist(), maxima, sums)
        return out[:, :vocab_size]

    def top_id(self, scores: Floats) -> int:
        """As `Passes.top_id`."""
        row = self._surveyed.row_of(scores)
        return int(scores.argmax()) if row is None else self._surveyed.tops[row]

    def weights(self, scores: Floats, top: np.float32, temperature: float) -> Floats:
        """As `Passes.weights`."""
        out = np.empty(len(scores), np.float32)
        self._weigh(address(scores), len(scores), top, factor_of(temperature), address(out))
        return out

    def sums(
        self, scores: Floats, top: np.float32, temperature: float, weights: Floats | None = None
    ) -> Units:
        """As `Passes.sums`. Weights are made anew: that takes as long as reading them."""
        if temperature == 1.0 and (row := self._surveyed.row_of(scores)) is not None:
            return self._surveyed.sums[row]
        out = np.empty(-(-len(scores) // BLOCK), np.int64)
        self._sum_weights(address(scores), len(scores), top, factor_of(temperature), address(out))
        return out

    def weighted_sum(self, scores: Floats, top: np.float32) -> int:
        """As `Passes.weighted_sum`."""
        return self._sum_weighted(address(scores), len(scores), top, factor_of(1.0))

    def top_k(self, scores: Floats, k: int) -> Ids:
        """As `Passes.top_k`."""
        groups = -(-len(scores) // _SCORE_GROUP)
        if groups < k:
            return NUMPY.top_k(scores, k)
        row = self._surveyed.row_of(scores)
        maxima = None if row is None else address(self._surveyed.maxima[row])
        if len(self._places) < len(scores):
            self._values = np.empty(groups + len(scores), np.float32)
            self._places = np.empty(len(scores), np.int32)
        ids = np.empty(k, np.intp)
        self._find_top_k(
            address(scores),
            len(scores),
            k,
            maxima,
            address(self._values),
            address(self._places),
            address(ids),
        )
        return ids

    def run_layers(
        self,
        stack: LayerStack,
        x: NDArray[np.float32],
        outputs: int,
        rotations: NDArray[np.complex64],
        places: Any,
        caches: Caches,
    ) -> None:
        """Run x [rows, hidden] through all layers, in place. Keys and values go to `caches`.

        Args:
            outputs: how many of the last rows of x are hidden states afterwards.
            rotations: [kinds, rows or 1, head_size / 2], of which the last two axes are contiguous.
            places: an array of `RowPlace`, one for each row.
        Raises:
            MemoryError: no memory for the workspace.
        """
        stride = 2 * rotations.shape[2] if rotations.shape[1] > 1 else 0
        kind_stride = rotations.strides[0] // _FLOAT
        if self._run_layers(
            stack, len(x), outputs, address(x), rotations.ctypes.data, kind_stride, stride, places, caches
        ):
            raise MemoryError


class _Survey(NamedTuple):
    """Of the logits that the head made last."""

    logits: NDArray[np.float32]
    """[rows, outputs]; kept, so that no others have their addresses."""
    vocab_size: int
    tops: list[int]
    """By row the position of the first highest; -1 if one is not a number or the highest is infinite."""
    maxima: NDArray[np.float32]
    """[rows, groups], the highest score of each group."""
    sums: Units
    """[rows, blocks], as `Passes.sums` at temperature 1."""

    def row_of(self, scores: Floats) -> int | None:
        """Which row these scores are; None: another array, or a row without a `top`."""
        row, rest = divmod(address(scores) - address(self.logits), self.logits.strides[0])
        is_row = rest == 0 and 0 <= row < len(self.tops) and len(scores) == self.vocab_size
        return row if is_row and self.tops[row] >= 0 else None


def address(array: Any) -> int:
    """Of a contiguous array, which is not empty. `array.ctypes.data` takes eight times as long, several times a step."""
    if array.flags.writeable:
        return ctypes.addressof(_Byte.from_buffer(array))
    assert array.flags.c_contiguous
    return array.ctypes.data


def load(
    folder: Path,
    environ: Mapping[str, str],
    compiling: Callable[[], None],
    refused: Callable[[str], None],
    *,
    is_asked_for: bool = False,
) -> Library:
    """Load the library from `folder`, as `build.load` does.

    Raises:
        Unavailable: there is no compiled kernel on this machine.
    """
    compiled = build.load(folder, environ, compiling=compiling, refused=refused, is_asked_for=is_asked_for)
    try:
        return Library(compiled)
    except AttributeError as error:
        raise build.Unavailable(f"the compiled library lacks a function: {error}") from error
