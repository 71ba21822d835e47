"""The servers, each started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.remote.random_model import write_random_model
from tests.remote.real_server import RealServer, python_of


def _llama_cpp_python(folder: Path, gguf: Path) -> RealServer:
    python = python_of(".venv-remote-llama")
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
    command = [python, "-m", "llama_cpp.server", "--model", str(gguf), "--port", "{port}", *options]
    return RealServer("llama-cpp-python", command, folder / "log", "small")


def _llama_server(folder: Path, gguf: Path) -> RealServer:
    script = str(Path(__file__).with_name("llama_server.py"))
    command = [python_of(".venv-remote-llama-server"), script, str(gguf), "{port}"]
    return RealServer("llama.cpp", command, folder / "log", "small")


def _transformers(folder: Path, gguf: Path) -> RealServer:
    tool = str(Path(python_of(".venv-remote-transformers")).with_name("transformers"))
    model = write_random_model(gguf, folder / "random-llama")
    command = [tool, "serve", "--port", "{port}", "--host", "127.0.0.1", "--device", "cpu"]
    return RealServer("transformers serve", command, folder / "log", str(model))


def _vllm(folder: Path, gguf: Path) -> RealServer:
    python = python_of(".venv-remote-vllm")
    model = write_random_model(gguf, folder / "random-llama")
    # Not the command `vllm`: it looks for a package of that name, and the one for CPUs has another.
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", "{port}"]
    options = [
        "--max-model-len",
        "1024",
        "--dtype",
        "float32",
        "--enforce-eager",
        "--served-model-name",
        "random",
    ]
    return RealServer("vLLM", [*command, "--model", str(model), *options], folder / "log", "random")


def _mlx(folder: Path, gguf: Path) -> RealServer:
    python = python_of(".venv-remote-mlx")
    model = write_random_model(gguf, folder / "random-llama")
    command = [python, "-m", "mlx_lm", "server", "--model", str(model), "--port", "{port}"]
    return RealServer("OpenAI-compatible", command, folder / "log", str(model))


_TURNS: Final = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_OPENING: Final = "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n"
_CLOSING: Final = "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}"
THINKING: Final = {
    "left in the text": _TURNS + _OPENING + "{% endif %}",
    "sent apart": _TURNS + _OPENING + _CLOSING + "{% endif %}",
}
"""Chat templates that open a thought. llama.cpp's server takes the thought out of the text if the template can close it."""

SERVERS: Final = {
    "llama-cpp-python": _llama_cpp_python,
    "llama-server": _llama_server,
    "transformers serve": _transformers,
    "vllm": _vllm,
    "mlx_lm.server": _mlx,
}


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("server")
    one = SERVERS[request.param](folder, request.getfixturevalue("default_model_path"))
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="session", params=THINKING)
def thinking_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, default_model_path: Path
) -> Iterator[RealServer]:
    """llama.cpp's server over a model that thinks before it answers."""
    folder = tmp_path_factory.mktemp("thinking")
    template = folder / "thinking.jinja"
    template.write_text(THINKING[request.param])
    script = str(Path(__file__).with_name("llama_server.py"))
    command = [
        python_of(".venv-remote-llama-server"),
        script,
        str(default_model_path),
        "{port}",
        str(template),
    ]
    one = RealServer("llama.cpp", command, folder / "log", "small")
    one.start()
    yield one
    one.stop()
