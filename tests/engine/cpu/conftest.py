"""A C compiler that all test processes share, and torch on one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models of a few weights only wait for a second thread."""
    import torch  # not for tests that compute without it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
