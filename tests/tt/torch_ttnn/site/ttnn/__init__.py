"""Stands for ttnn where it is not installed: a Wormhole N150 that computes with torch.

`PYTHONPATH=.:tests/tt/torch_ttnn/site` lets tt-metal's own model code import it, and what this code imports besides.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from tests.tt.torch_ttnn.emulation.calls import Operations, find_operation
from tests.tt.torch_ttnn.emulation.device import *  # noqa: F403
from tests.tt.torch_ttnn.emulation.device import MeshDevice
from tests.tt.torch_ttnn.emulation.settings import *  # noqa: F403
from tests.tt.torch_ttnn.emulation.settings import ClusterType, MemoryConfig, Settings
from tests.tt.torch_ttnn.emulation.tensor import *  # noqa: F403
from tests.tt.torch_ttnn.emulation.tensor import DataType, Layout
from tests.tt.torch_ttnn.emulation.transfers import *  # noqa: F403

globals().update({kind.value: kind for kind in DataType})
TILE_LAYOUT = Layout.TILE
ROW_MAJOR_LAYOUT = Layout.ROW_MAJOR

experimental = Operations("experimental")
transformer = Operations("transformer")
cluster = SimpleNamespace(ClusterType=ClusterType, get_cluster_type=lambda: ClusterType["N150"])
_ttnn = SimpleNamespace(
    multi_device=SimpleNamespace(MeshDevice=MeshDevice), tensor=SimpleNamespace(MemoryConfig=MemoryConfig)
)


@functools.cache
def __getattr__(name: str) -> Any:
    """Other classes carry settings: for programs, kernels, the spread over a mesh. Other names are operations."""
    return type(name, (Settings,), {}) if name[0].isupper() else find_operation(name)
