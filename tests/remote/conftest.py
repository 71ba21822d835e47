"""The two servers, each started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.random_model import write_random_model
from tests.remote.real_server import RealServer, python_of


@pytest.fixture(scope="session", params=["llama-cpp-python", "transformers serve"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("server")
    gguf = request.getfixturevalue
    if request.param == "llama-cpp-python":
        python = python_of(".venv-remote-llama")
        path = gguf("default_model_path")
        options = [
            "--n_ctx",
            "1024",
            "--n_threads",
            "2",
            "--interrupt_requests",
            "false",
            "--model_alias",
            "small",
        ]
        command = [python, "-m", "llama_cpp.server", "--model", str(path), "--port", "{port}", *options]
        one = RealServer("llama-cpp-python", command, folder / "log", "small")
    else:
        python = python_of(".venv-remote-transformers")
        model = write_random_model(gguf("default_model_path"), folder / "random-llama")
        tool = str(Path(python).with_name("transformers"))
        command = [tool, "serve", "--port", "{port}", "--host", "127.0.0.1", "--device", "cpu"]
        one = RealServer("transformers serve", command, folder / "log", str(model))
    one.start()
    yield one
    one.stop()
