"""What the CPU engine needs from the machine: correct kernels, memory, threads, libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ttchat_tui.domain.free_memory import available_bytes
from ttchat_tui.engine.base import OutOfMemory
from ttchat_tui.engine.cpu import warm_up as warm_up_module
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeScaling
from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.rope import rotary_frequencies
from ttchat_tui.engine.cpu.native.step import FORMATS
from ttchat_tui.engine.cpu.warm_up import thread_counts, warm_up
from ttchat_tui.engine.cpu.weights import kernels as kernels_module
from ttchat_tui.engine.cpu.weights.kernels import working_kernels
from ttchat_tui.engine.cpu.weights.linear import F16Linear, Fp32Head, Fp32Linear, fits_f16
from ttchat_tui.engine.cpu.weights.memory import (
    check_memory,
    needed_bytes,
    with_prefill_copy,
)
from ttchat_tui.engine.cpu.weights.precision import WeightPlan

CONFIG = ModelConfig(
    family="llama", hidden_size=576, ffn_size=1536, layers=30, heads=9, kv_heads=3, head_size=64, vocab_size=49152,
    context_length=8192, norm_eps=1e-5, rope_theta=1e5, is_head_tied=True,
)  # fmt: skip


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("kind", [Fp32Linear, F16Linear])
def test_products_are_those_of_the_weights_as_they_are_held(kind: Any, rows: int) -> None:
    weight, bias, x = torch.randn(48, 32).half().float(), torch.randn(48), torch.randn(rows, 32)
    torch.testing.assert_close(kind(weight, bias)(x), x @ weight.t() + bias, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(kind(weight)(x), x @ weight.t(), atol=1e-4, rtol=1e-5)


def test_a_head_is_the_same_product() -> None:
    weight, x = torch.randn(100, 32), torch.randn(1, 32)
    torch.testing.assert_close(Fp32Head(weight)(x), x @ weight.t(), atol=1e-4, rtol=1e-5)


class _Wrong:
    """A kernel that exists and computes something else."""

    dtype = torch.float32

    def __init__(self, weight: Any, bias: torch.Tensor | None = None) -> None:
        pass

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(x.shape[0], 1)


class _Absent:
    def __init__(self, weight: Any, bias: torch.Tensor | None = None) -> None:
        raise RuntimeError("Didn't find engine for operation quantized::linear_prepack_fp16")


@pytest.mark.parametrize("fake", [_Wrong, _Absent])
@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        ("f16", "F16Linear"),
        ("bf16", "BF16Linear"),
        ("int8", "Int8Linear"),
        ("int4", "Int4Linear"),
        ("int8_head", "Int8Scan"),
    ],
)
def test_a_kernel_that_is_wrong_or_not_there_is_not_used(
    monkeypatch: pytest.MonkeyPatch, fake: Any, kernel: str, name: str
) -> None:
    before = working_kernels()
    monkeypatch.setattr(kernels_module, name, fake)
    assert working_kernels() == before - {kernel}


def test_a_processor_without_vectors_uses_no_small_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(kernels_module.torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr(kernels_module.torch.cpu, "get_capabilities", dict)
    assert working_kernels() <= {"f16"}


def test_weights_beyond_float16_are_seen() -> None:
    assert fits_f16(torch.tensor([65000.0, -1.0]))
    assert not fits_f16(torch.tensor([1.0, -70000.0]))


def test_fewer_bits_need_less_memory() -> None:
    needed = [
        needed_bytes(CONFIG, plan)
        for plan in (
            WeightPlan(format="int4", has_int8_head=True),
            WeightPlan(format="f16", rest="f16"),
            WeightPlan(format="fp32"),
        )
    ]
    assert needed == sorted(needed)
    with_copy = needed_bytes(CONFIG, WeightPlan(format="int4", has_int8_head=True, prefill_copy=True))
    assert with_copy - needed[0] == pytest.approx(212e6, rel=0.01)  # 106 million weights of two bytes.
    assert 500e6 < needed[0] < needed[-1] < 1.6e9


def test_8_bit_keys_and_values_need_half_of_the_memory_of_16_bits() -> None:
    plan = WeightPlan(format="int4", is_native=True)
    wide, narrow = (needed_bytes(CONFIG, plan, FORMATS[name]) for name in ("f16", "q8"))
    positions = 2048 * 2 * CONFIG.layers * CONFIG.kv_heads
    assert wide - narrow == positions * (2 * CONFIG.head_size - (CONFIG.head_size + 2))
    caches = [
        KVCache(CONFIG.layers, CONFIG.kv_heads, CONFIG.head_size, FORMATS[name]) for name in ("f16", "q8")
    ]
    for cache in caches:
        cache.reserve(2048)
    held = [sum(array.nbytes for array in cache.arrays) for cache in caches]
    assert held[0] - held[1] == wide - narrow


@pytest.mark.parametrize(
    ("wanted", "free_gb", "is_made"),
    [("auto", 4, True), ("auto", 1, False), ("auto", None, False), ("on", 1, True), ("off", 4, False)],
)
def test_the_copy_for_prompts_is_made_where_it_was_asked_for_or_memory_is_plenty(
    wanted: Any, free_gb: float | None, is_made: bool
) -> None:
    free = None if free_gb is None else int(free_gb * 1e9)
    plan = WeightPlan(format="int4", has_int8_head=True)
    assert with_prefill_copy(plan, wanted, {"bf16"}, CONFIG, free).prefill_copy is is_made
    assert not with_prefill_copy(plan, wanted, {"f16"}, CONFIG, free).prefill_copy
    f16 = WeightPlan(format="f16")
    assert with_prefill_copy(f16, wanted, {"bf16"}, CONFIG, free) is f16


def test_untied_heads_count_as_weights() -> None:
    untied = msgspec.structs.replace(CONFIG, is_head_tied=False)
    assert untied.parameters() - CONFIG.parameters() == 49152 * 576


def test_a_model_that_fits_is_let_through() -> None:
    check_memory(10, 10)
    check_memory(10, None)
    with pytest.raises(OutOfMemory, match=r"11\.0 GB.*9\.0 GB"):
        check_memory(11 * 10**9, 9 * 10**9)


def test_available_memory_is_the_lesser_of_machine_and_control_group(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert available_bytes(meminfo, tmp_path) is None
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:   4000 kB\n")
    assert available_bytes(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5000\n")
    assert available_bytes(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.max").write_text("105000\n")
    assert available_bytes(meminfo, tmp_path) == 100_000


def test_ready_made_rope_factors_divide_the_frequencies() -> None:
    """GGUF files of Llama 3 carry the result of its scaling as a tensor."""
    scaling = RopeScaling(kind="llama3", factor=8.0)
    scaled = rotary_frequencies(msgspec.structs.replace(CONFIG, rope_scaling=scaling), None).frequencies
    plain = rotary_frequencies(CONFIG, None).frequencies
    np.testing.assert_allclose(rotary_frequencies(CONFIG, plain / scaled).frequencies, scaled, rtol=1e-6)
    assert (plain / scaled).min() == 1.0
    assert (plain / scaled).max() == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_thread_counts_go_up_to_all_cores(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts


class _Scripted:
    """A stepper whose steps take as long as the script says for the number of threads."""

    def __init__(self, clock: _Clock, seconds: dict[int, float]) -> None:
        self._clock, self._seconds = clock, seconds
        self.threads = 0

    def set_threads(self, count: int) -> None:
        self.threads = count

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Any) -> NDArray[np.float32]:
        assert max(ids) == 0  # Every vocabulary has this token.
        return np.zeros(1, np.float32)

    def step(self, token_id: int) -> NDArray[np.float32]:
        self._clock.now += self._seconds[self.threads]
        return np.zeros(1, np.float32)


class _Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "best"),
    [({1: 0.02, 2: 0.01}, 2), ({1: 0.01, 2: 0.02}, 1), ({1: 0.0100, 2: 0.0098}, 1)],
    ids=["two are faster", "two collapse", "two gain nothing"],
)
def test_the_threads_that_decode_fastest_are_used(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], best: int
) -> None:
    clock, reports = _Clock(), []
    monkeypatch.setattr(warm_up_module, "time", clock)
    monkeypatch.setattr(warm_up_module.os, "sched_getaffinity", lambda _pid: {0, 1})
    stepper: Any = _Scripted(clock, seconds)
    assert warm_up(stepper, 0, lambda *step: reports.append(step), stepper.set_threads) == best
    assert stepper.threads == best
    assert reports == [(0, 2), (1, 2), (2, 2)]
    assert warm_up(stepper, 2, lambda *step: None, stepper.set_threads) == 2


def test_torch_imports_with_its_libraries_mapped_before() -> None:
    code = (
        "from ttchat_tui.engine.cpu.preload import import_torch; import sys; import_torch(); import_torch();"
        "print(sys.modules['torch'].ones(2).sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2.0"
