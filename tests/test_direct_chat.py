"""examples/direct_chat.py, on a scripted card of each generation and on the CPU."""

from __future__ import annotations

import os
import re
import runpy
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from tests.engine.tenstorrent.fakes.card import EVENTS, Transformer, misuses
from tests.engine.tenstorrent.fakes.installation import GENERATIONS, Installation
from tests.engine.tenstorrent.talk import expected
from tests.engine.tenstorrent.torch_card import Site, require_checkout
from tests.tt.torch_ttnn.small_models import LLAMA, write_model
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import VisibleReply
from ttchat_tui.engine.factory import create_engine
from ttchat_tui.engine.text.tokenizer_folder import tokenizer_from_folder

SCRIPT: Final = Path(__file__).parents[1] / "examples" / "direct_chat.py"
TOKENS: Final = 12
FIRST, SECOND = "Say something.", "And more?"

Chat: TypeAlias = Callable[..., list[str]]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chat:
    """Runs the program on a model and an engine, with two lines typed and then ctrl+d; returns the lines that it prints.

    `when_typed` is called with each line.
    """

    def run(model: Path, engine: str, when_typed: Callable[[str], None] = lambda line: None) -> list[str]:
        typed = iter([FIRST, SECOND])

        def read(_prompt: str) -> str:
            if (line := next(typed, None)) is None:
                raise EOFError
            when_typed(line)
            return line

        monkeypatch.setattr("builtins.input", read)
        program: dict[str, Any] = runpy.run_path(str(SCRIPT))
        program["main"](str(model), engine, temperature=0.0, max_tokens=TOKENS)
        *lines, last = capsys.readouterr().out.splitlines()
        assert last == ""
        return lines

    return run


@pytest.fixture(params=["s5"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with Installation(request.param, tmp_path) as installation:
        (installation.checkpoint / "model.safetensors").touch()  # only a complete checkpoint is accepted
        yield installation


def scripted(installed: Installation, *texts: str) -> str:
    """The card's greedy reply to these messages of user and assistant in turn."""
    roles: Sequence[Any] = ("user", "assistant") * len(texts)
    ids = expected(installed, tuple(map(ChatMessage, roles, texts)), TOKENS)
    stream = tokenizer_from_folder(installed.checkpoint).new_decoder(is_start=True)
    return "".join(map(stream.push, ids))


def test_it_has_at_most_80_lines() -> None:
    assert len(SCRIPT.read_text("utf-8").splitlines()) <= 80


@pytest.mark.parametrize("installed", GENERATIONS, indirect=True)
def test_the_card_answers_every_turn_with_the_turns_before_it(chat: Chat, installed: Installation) -> None:
    ready, first, second = chat(installed.checkpoint, "tt")
    assert EVENTS[-1] == "close"
    assert not misuses()
    assert ready.startswith("Llama-3.2-1B-Instruct is ready (tt S")
    assert first == scripted(installed, FIRST)
    assert second == scripted(installed, FIRST, first, SECOND)


def test_ctrl_c_ends_a_reply_and_its_text_stays_in_the_conversation(
    chat: Chat, installed: Installation
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        decode, steps = Transformer.decode, iter([1, 2, 3])

        def interrupted(self: Transformer, *inputs: Any) -> Any:
            if next(steps, 0) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return decode(self, *inputs)

        _, first, second = chat(
            installed.checkpoint, "tt", lambda line: patch.setattr(Transformer, "decode", interrupted)
        )
    assert 2 <= len(first.split()) < TOKENS
    assert scripted(installed, FIRST).startswith(first)
    assert second == scripted(installed, FIRST, first, SECOND)


def test_a_reply_that_fails_is_explained_and_the_next_one_begins_anew(
    chat: Chat, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained: list[str] = []
    monkeypatch.setattr("ttchat_tui.cli.errors.notify", explained.append)
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_inputs: Any) -> Any:
            patch.undo()
            raise RuntimeError("TT_FATAL @ x.cpp:1: no\ninfo:\nOut of luck\nbacktrace:\n --- native")

        def break_first(line: str) -> None:
            if line == FIRST:
                patch.setattr(Transformer, "prefill", fail)

        _, first, second = chat(installed.checkpoint, "tt", break_first)
    assert first == ""
    assert "Out of luck" in explained[0]
    assert second == scripted(installed, SECOND)


def test_a_model_that_is_not_there_is_named_with_a_cure(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    explained: list[str] = []
    monkeypatch.setattr("ttchat_tui.cli.errors.notify", explained.append)
    with pytest.raises(SystemExit):
        chat(Path("nothing"), "tt")
    assert "No model is called 'nothing'" in explained[0]
    assert "models list" in explained[0]


def test_the_cpu_engine_answers_in_the_same_way(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTCHAT_CPU__THREADS", "1")
    monkeypatch.setenv("TTCHAT_CPU__KERNEL", "off")  # Compiling one takes long.
    folder = write_model(tmp_path, LLAMA)
    ready, *printed = chat(folder, "cpu")
    assert ready.startswith(f"{folder.name} is ready (cpu ")
    engine = create_engine("cpu")
    options = CpuOptions(threads=1, kernel="off")
    engine.load(ModelSpec(name="the same", path=str(folder), options=options), lambda progress: None)
    sampling = SamplingParams(temperature=0.0, max_tokens=TOKENS)
    messages: tuple[ChatMessage, ...] = ()
    said = ""
    for question in (FIRST, SECOND):
        messages += (ChatMessage("user", question),)
        request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=1)
        events = list(engine.generate(request, GenerationControl(sampling)))
        reply = "".join(each.text for each in events if isinstance(each, TokenEvent | GenerationFinished))
        messages += (ChatMessage("assistant", reply),)
        shown = VisibleReply()
        said += shown.feed(reply) + shown.end() + "\n"
    engine.close()
    assert printed == said.splitlines()


def test_tt_metals_own_model_code_says_what_the_cpu_says(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a card that computes with torch."""
    require_checkout()
    for name, value in {
        "TTCHAT_MODEL__CONTEXT_LENGTH": "1024",
        "TTCHAT_CPU__PRECISION": "fp32",
        "TTCHAT_CPU__KERNEL": "off",
        "TTCHAT_CPU__THREADS": "1",
        "TTCHAT_TT__CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    folder = write_model(tmp_path, LLAMA)
    with Site():
        ready, *card = chat(folder, "tt")
    assert "is ready (tt S" in ready
    assert card == chat(folder, "cpu")[1:]


def test_the_manual_names_files_that_are_there() -> None:
    """The table from the lesson to here."""
    root = SCRIPT.parents[1]
    manual = (root / "docs" / "tenstorrent.md").read_text("utf-8")
    table = manual.partition("## From the lesson to here")[2].partition("\n## ")[0]
    cells = [row.split("|")[2] for row in table.splitlines() if row.startswith("|")][2:]
    assert len(cells) > 8
    for cell in cells:
        folder = ""
        for name in re.findall(r"`([\w/]+(?:/|\.py))`", cell):
            folder = name.rpartition("/")[0] if "/" in name else folder
            assert (root / "ttchat_tui" / folder / name.rpartition("/")[2]).exists(), cell
