"""A chat in 80 lines on ttchat-tui's engines: load once, stream, several turns. ctrl+c stops a reply, ctrl+d quits.

`python examples/direct_chat.py meta-llama/Llama-3.2-1B-Instruct` runs on a Tenstorrent card, with `--engine cpu` on the
CPU. The app's settings apply. docs/tenstorrent.md compares this program with Tenstorrent's lesson.
"""

import os
import signal
import time
from contextlib import closing, suppress
from typing import Literal

import typer

from ttchat_tui.cli.errors import exit_codes, show_error
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import VisibleReply
from ttchat_tui.domain.thoughts import extract_answer
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.factory import ENGINES, create_engine
from ttchat_tui.models.prepare import Preparer


def prepare_engine(kind: str, model: str) -> Engine:
    """Load the model, after a download if it is not on this machine."""
    os.environ.setdefault("LOGURU_LEVEL", "WARNING")  # tt_transformers logs each prefill to the terminal
    paths, engine, progress = find_paths(os.environ), create_engine(kind), ProgressLine()
    config = load_config(paths, environ=os.environ)
    prepare = Preparer(
        models_dir=paths.models_dir, engine=kind, sources={kind: ENGINES[kind].models}, options_of=config.options_of,
        context_length=config.model.context_length, kernel_dir=str(paths.kernels_dir),
    )  # fmt: skip
    info = engine.load(prepare(model, progress), progress)
    progress.close()
    print(f"{info.model} is ready ({info.label}, {info.context_length:,} tokens).", *info.notes, sep="\n")
    return engine


def generate_response(engine: Engine, messages: list[ChatMessage], sampling: SamplingParams) -> str:
    """Print the reply as it is generated, and return it. ctrl+c ends it after the current token."""
    now, control, shown, reply = time.monotonic_ns(), GenerationControl(sampling), VisibleReply(), ""
    signal.signal(signal.SIGINT, lambda *_: control.cancel())
    request = GenerationRequest(id=now, seed=now, messages=tuple(messages), sampling=sampling)
    for event in engine.generate(request, control):
        if isinstance(event, TokenEvent | GenerationFinished):
            reply += event.text
            print(shown.feed(event.text), end="", flush=True)
        if isinstance(event, GenerationFinished) and event.error is not None:
            show_error(event.error)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(shown.end())
    return reply


def chat_loop(engine: Engine, sampling: SamplingParams) -> None:
    """Answer each line, after all turns before it. The engine leaves out the oldest that do not fit into the context."""
    messages: list[ChatMessage] = []
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            question = ChatMessage("user", input("> "))
            if reply := generate_response(engine, [*messages, question], sampling):
                messages += [question, ChatMessage("assistant", extract_answer(reply))]
    print()


def main(
    model: str, engine: Literal["tt", "cpu"] = "tt", temperature: float = 0.7, max_tokens: int = 512
) -> None:
    with exit_codes(), closing(prepare_engine(engine, model)) as loaded:
        chat_loop(loaded, SamplingParams(temperature=temperature, max_tokens=max_tokens))


if __name__ == "__main__":
    typer.run(main)
