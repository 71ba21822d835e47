"""Making engines by their kind, without loading what they need."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from ttchat_tui.domain.installation import install_command
from ttchat_tui.engine.base import MissingDependency
from ttchat_tui.engine.factory import ENGINES, FACTORY, create_engine
from ttchat_tui.engine.runtime.worker import find_factory


def test_the_remote_engine_needs_no_server_and_no_packages_of_the_others_to_be_created() -> None:
    code = (
        "import sys; from ttchat_tui.engine.factory import create_engine; create_engine('remote').close();"
        "print(sorted({'torch', 'numpy', 'tokenizers', 'ttnn', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_cpu_engine_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ttchat_tui.engine.cpu.engine", None)
    with pytest.raises(MissingDependency) as caught:
        create_engine("cpu")
    assert caught.value.info.cure == f"Run: {install_command('ttchat-tui[cpu]')}"


def test_the_card_engine_names_the_missing_package_and_not_an_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("ttchat_tui.engine.tenstorrent.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="'torch'") as caught:
        create_engine("tt")
    assert caught.value.info.cure == f"Run: {install_command('torch')}"


def test_creating_an_engine_loads_nothing_heavy() -> None:
    code = "import sys; from ttchat_tui.engine.factory import *; create_engine('cpu'); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_the_child_finds_the_factory_by_its_name() -> None:
    assert find_factory(FACTORY) is create_engine


@pytest.mark.parametrize(
    "module", [module for engine in ENGINES.values() for module in engine.warm_modules(engine.options())]
)
def test_every_warm_module_exists(module: str) -> None:
    assert importlib.util.find_spec(module)
