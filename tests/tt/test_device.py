"""Our mesh over the real ttnn, on a card that is a description: each case in a process of its own, as in the app."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tt.conftest import CARDS, mock_card


def run(code: str, folder: Path, *arguments: str, **variables: str) -> str:
    """What `code` prints, run in `folder`; its exit status is 0, or the test ends with its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "TT_METAL_LOGS_PATH": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("card", CARDS)
def test_a_mesh_opens_closes_and_opens_again(card: str, tmp_path: Path) -> None:
    code = """
import ttnn
from ttchat_tui.engine.tenstorrent.mesh import Mesh, default_shape
shape = default_shape("", len(ttnn.get_device_ids()))
for _ in range(2):
    mesh = Mesh(ttnn, shape, 0)
    tensor = ttnn.zeros([32, 32], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=mesh.device)
    del tensor
    mesh.close()
    mesh.close()
print("shape", shape)
"""
    assert "shape (1, 1)" in run(code, tmp_path, **mock_card(card))


def test_a_mesh_that_is_too_large_is_refused_with_a_sentence(tmp_path: Path) -> None:
    code = """
import ttnn
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.tenstorrent.mesh import mesh_shape
try:
    mesh_shape("T3K", len(ttnn.get_device_ids()))
except ModelLoadError as error:
    print("said:", error)
"""
    said = run(code, tmp_path, **mock_card("wormhole_n150"))
    assert "said: MESH_DEVICE T3K needs 8 chips, 1 can be used." in said


def test_errors_of_ttnn_are_shown_without_their_backtrace(tmp_path: Path) -> None:
    code = """
import ttnn
from ttchat_tui.engine.tenstorrent.errors import explain
from ttchat_tui.engine.tenstorrent.mesh import Mesh
mesh = Mesh(ttnn, (1, 1), 0)
try:
    ttnn.empty([1 << 17, 1 << 17], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=mesh.device)
except RuntimeError as error:
    info = explain(error).info
    print("kind:", info.kind)
    print("lines:", info.message.count(chr(10)), "backtrace" in info.message)
mesh.close()
"""
    said = run(code, tmp_path, **mock_card("wormhole_n150"))
    assert "kind: out_of_memory" in said
    assert "lines: 0 False" in said


@pytest.mark.skipif(Path("/dev/tenstorrent").exists(), reason="there is a card")
def test_without_a_card_the_message_says_so(tmp_path: Path) -> None:
    code = """
from ttchat_tui.engine.tenstorrent.errors import explain
try:
    import ttnn
    from ttchat_tui.engine.tenstorrent.mesh import Mesh
    Mesh(ttnn, (1, 1), 0)
except Exception as error:
    print("kind:", explain(error).info.kind)
"""
    assert "kind: no_card" in run(code, tmp_path)
