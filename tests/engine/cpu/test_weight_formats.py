"""Reduced-precision weights: what a format holds, how a model's matrices are put into it, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import gguf.quants
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.cpu.tiny_models import build, save
from tests.size import sized
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import holds_int4, read_int4, read_tensor
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks, concatenated, quantized
from ttchat_tui.engine.cpu.weights.int4_linear import Int4Linear, fits_int4
from ttchat_tui.engine.cpu.weights.int8_head import Int8Scan, RescoredHead
from ttchat_tui.engine.cpu.weights.kernels import Kernel, working_kernels
from ttchat_tui.engine.cpu.weights.linear import (
    BF16Linear,
    ByRows,
    F16Linear,
    Fp32Linear,
    Int8Linear,
    JoinedLinear,
    Linear,
)
from ttchat_tui.engine.cpu.weights.matrices import MatrixBuilder, MatrixPart
from ttchat_tui.engine.cpu.weights.precision import WeightPlan, native_plan, plan_weights

Q = gguf.GGMLQuantizationType
ALL: frozenset[Kernel] = frozenset({"f16", "bf16", "int8", "int4", "int8_head"})


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def randn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


INSTRUCTIONS: dict[Kernel, str] = {
    "f16": "avx2", "bf16": "avx512_bf16", "int8": "avx2", "int4": "avx2", "int8_head": "avx512_vnni",
}  # fmt: skip


def needs(kernel: Kernel) -> None:
    """Asks the processor, not our probe: a kernel that we broke is to fail, not to be skipped."""
    if not torch.cpu.get_capabilities().get(INSTRUCTIONS[kernel]):
        pytest.skip(f"this processor has no {INSTRUCTIONS[kernel]}")


@pytest.mark.parametrize("kernel", list(INSTRUCTIONS))
def test_a_kernel_works_where_the_processor_has_its_instructions(kernel: Kernel) -> None:
    needs(kernel)
    assert kernel in working_kernels()


def container_of(path: Path, kind: Q, packed: Any) -> GgufContainer:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufContainer(path)


def blocks_of(weight: torch.Tensor, kind: Q, path: Path) -> Int4Blocks:
    container = container_of(path, kind, gguf.quants.quantize(weight.numpy(), kind))
    blocks = read_int4(container.data, container.tensors["w"])
    assert blocks is not None
    return blocks


@pytest.mark.parametrize("kind", [Q.Q4_0, Q.Q4_1, Q.Q4_K], ids=lambda kind: kind.name)
def test_four_bit_blocks_are_read_without_loss(kind: Q, tmp_path: Path) -> None:
    per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(1)
    raw = generator.integers(0, 256, size=(4, 512 // per_block, block_bytes), dtype=np.uint8)
    halves = generator.normal(size=(*raw.shape[:2], 2)).astype(np.float16).view(np.uint8)
    raw[..., : 2 if kind == Q.Q4_0 else 4] = halves[..., : 2 if kind == Q.Q4_0 else 4]
    raw = raw.reshape(4, -1)
    container = container_of(tmp_path / "x.gguf", kind, raw)
    blocks = read_int4(container.data, container.tensors["w"])
    assert blocks is not None
    assert holds_int4(container.tensors["w"])
    assert blocks.codes.shape == (4, 512)
    assert blocks.scale.shape == blocks.minimum.shape == (4, 16)
    expected = gguf.quants.dequantize(raw, kind)
    np.testing.assert_array_equal(blocks.dequantized(), expected)
    np.testing.assert_array_equal(read_tensor(container.data, container.tensors["w"]), expected)


def test_other_types_have_no_four_bit_blocks(tmp_path: Path) -> None:
    weight = np.ones((2, 32), np.float32)
    container = container_of(tmp_path / "x.gguf", Q.Q8_0, gguf.quants.quantize(weight, Q.Q8_0))
    assert read_int4(container.data, container.tensors["w"]) is None
    assert not holds_int4(container.tensors["w"])


def test_blocks_that_the_file_does_not_hold_are_refused_by_name(tmp_path: Path) -> None:
    container = container_of(tmp_path / "x.gguf", Q.Q4_1, np.zeros((2, 20), np.uint8))
    longer = msgspec.structs.replace(container.tensors["w"], shape=(2000, 32))
    with pytest.raises(ModelLoadError, match="'w'"):
        read_int4(container.data, longer)


@settings(max_examples=sized(20, 600), deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(1e-3, 1e3))
def test_rounding_to_four_bits_errs_by_half_a_step_at_most(seed: int, shift: float, spread: float) -> None:
    weight = ((np.random.default_rng(seed).normal(size=(4, 64)) + shift) * spread).astype(np.float32)
    blocks = quantized(weight)
    assert blocks.codes.max() <= 15
    error = np.abs(blocks.dequantized() - weight).reshape(4, 2, 32).max(-1)
    # Half a step, and what bfloat16 leaves of the zero point (8 bits of its size).
    assert (error <= 0.51 * blocks.scale + np.abs(blocks.zero) / 256 + 8 * blocks.scale / 128).all()


def test_equal_weights_are_rounded_to_themselves() -> None:
    weight = np.full((2, 32), 0.5, np.float32)
    np.testing.assert_array_equal(quantized(weight).dequantized(), weight)


def test_rows_are_moved_and_scaled_with_their_blocks() -> None:
    blocks = quantized(randn(6, 64))
    moved = blocks.map_rows(lambda rows: rows[::-1]).times(0.5)
    np.testing.assert_array_equal(moved.dequantized(), blocks.dequantized()[::-1] * 0.5)
    both = concatenated([blocks, moved])
    np.testing.assert_array_equal(both.dequantized()[6:], moved.dequantized())


def test_the_scale_is_rounded_as_torch_rounds_to_bfloat16() -> None:
    weight = randn(64, 64) * 1000
    low, high = torch.from_numpy(weight).view(64, 2, 32).aminmax(dim=-1)
    expected = ((high - low) / 15).bfloat16().float()
    np.testing.assert_array_equal(quantized(weight).scale, expected.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["bf16", "int8", "int4"])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_rounded_products_are_near_and_keep_the_type_they_were_given(
    kernel: Kernel, rows: int, dtype: torch.dtype
) -> None:
    needs(kernel)
    weight, bias, x = torch.randn(48, 64), torch.randn(48), torch.randn(rows, 64).to(dtype)
    linear: Linear
    match kernel:
        case "int4":
            blocks = quantized(weight.numpy())
            linear, weight = Int4Linear(blocks, bias), torch.from_numpy(blocks.dequantized())
        case "int8":
            linear = Int8Linear(weight, bias)
        case _:
            linear = BF16Linear(weight, bias)
    assert linear.dtype is torch.bfloat16
    got, exact = linear(x), x.float() @ weight.t() + bias
    assert got.dtype is dtype
    assert (got.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_the_number_of_rows_chooses_the_product() -> None:
    few, many = Fp32Linear(torch.ones(2, 2)), Fp32Linear(torch.zeros(2, 2))
    linear = ByRows(few, many, 3)
    assert linear(torch.ones(3, 2)).sum() == 12.0
    assert linear(torch.ones(4, 2)).sum() == 0.0


class TestHead:
    def test_activations_count_to_sixteen_bits(self) -> None:
        needs("int8_head")
        codes = torch.randint(-127, 128, (64, 96)).float()
        codes[:, 0] = 127.0
        weight, x = codes * 0.01, torch.randn(1, 96)
        x[0, 5] = 60.0  # Beside an element like this, 8 bits leave the others a step of half their size.
        exact = x @ weight.t()
        assert (Int8Scan(weight)(x) - exact).abs().max() < 5e-4 * exact.abs().max()

    def test_a_row_has_the_same_bits_alone_and_among_others(self) -> None:
        needs("int8_head")
        head = RescoredHead(torch.randn(5000, 96).half(), torch.rand(96))
        x = torch.randn(9, 96) * torch.logspace(-2, 2, 9).unsqueeze(1)
        assert torch.equal(head(x), torch.cat([head(row[None]) for row in x]))

    def test_the_best_are_scored_from_the_weights_as_they_are(self) -> None:
        needs("int8_head")
        rows, norm, x = torch.randn(5000, 96).half(), torch.rand(96), torch.randn(1, 96)
        exact = (x * norm) @ rows.float().t()
        best = exact.topk(20).indices
        got = RescoredHead(rows, norm)(x)
        torch.testing.assert_close(got[0, best[0]], exact[0, best[0]], atol=1e-4, rtol=1e-5)
        assert 1e-3 < (got - exact).abs().max() < 0.5  # The rest is rounded.

    def test_a_vocabulary_smaller_than_what_is_scored_again_is_exact(self) -> None:
        needs("int8_head")
        rows, x = torch.randn(40, 32), torch.randn(2, 32)
        torch.testing.assert_close(RescoredHead(rows, torch.ones(32))(x), x @ rows.t(), atol=1e-4, rtol=1e-5)

    def test_zeros_give_zeros(self) -> None:
        needs("int8_head")
        assert Int8Scan(torch.zeros(16, 32))(torch.zeros(1, 32)).abs().max() == 0.0


class TestPlan:
    @pytest.mark.parametrize(
        ("kernels", "is_4_bit", "expected"),
        [
            (ALL, True, "int4"),
            (ALL, False, "f16"),
            (ALL - {"int4"}, True, "f16"),
            (ALL - {"int4", "f16"}, True, "fp32"),
            (frozenset[Kernel](), False, "fp32"),
        ],
    )
    def test_auto_goes_down_the_ladder(self, kernels: Any, is_4_bit: bool, expected: str) -> None:
        plan = plan_weights("auto", kernels, stored_bits=4 if is_4_bit else 16)
        assert plan.format == expected
        assert not plan.requantize
        assert bool(plan.notes) == (is_4_bit and expected != "int4")

    def test_four_bits_by_name_round_what_the_file_holds_in_more_and_say_so(self) -> None:
        plan = plan_weights("int4", ALL, stored_bits=16)
        assert plan.requantize
        assert "rounded to 4 bits" in plan.notes[0]
        assert plan_weights("int4", ALL, stored_bits=4).notes == ()

    @pytest.mark.parametrize("wanted", ["f16", "bf16", "int8", "int4"])
    def test_a_precision_whose_kernel_is_missing_is_refused_with_a_cure(self, wanted: Any) -> None:
        with pytest.raises(ModelLoadError, match="no working") as caught:
            plan_weights(wanted, ALL - {wanted}, stored_bits=4)
        assert "auto" in caught.value.info.cure

    @pytest.mark.parametrize(
        ("wanted", "stored_bits", "expected", "is_lossy"),
        [
            ("auto", 4, "int4", False),
            ("auto", 8, "int8", False),
            ("auto", 16, "f16", False),
            ("int4", 4, "int4", False),
            ("int4", 16, "int4", True),
            ("int8", 8, "int8", False),
            ("int8", 16, "int8", True),
        ],
    )
    def test_the_compiled_kernel_holds_what_it_can_without_loss_or_what_was_asked_for(
        self, wanted: Any, stored_bits: int, expected: str, is_lossy: bool
    ) -> None:
        plan = native_plan(wanted, stored_bits)
        assert plan is not None
        assert plan.is_native
        assert plan.format == expected
        assert plan.rounded == (None if wanted == "auto" else wanted)
        assert bool(plan.notes) == is_lossy

    @pytest.mark.parametrize("wanted", ["fp32", "f16", "bf16"])
    def test_the_compiled_kernel_leaves_other_precisions_to_torch(self, wanted: Any) -> None:
        assert native_plan(wanted, 4) is None

    def test_without_integer_products_the_head_is_float16(self) -> None:
        assert not plan_weights("auto", ALL, stored_bits=4).has_int8_head
        assert plan_weights("auto", ALL - {"f16"}, stored_bits=4).has_int8_head
        assert not plan_weights("f16", ALL, stored_bits=4).has_int8_head


class HalfFourBit(SafetensorsFolder):
    """A checkpoint some of whose weights are in 4 bits, as in the files that llama.cpp calls Q4_K_M."""

    def __init__(self, folder: Path, four_bit: frozenset[str]) -> None:
        super().__init__(folder)
        self._four_bit = four_bit

    def tensor(self, name: str) -> NDArray[np.float32]:
        blocks = self.int4_blocks(name)
        return super().tensor(name) if blocks is None else blocks.dequantized()

    def int4_blocks(self, name: str) -> Int4Blocks | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return quantized(super().tensor(name)) if name in self._four_bit else None


class TestMatrices:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return save(build("llama-bias"), tmp_path_factory.mktemp("llama"))

    def build(self, folder: Path, four_bit: set[str], **plan: Any) -> tuple[Linear, torch.Tensor]:
        """qkv of the first layer, and the matrix that it should be."""
        needs("int4")
        checkpoint: Checkpoint = HalfFourBit(folder, frozenset(four_bit))
        parts = [MatrixPart(f"layers.0.{part}", f"layers.0.{part}_bias") for part in "qkv"]
        expected = torch.from_numpy(np.concatenate([checkpoint.tensor(part.name) for part in parts]))
        plan = {"format": "int4", "rest": "f16", **plan}
        return MatrixBuilder(checkpoint, WeightPlan(**plan)).matrix(*parts), expected

    QKV = frozenset({"layers.0.q", "layers.0.k", "layers.0.v"})

    def error(self, linear: Linear, weight: torch.Tensor, folder: Path) -> float:
        bias = np.concatenate([SafetensorsFolder(folder).tensor(f"layers.0.{part}_bias") for part in "qkv"])
        x = torch.randn(1, weight.shape[1])
        exact = x @ weight.t() + torch.from_numpy(bias)
        return float((linear(x) - exact).abs().max() / exact.abs().max())

    def test_weights_that_are_all_in_four_bits_are_one_product(self, folder: Path) -> None:
        linear, weight = self.build(folder, set(self.QKV))
        assert isinstance(linear, Int4Linear)
        assert self.error(linear, weight, folder) < 0.01

    def test_weights_of_more_bits_keep_them_beside_those_of_four(self, folder: Path) -> None:
        linear, weight = self.build(folder, {"layers.0.q", "layers.0.k"})
        assert isinstance(linear, JoinedLinear)
        assert self.error(linear, weight, folder) < 0.01

    def test_weights_that_are_nowhere_in_four_bits_are_float16_together(self, folder: Path) -> None:
        needs("f16")
        linear, weight = self.build(folder, set())
        assert isinstance(linear, JoinedLinear | F16Linear)
        assert self.error(linear, weight, folder) < 1e-3

    def test_asked_for_by_name_all_are_rounded(self, folder: Path) -> None:
        linear, weight = self.build(folder, {"layers.0.q"}, requantize=True)
        assert isinstance(linear, Int4Linear)
        assert 0.005 < self.error(linear, weight, folder) < 0.2

    def test_a_copy_for_prompts_takes_many_rows(self, folder: Path) -> None:
        needs("bf16")
        linear, _ = self.build(folder, set(self.QKV), prefill_copy=True)
        assert isinstance(linear, ByRows)
        assert isinstance(linear.few, Int4Linear)
        assert isinstance(linear.many, BF16Linear)
        x = torch.randn(linear.limit + 1, 96)
        few, many = torch.cat([linear(row[None]) for row in x]), linear(x)
        assert (few - many).abs().max() < 0.02 * few.abs().max()

    def test_a_shape_that_the_kernel_does_not_take_is_float(self) -> None:
        assert fits_int4(48, 64)
        assert not fits_int4(40, 64)
        assert not fits_int4(48, 48)


@pytest.mark.model
def test_the_default_model_is_held_in_four_bits_by_itself(default_model_path: Path) -> None:
    from_file = GgufContainer(default_model_path)
    assert sum(holds_int4(entry) for entry in from_file.tensors.values()) == 210
