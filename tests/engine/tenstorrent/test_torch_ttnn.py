"""The module that stands for ttnn refuses what a card refuses, and replays what it recorded."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.engine.tenstorrent.torch_card import Site


@pytest.fixture(scope="module")
def ttnn() -> Iterator[Any]:
    if "ttnn" in sys.modules:
        pytest.skip("ttnn itself is imported")
    with Site():
        yield importlib.import_module("ttnn")


@pytest.fixture
def device(ttnn: Any) -> Any:
    return ttnn.open_mesh_device(mesh_shape=ttnn.MeshShape(1, 1))


def on_card(ttnn: Any, device: Any, *values: float) -> Any:
    return ttnn.from_torch(torch.tensor([values]), dtype=ttnn.float32, layout=ttnn.TILE_LAYOUT, device=device)


def test_an_operation_that_the_table_lacks_raises_by_its_name(ttnn: Any) -> None:
    with pytest.raises(AttributeError, match=r"ttnn\.transformer\.windowed_attention"):
        ttnn.transformer.windowed_attention()


def test_a_trace_runs_nothing_while_it_is_recorded_and_reads_new_inputs_when_it_is_replayed(
    ttnn: Any, device: Any
) -> None:
    left, right = on_card(ttnn, device, 1, 2), on_card(ttnn, device, 10, 20)
    position = ttnn.from_torch(torch.tensor([4, -1]), dtype=ttnn.int32, device=device)
    trace = ttnn.begin_trace_capture(device, cq_id=0)
    inner = ttnn.add(left, right)
    outer = ttnn.mul(inner, right)
    ttnn.plus_one(position, skip_negative_entries=True)
    inner.deallocate()
    ttnn.end_trace_capture(device, trace, cq_id=0)
    assert outer.to_torch().isnan().all()
    assert position.to_torch().tolist() == [4, -1]

    ttnn.copy_host_to_device_tensor(
        ttnn.from_torch(torch.tensor([[3.0, 4.0]]), layout=ttnn.TILE_LAYOUT), left
    )
    for step in (1, 2):
        ttnn.execute_trace(device, trace, cq_id=0, blocking=False)
        assert outer.to_torch().tolist() == [[130, 480]]
        assert position.to_torch().tolist() == [4 + step, -1]

    ttnn.release_trace(device, trace)
    with pytest.raises(KeyError):
        ttnn.execute_trace(device, trace)


def test_a_replay_overwrites_programs_that_were_compiled_after_its_trace(ttnn: Any, device: Any) -> None:
    left, right = on_card(ttnn, device, 1, 2), on_card(ttnn, device, 10, 20)
    ttnn.add(left, right)
    trace = ttnn.begin_trace_capture(device)
    ttnn.add(left, right)
    ttnn.end_trace_capture(device, trace)

    assert ttnn.mul(left, right).to_torch().tolist() == [[10, 40]]
    ttnn.execute_trace(device, trace)

    assert ttnn.mul(left, right).to_torch().isnan().all()
    assert ttnn.add(left, right).to_torch().tolist() == [[11, 22]]


def test_programs_are_counted_by_operation_shape_and_settings(ttnn: Any, device: Any) -> None:
    def compiled(run: Any) -> int:
        before = device.num_program_cache_entries()
        run()
        return device.num_program_cache_entries() - before

    pair, four = on_card(ttnn, device, 1, 2), on_card(ttnn, device, 1, 2, 3, 4)
    assert compiled(lambda: ttnn.add(pair, pair)) == 1
    assert compiled(lambda: ttnn.add(pair, pair)) == 0
    assert compiled(lambda: ttnn.add(four, four)) == 1
    assert compiled(lambda: ttnn.add(pair, pair, memory_config=ttnn.L1_MEMORY_CONFIG)) == 1
    assert compiled(lambda: four[:, 0:2]) == 1
    assert compiled(lambda: four[:, 2:4]) == 1


@pytest.mark.parametrize(
    ("said", "use"),
    [
        ("a write", lambda ttnn, device, held: ttnn.from_torch(torch.zeros(1), device=device)),
        ("a read", lambda ttnn, device, held: held.cpu()),
        ("waiting", lambda ttnn, device, held: ttnn.synchronize_device(device)),
        ("second capture", lambda ttnn, device, held: ttnn.begin_trace_capture(device)),
    ],
)
def test_while_a_trace_is_recorded_host_and_card_exchange_nothing(
    ttnn: Any, device: Any, said: str, use: Any
) -> None:
    held = on_card(ttnn, device, 1)
    ttnn.begin_trace_capture(device)
    with pytest.raises(RuntimeError, match=said):
        use(ttnn, device, held)


def test_tensors_end_with_their_deallocation_and_with_their_card(ttnn: Any, device: Any) -> None:
    one, two = on_card(ttnn, device, 1), on_card(ttnn, device, 2)
    ttnn.deallocate(one)
    with pytest.raises(RuntimeError, match="not allocated"):
        ttnn.add(two, one)
    ttnn.close_mesh_device(device)
    with pytest.raises(RuntimeError, match="closed"):
        two.to_torch()


def test_a_cached_weight_is_loaded_by_its_name_whatever_is_in_it(
    ttnn: Any, device: Any, tmp_path: Any
) -> None:
    settings = {"dtype": ttnn.bfloat16, "layout": ttnn.TILE_LAYOUT, "cache_file_name": tmp_path / "w"}
    ttnn.as_tensor(torch.ones(2, 2), device=device, **settings)
    again = ttnn.as_tensor(torch.zeros(3, 3), device=device, **settings)
    assert again.to_torch().tolist() == [[1, 1], [1, 1]]
    assert [file.name for file in tmp_path.iterdir()] == ["w_dtype_BFLOAT16_layout_TILE.tensorbin"]
