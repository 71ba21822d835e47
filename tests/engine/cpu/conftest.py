"""A C compiler that all test processes share."""

from __future__ import annotations

import os

import pytest

from tests.engine.cpu.native_kernel import remembering_compiler


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`CC` of a compiler that compiles a kernel once for each set of flags."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "compiler"
    folder.mkdir(exist_ok=True)
    return remembering_compiler(folder)
