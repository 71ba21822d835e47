"""The scripted card: a paged KV cache whose content decides the logits, so that what was fed wrongly changes the text.

What a slot of the cache holds is made from the token and the position that were fed. Logits are a hash of what is found
through a row's page table at positions 0 to the last one: a token fed twice, at a wrong position, through a wrong row
of the page table or into a wrong block, or a slot that was never written gives other logits. A row that is not in use
gives NaN.
"""

from __future__ import annotations

import functools
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

CHUNK: Final = "FAKE_CARD_CHUNK"
"""Variable: `max_prefill_chunk_size`, in positions. Longer prompts are prefilled in chunks."""

EVENTS: list[str] = []
"""What happened to the mesh, in order: open, close, trace 1, release 1, fabric …; and every misuse, as `misuse: …`."""

_NEVER: Final = -60.0
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


class FakeMesh:
    """An open mesh device with its trace region and its program cache."""

    def __init__(self, shape: tuple[int, ...], trace_region: int, *, has_dynamic_traces: bool) -> None:
        self.shape = shape
        self.is_open = True
        self.live_traces: dict[int, int] = {}
        self.models: weakref.WeakSet[Transformer] = weakref.WeakSet()
        self.has_program_cache = False
        """Off by default in S1 (tt_metal program_cache.hpp); S4 and later have it on."""
        self._programs: set[tuple[object, ...]] = set()
        self._region = trace_region
        self._has_dynamic_traces = has_dynamic_traces
        self._recorded = 0
        self._programs_before: dict[int, int] = {}
        """Trace → how many programs were compiled when it was recorded."""
        EVENTS.append("open")

    def enable_program_cache(self) -> None:
        self.has_program_cache = True

    def num_program_cache_entries(self) -> int:
        return len(self._programs)

    def compile(self, *program: object) -> None:
        """A program's first run puts it into the cache."""
        self._programs.add(program)

    def is_compiled(self, *program: object) -> bool:
        return program in self._programs

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
        self._programs_before[self._recorded] = len(self._programs)
        EVENTS.append(f"trace {self._recorded}")
        return self._recorded

    def overwrites(self, trace: int) -> bool:
        """Whether a replay writes over programs that were compiled after the trace was recorded."""
        assert trace in self.live_traces, "the trace was released"
        return len(self._programs) > self._programs_before[trace]

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
    """A model on the card, with its paged KV cache."""

    def __init__(self, mesh: FakeMesh, *, batch: int, max_seq_len: int, blocks: int, block_size: int) -> None:
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
        self.chunk = int(os.environ.get(CHUNK, 128 * 1024))
        self._is_clobbered = False
        mesh.models.add(self)

    def compile(self, rows: int, padded: int, last: int, *, is_behind: bool = False) -> None:
        """Programs of one prefill whose last token is at `last`, as they were counted (ttnn 0.81.1, S5): the layers' for
        each padded length, one for each tile that the last token can be in, and for each chunk up to the last token's.
        `is_behind` a cached prefix is a program of its own."""
        chunks = [0] if padded <= self.chunk else range(0, last + 1, self.chunk)
        for chunk in chunks:
            self.mesh.compile("prefill", rows, padded, chunk, is_behind)
        self.compile_slice(rows, padded, last)

    def compile_slice(self, rows: int, padded: int, last: int) -> None:
        """What a recorded prefill leaves to do: it ends before the last token is cut out."""
        self.mesh.compile("slice", rows, min(padded, self.chunk), last % self.chunk // 32)

    def is_compiled(self, rows: int, padded: int) -> bool:
        return self.mesh.is_compiled("prefill", rows, padded, 0, False)

    def prefill(self, tokens: torch.Tensor, table: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Write `tokens` [n] at positions from `start` on; float32 [vocab] after the last one."""
        positions = np.arange(start, start + len(tokens))
        self._write(tokens.numpy(), positions, table)
        return self._readable(self._logits(table, start + len(tokens) - 1))

    def decode(self, tokens: torch.Tensor, positions: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """One step: tokens [batch] at positions [batch], pages [batch, n]; float32 [batch, 1, vocab]."""
        self.mesh.compile("decode")
        rows = torch.full((self.batch, 1, VOCAB), float("nan"))
        for row, (token, position) in enumerate(zip(tokens.tolist(), positions.tolist(), strict=True)):
            if position >= 0:
                self._write(np.array([token]), np.array([position]), table[row])
                rows[row, 0] = self._logits(table[row], position)
        return rows

    def replay(
        self, trace: int, tokens: torch.Tensor, positions: torch.Tensor, table: torch.Tensor
    ) -> torch.Tensor:
        """As `decode`, by a recorded trace."""
        self.run_trace(trace)
        return self._readable(self.decode(tokens, positions, table))

    def run_trace(self, trace: int) -> None:
        """Once a replay has overwritten a program, everything is garbage."""
        if self.mesh.overwrites(trace) and not self._is_clobbered:
            EVENTS.append(f"misuse: trace {trace} was replayed over programs that were compiled after it")
            self._is_clobbered = True

    def _readable(self, logits: torch.Tensor) -> torch.Tensor:
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
        return _drawn(int(state[0])).clone()


@functools.lru_cache(maxsize=4096)  # The same conversations are had with each generation.
def _drawn(state: int) -> torch.Tensor:
    noise = np.random.Generator(np.random.Philox(key=state)).standard_normal(VOCAB, dtype=np.float32)
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


def lasting() -> list[str]:
    """EVENTS, as if a trace that was released for a newer one had been the only one. Traces have no numbers."""
    kept: list[str] = []
    for event in EVENTS:
        kept.append(event.partition(" ")[0] if event.startswith(("trace ", "release ")) else event)
        if kept[-2:] == ["release", "trace"]:
            del kept[-2:]
    return kept


def argmax(logits: torch.Tensor) -> torch.Tensor:
    """Greedy sampling on the card: int64 [batch]; rows not in use give 0."""
    ids: Any = torch.nan_to_num(logits, nan=_NEVER).argmax(-1).view(-1)
    return ids
