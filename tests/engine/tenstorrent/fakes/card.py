"""The scripted card: a paged KV cache whose content decides the logits, so that what was fed wrongly changes the text.

What a slot of the cache holds is made from the token and the position that were fed. Logits are a hash of what is found
through a row's page table at positions 0 to the last one: a token fed twice, at a wrong position, through a wrong row
of the page table or into a wrong block, or a slot that was never written gives other logits. A row that is not in use
gives NaN.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from tests.engine.tenstorrent.fakes.checkpoint import FIRST_WORD, LAST_WORD, VOCAB

TRACE_BYTES: Final = "FAKE_CARD_TRACE_BYTES"
"""Variable: what one recorded trace takes in the trace region."""
STEP_S: Final = "FAKE_CARD_STEP_S"
"""Variable: how long a decode step takes. Only for a card in another process, which would be done before a cancel."""

EVENTS: list[str] = []
"""What happened to the mesh, in order: open, close, trace 1, release 1, fabric …; and every misuse, as `misuse: …`."""

_NEVER: Final = -60.0
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


class Mesh:
    """An open mesh device with its trace region."""

    def __init__(self, shape: tuple[int, ...], trace_region: int, *, has_dynamic_traces: bool) -> None:
        self.shape = shape
        self.is_open = True
        self.live_traces: dict[int, int] = {}
        self.models: weakref.WeakSet[Transformer] = weakref.WeakSet()
        self._region = trace_region
        self._has_dynamic_traces = has_dynamic_traces
        self._recorded = 0
        EVENTS.append("open")

    def record(self) -> int:
        """A new trace.

        Raises:
            RuntimeError: no room. A region of 0 grows by itself from S5 on (tt_metal mesh_trace.cpp, #36999).
        """
        size = int(os.environ.get(TRACE_BYTES, "1000"))
        if sum(self.live_traces.values()) + size > self._region and not (
            self._region == 0 and self._has_dynamic_traces
        ):
            raise RuntimeError(
                "TT_FATAL @ mesh_trace.cpp:66: trace_region_size\ninfo:\n"
                f"Creating trace buffers of size {size}B on MeshDevice 1, but only {self._region}B is allocated for "
                "trace region.\nbacktrace:\n --- native"
            )
        self._recorded += 1
        self.live_traces[self._recorded] = size
        EVENTS.append(f"trace {self._recorded}")
        return self._recorded

    def release(self, trace: int) -> None:
        if not self.is_open:
            EVENTS.append(f"misuse: trace {trace} released after its mesh was closed")
            return
        self.live_traces.pop(trace)
        EVENTS.append(f"release {trace}")

    def close(self) -> None:
        EVENTS.extend(f"misuse: trace {trace} outlives its mesh" for trace in self.live_traces)
        EVENTS.extend("misuse: a model outlives its mesh" for model in self.models if model.is_on_card)
        self.is_open = False
        EVENTS.append("close")


class Transformer:
    """A model on the card: its paged KV cache, and the shapes that are compiled."""

    def __init__(self, mesh: Mesh, *, batch: int, max_seq_len: int, blocks: int, block_size: int) -> None:
        assert mesh.is_open, "the mesh is closed"
        self.mesh = mesh
        self.batch = batch
        self.max_seq_len = max_seq_len
        self.block_size = block_size
        self.kv_cache: list[list[str]] = [["keys", "values"]]
        """The handle that the caller hands back with each call."""
        self.is_on_card = True
        self._supports_on_device_sampling: bool
        """From S4 on; before, there is no such attribute."""
        self._pages = np.zeros((blocks, block_size), dtype=np.uint64)
        self._weights = _mix(np.arange(max_seq_len + block_size, dtype=np.uint64)) | np.uint64(1)
        self._compiled: set[tuple[int, int, bool]] = set()
        self._is_clobbered = False
        mesh.models.add(self)

    def compile(self, rows: int, length: int, *, is_behind: bool = False) -> None:
        """What a kernel's first run allocates may lie where a live trace writes: from then on replays are garbage.

        `is_behind` a cached prefix is a program of its own.
        """
        shape = (rows, length, is_behind)
        if shape in self._compiled:
            return
        self._compiled.add(shape)
        if self.mesh.live_traces:
            EVENTS.append(f"misuse: prefill {shape} compiled while a trace was live")
            self._is_clobbered = True

    def is_compiled(self, rows: int, length: int) -> bool:
        return (rows, length, False) in self._compiled

    def prefill(self, tokens: torch.Tensor, table: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Write `tokens` [n] at positions from `start` on; float32 [vocab] after the last one."""
        positions = np.arange(start, start + len(tokens))
        self._write(tokens.numpy(), positions, table)
        return self._logits(table, start + len(tokens) - 1)

    def decode(self, tokens: torch.Tensor, positions: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """One step: tokens [batch] at positions [batch], pages [batch, n]; float32 [batch, 1, vocab]."""
        rows = torch.full((self.batch, 1, VOCAB), float("nan"))
        for row, (token, position) in enumerate(zip(tokens.tolist(), positions.tolist(), strict=True)):
            if position >= 0:
                self._write(np.array([token]), np.array([position]), table[row])
                rows[row, 0] = self._logits(table[row], position)
        return rows

    def replay(self, tokens: torch.Tensor, positions: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """As `decode`, by a recorded trace."""
        logits = self.decode(tokens, positions, table)
        return logits.flip(-1) if self._is_clobbered else logits

    def release(self) -> None:
        self.is_on_card = False

    def _write(self, tokens: NDArray[np.int64], positions: NDArray[np.int64], table: torch.Tensor) -> None:
        """Nothing checks a position against the page table's end: what is behind it lands in some block."""
        pages = positions // self.block_size
        blocks = np.where(pages < len(table), table.numpy()[np.minimum(pages, len(table) - 1)], 0)
        contents = (tokens * 1_000_003 + positions + 1).astype(np.uint64)
        self._pages[blocks, positions % self.block_size] = _mix(contents)

    def _logits(self, table: torch.Tensor, position: int) -> torch.Tensor:
        pages = np.zeros(
            position // self.block_size + 1, dtype=np.int64
        )  # Behind the table's end: some block.
        pages[: len(table)] = table[: len(pages)].long().numpy()
        found = self._pages[pages].reshape(-1)[: position + 1]
        state = _mix(np.array([(found * self._weights[: position + 1]).sum()], dtype=np.uint64))
        noise = np.random.Generator(np.random.Philox(key=state[0])).standard_normal(VOCAB, dtype=np.float32)
        logits = np.full(VOCAB, _NEVER, dtype=np.float32)
        logits[FIRST_WORD:LAST_WORD] = 3.0 * noise[FIRST_WORD:LAST_WORD]
        return torch.from_numpy(logits)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea, Flood 2014), element by element."""
    mixed: NDArray[np.uint64] = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def take_a_steps_time() -> None:
    if STEP_S in os.environ:
        time.sleep(float(os.environ[STEP_S]))


def misuses() -> list[str]:
    return [event for event in EVENTS if event.startswith("misuse")]


def argmax(logits: torch.Tensor) -> torch.Tensor:
    """Greedy sampling on the card: int64 [batch]; rows not in use give 0."""
    ids: Any = torch.nan_to_num(logits, nan=_NEVER).argmax(-1).view(-1)
    return ids
