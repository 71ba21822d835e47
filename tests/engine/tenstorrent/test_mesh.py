"""Mesh shapes, trace regions, and the order in which a card is opened and closed."""

from __future__ import annotations

from typing import Any

import pytest

from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.tenstorrent.loading import context_positions
from ttchat_tui.engine.tenstorrent.mesh import Mesh, mesh_shape, needed_trace_region, trace_region_bytes


@pytest.mark.parametrize(
    ("name", "chips", "shape"),
    [
        ("", 1, (1, 1)),
        ("", 8, (1, 8)),
        ("N150", 2, (1, 1)),
        ("n300", 2, (1, 2)),
        ("T3K", 8, (1, 8)),
        ("TG", 32, (8, 4)),
        ("2x4", 8, (2, 4)),
    ],
)
def test_a_mesh_device_is_rows_and_columns(name: str, chips: int, shape: tuple[int, int]) -> None:
    assert mesh_shape(name, chips) == shape


def test_an_unknown_or_too_large_mesh_is_refused_with_the_number_of_chips() -> None:
    with pytest.raises(ModelLoadError, match="N999") as unknown:
        mesh_shape("N999", 8)
    assert "N150" in unknown.value.info.cure
    with pytest.raises(ModelLoadError, match="needs 8 chips, 1 can be used"):
        mesh_shape("T3K", 1)


def test_the_trace_region_is_upstreams_for_model_and_device() -> None:
    assert trace_region_bytes("Llama-3.1-8B-Instruct", "N150") == 25_000_000
    assert trace_region_bytes("Llama-3.3-70B-Instruct", "T3K") == 90_000_000
    assert trace_region_bytes("Another", "") == 50_000_000


def test_the_error_of_a_small_trace_region_gives_the_size_it_needs() -> None:
    text = "Creating trace buffers of size 60817408B on MeshDevice 1, but only 50000000B is allocated for trace region."
    assert needed_trace_region(text) == 60817408 * 5 // 4
    assert needed_trace_region("Out of Memory") is None


@pytest.mark.parametrize(
    ("wanted", "maximum", "batch", "context"),
    [
        (0, 131072, 1, 32768),
        (0, 131072, 8, 4096),
        (5000, 131072, 1, 4096),
        (100, 131072, 1, 1024),
        (0, 2048, 1, 2048),
    ],
)
def test_a_context_is_a_power_of_two(wanted: int, maximum: int, batch: int, context: int) -> None:
    assert context_positions(wanted, maximum, batch) == context


class RecordingTtnn:
    """Keeps the order of calls; `fails` names those that raise."""

    class FabricConfig:
        FABRIC_1D = "fabric"
        DISABLED = "no fabric"

    def __init__(self, *fails: str) -> None:
        self.calls: list[str] = []
        self._fails = fails

    def MeshShape(self, *shape: int) -> tuple[int, ...]:
        return shape

    def get_device_ids(self) -> list[int]:
        return [0]

    def set_fabric_config(self, config: Any) -> None:
        self._call(str(config))

    def open_mesh_device(self, **settings: Any) -> RecordingTtnn:
        self._call("open")
        return self

    def enable_program_cache(self) -> None:
        """Of the mesh."""

    def close_mesh_device(self, device: Any) -> None:
        self._call("close")

    def synchronize_device(self, device: Any) -> None:
        self._call("synchronize")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._fails:
            raise RuntimeError(f"{name} failed")


def test_fabric_is_on_before_the_mesh_opens_and_off_after_it_closed() -> None:
    ttnn = RecordingTtnn()
    mesh = Mesh(ttnn, (1, 2), 0)
    mesh.close()
    mesh.close()
    assert ttnn.calls == ["fabric", "open", "synchronize", "close", "no fabric"]


def test_a_single_chip_has_no_fabric() -> None:
    ttnn = RecordingTtnn()
    Mesh(ttnn, (1, 1), 0).close()
    assert ttnn.calls == ["open", "synchronize", "close"]


def test_a_mesh_that_does_not_open_leaves_no_fabric() -> None:
    ttnn = RecordingTtnn("open")
    with pytest.raises(RuntimeError, match="open failed"):
        Mesh(ttnn, (1, 2), 0)
    assert ttnn.calls == ["fabric", "open", "no fabric"]


def test_a_hung_card_is_still_closed() -> None:
    ttnn = RecordingTtnn("synchronize")
    Mesh(ttnn, (1, 2), 0).close()
    assert ttnn.calls == ["fabric", "open", "synchronize", "close", "no fabric"]


def test_a_card_that_does_not_close_says_how_to_reset_it() -> None:
    ttnn = RecordingTtnn("close")
    mesh = Mesh(ttnn, (1, 2), 0)
    with pytest.raises(EngineError) as error:
        mesh.close()
    assert "tt-smi -r" in error.value.info.cure
    assert ttnn.calls[-1] == "no fabric"
