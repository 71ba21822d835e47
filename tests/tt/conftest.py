"""What the tests over real ttnn need: the venv of `make test-tt`, a mock card, a tt-metal checkout for the engine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from ttchat_tui.engine.tenstorrent.environment import GENERATOR, Checkout

HERE: Final = Path(__file__).parent
MOCK: Final = HERE / "mock"
CARDS: Final = ("wormhole_n150", "blackhole_p150")


def _missing() -> str:
    """Why none of these tests can run; empty when they can."""
    if importlib.util.find_spec("ttnn") is None:
        return "ttnn is not installed here; `make test-tt` runs these in a venv of its own"
    if shutil.which("riscv64-unknown-elf-gcc") is None:
        return "riscv64-unknown-elf-gcc is missing: apt-get install gcc-riscv64-unknown-elf"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _missing()
    here = f"{HERE}{os.sep}"
    for item in items:
        if reason and str(item.path).startswith(here):
            item.add_marker(pytest.mark.skip(reason=reason))


def mock_card(name: str) -> dict[str, str]:
    """Variables that make ttnn find this card only."""
    return {"TT_METAL_MOCK_CLUSTER_DESC_PATH": str(MOCK / f"{name}.yaml"), "TT_LOGGER_LEVEL": "info"}


def shadow_card(name: str) -> dict[str, str]:
    """Variables that make ttnn find this card only, and compute: tests/tt/torch_ttnn/shadow.py."""
    folders = (
        str(HERE / "torch_ttnn" / "bootstrap"),
        str(HERE.parent.parent),
        os.environ.get("PYTHONPATH", ""),
    )
    return {**mock_card(name), "PYTHONPATH": os.pathsep.join(filter(None, folders)), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The tt-metal checkout that TT_METAL_HOME names; skips without."""
    home = os.environ.get("TT_METAL_HOME", "")
    if not home:
        pytest.skip("TT_METAL_HOME names no tt-metal checkout (of 2026-06; its models/ is enough)")
    if not (Checkout(Path(home), "TT_METAL_HOME").library / GENERATOR).is_file():
        pytest.skip(f"TT_METAL_HOME={home} holds no Generator")
    return Path(home)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, written once."""
    from tests.tt.tiny_llama import write_model  # torch is not in every venv that collects this file

    return write_model(tmp_path_factory.mktemp("models"))


_TABLE: Final[dict[tuple[str, str], list[object]]] = {}


@pytest.fixture(scope="session")
def record() -> Callable[[str, str, object], None]:
    """Notes an agreement for the table at the end of the run: model, case, agreement."""

    def note(model: str, case: str, agreement: object) -> None:
        _TABLE.setdefault((model, case), []).append(agreement)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _TABLE:
        terminalreporter.section("agreement with the float32 CPU engine")
    for (model, case), agreements in _TABLE.items():
        for agreement in agreements:
            terminalreporter.write_line(f"{model:<26} {case:<24} {agreement}")
