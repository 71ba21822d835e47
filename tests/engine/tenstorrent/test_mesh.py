"""Mesh shapes, trace regions, and the order in which a card is opened and closed."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.tenstorrent.loading import context_positions
from ttchat_tui.engine.tenstorrent.mesh import (
    SHAPES,
    Mesh,
    default_shape,
    generator_fabric,
    mesh_shape,
    needed_trace_region,
    package_fabric,
    trace_region_bytes,
)


@pytest.mark.parametrize(
    ("name", "chips", "shape"),
    [
        ("N150", 2, (1, 1)),
        ("n300", 2, (1, 2)),
        ("P150x2", 2, (1, 2)),
        ("P300X2", 4, (1, 4)),
        ("T3K", 8, (1, 8)),
        ("TG", 32, (8, 4)),
        ("bh-galaxy", 32, (8, 4)),
        ("2x4", 8, (2, 4)),
        ("2X4", 8, (2, 4)),
        ("(1, 2)", 8, (1, 2)),
        (" 1,4 ", 8, (1, 4)),
    ],
)
def test_a_mesh_device_is_rows_and_columns(name: str, chips: int, shape: tuple[int, int]) -> None:
    assert mesh_shape(name, chips) == shape


@pytest.mark.parametrize("name", ["N999", "0x4", "4x0", "x", "1x2x3", "P300x", "1 2"])
def test_an_unknown_mesh_is_refused_with_the_names(name: str) -> None:
    with pytest.raises(ModelLoadError, match=re.escape(repr(name))) as unknown:
        mesh_shape(name, 32)
    assert all(known in unknown.value.info.cure for known in SHAPES)


def test_a_mesh_that_is_too_large_is_refused_with_the_number_of_chips() -> None:
    with pytest.raises(ModelLoadError, match="needs 8 chips, 1 can be used"):
        mesh_shape("T3K", 1)


def test_without_a_name_chips_are_never_all_in_one_row() -> None:
    """One chip, a Galaxy, or what the driver says, if ttnn finds that many chips."""
    for name, chips in itertools.product(["", *SHAPES], range(1, 41)):
        rows, columns = shape = default_shape(name, chips)
        assert rows * columns <= chips
        assert shape in ({(1, 1), (8, 4), SHAPES[name]} if name else {(1, 1), (8, 4)})
    assert default_shape("", 32) == (8, 4)
    assert default_shape("N300", 1) == (1, 1)


class Cluster:
    """`ttnn.cluster` on one kind of machine."""

    def __init__(self, kind: str) -> None:
        self.cluster = self
        self._kind = kind

    def get_cluster_type(self) -> str:
        return f"ClusterType.{self._kind}"


@pytest.mark.parametrize(
    ("generation", "kind", "fabric"),
    [
        ("S1", "T3K", ""),
        ("S3", "T3K", "FABRIC_1D"),
        ("S4", "GALAXY", "FABRIC_1D_RING"),
        ("S5", "TG", "FABRIC_1D"),
        ("S5", "BLACKHOLE_GALAXY", "FABRIC_1D"),
        ("S6", "BLACKHOLE_GALAXY", "FABRIC_2D_TORUS_XY"),
        ("S6", "P150_X4", "FABRIC_1D"),
    ],
)
def test_the_fabric_is_that_of_upstreams_demos(generation: str, kind: str, fabric: str) -> None:
    assert generator_fabric(Cluster(kind), generation) == fabric


def test_a_ttnn_that_does_not_tell_the_machine_has_the_simplest_fabric() -> None:
    assert generator_fabric(object(), "S3") == "FABRIC_1D"


@pytest.mark.parametrize(
    ("name", "fabric"), [("T3K", "FABRIC_1D_RING"), ("n300", "FABRIC_1D"), ("", "FABRIC_1D")]
)
def test_the_package_has_rings_on_some_machines(name: str, fabric: str) -> None:
    assert package_fabric(name) == fabric


def test_the_trace_region_is_upstreams_for_model_and_device() -> None:
    assert trace_region_bytes("Llama-3.1-8B-Instruct", "N150") == 25_000_000
    assert trace_region_bytes("Llama-3.3-70B-Instruct", "T3K") == 90_000_000
    assert trace_region_bytes("Another", "") == 50_000_000


@pytest.mark.parametrize("galaxy", ["TG", "tg", "8x4", "BH-Galaxy"])
def test_a_galaxy_has_the_trace_region_of_one_under_every_name(galaxy: str) -> None:
    assert trace_region_bytes("Qwen3-32B", galaxy) == 200_000_000


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
        if "enable" in self._fails:
            raise AttributeError("a ttnn without this method")

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


def test_a_mesh_without_a_program_cache_is_closed_again() -> None:
    ttnn = RecordingTtnn("enable")
    with pytest.raises(AttributeError):
        Mesh(ttnn, (1, 2), 0)
    assert ttnn.calls == ["fabric", "open", "synchronize", "close", "no fabric"]


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
