"""Which engine runs what, and the one that stands in front of all of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.fakes import ScriptedEngine
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, LoadProgress
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineKind, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, MissingDependency
from ttchat_tui.engine.factory import FACTORY, WARM_MODULES, create_engine
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.engine.runtime.worker import find_factory


def ignore(_progress: LoadProgress) -> None:
    pass


def test_the_remote_engine_is_made_without_a_server_and_without_packages_of_the_others() -> None:
    code = (
        "import sys; from ttchat_tui.engine.factory import create_engine; create_engine('remote').close();"
        "print(sorted({'torch', 'numpy', 'tokenizers', 'ttnn', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_cpu_engine_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ttchat_tui.engine.cpu.engine"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ttchat_tui.engine.cpu.preload", None)
    with pytest.raises(MissingDependency) as caught:
        create_engine("cpu")
    assert caught.value.info.cure == "pip install 'ttchat-tui[cpu]'"


def test_the_card_engine_names_the_package_that_is_missing_and_not_what_was_just_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("ttchat_tui.engine.tenstorrent.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="'torch'") as caught:
        create_engine("tt")
    assert caught.value.info.cure == "pip install torch"


def test_creating_an_engine_loads_nothing_heavy() -> None:
    code = "import sys; from ttchat_tui.engine.factory import *; create_engine('cpu'); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_the_child_finds_the_factory_by_its_name() -> None:
    assert find_factory(FACTORY) is create_engine


@pytest.mark.parametrize("module", [module for modules in WARM_MODULES.values() for module in modules])
def test_every_warm_module_exists(module: str) -> None:
    assert importlib.util.find_spec(module)


class Made:
    """A factory that keeps what it made."""

    def __init__(self) -> None:
        self.kinds: list[EngineKind] = []
        self.engines: list[ScriptedEngine] = []

    def __call__(self, kind: EngineKind) -> ScriptedEngine:
        self.kinds.append(kind)
        self.engines.append(ScriptedEngine())
        return self.engines[-1]


def test_no_engine_is_made_before_a_model_is_loaded() -> None:
    made = Made()
    engine = SwitchingEngine(made)
    engine.unload()
    with pytest.raises(EngineError, match="No model"):
        engine.count(1, [ChatMessage("user", "hello")])
    request = GenerationRequest(id=7, messages=(), sampling=SamplingParams(), seed=1)
    (last,) = engine.generate(request, GenerationControl(request.sampling))
    assert isinstance(last, GenerationFinished)
    assert (last.request_id, last.reason) == (7, "error")
    assert last.error is not None
    assert last.error.message == "No model is loaded."
    engine.close()
    assert not made.engines


def test_models_of_one_kind_share_an_engine_and_another_kind_replaces_it() -> None:
    made = Made()
    engine = SwitchingEngine(made)
    for kind, name in (("cpu", "a"), ("cpu", "b"), ("tt", "c")):
        engine.load(ModelSpec(engine=kind, name=name), ignore)  # type: ignore[arg-type]
    assert made.kinds == ["cpu", "tt"]
    assert made.engines[0].calls == ["load", "load", "close"]
    assert made.engines[1].calls == ["load"]
