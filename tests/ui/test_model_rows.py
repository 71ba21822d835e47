"""Rows of the model picker besides the local models."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from tests.engine.cpu.raw_gguf import gguf_bytes, tiny_metadata, tiny_tensors
from tests.fakes import Script
from tests.ui.chat_app import ChatApp, running, settle, until
from tests.ui.shell_app import ShellApp, screen_text
from ttchat_tui.config.schema import Config
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.model_spec import EngineInfo, RemoteEndpoint, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.models.library import ModelRow
from ttchat_tui.session import with_served_name
from ttchat_tui.ui.model_rows import loaded, offered
from ttchat_tui.ui.screens.model_picker import ModelPicker
from ttchat_tui.ui.widgets.cells import cut_in_middle

HERE = ModelRow(name="smollm2-135m-instruct", path=Path("/m/small.gguf"))
SERVER = RemoteEndpoint(base_url="http://127.0.0.1:9/v1")
SERVED = EngineInfo(
    model="llama-3",
    engine="remote",
    label="remote vLLM @ lab",
    context_length=8192,
    vocab_size=0,
    load_s=0.1,
    endpoint="lab",
    served=("remote:lab/meta/llama-3", "remote:lab/qwen3"),
)


def test_models_of_the_connected_endpoint_come_first_and_other_endpoints_last() -> None:
    rows = offered([HERE], SERVED, RemoteOptions(endpoints={"lab": SERVER, "cloud": SERVER}))
    assert [(row.name, row.endpoint) for row in rows] == [
        ("remote:lab/meta/llama-3", "lab"),
        ("remote:lab/qwen3", "lab"),
        ("smollm2-135m-instruct", ""),
        ("remote:cloud/", "cloud"),
    ]


def test_other_servers_that_were_found_on_this_machine_have_a_row_each() -> None:
    found = msgspec.structs.replace(SERVED, endpoint="127.0.0.1:8000", elsewhere=("127.0.0.1:11434",))
    names = [row.name for row in offered([], found, RemoteOptions())]
    assert names == [*SERVED.served, "remote:127.0.0.1:11434/"]


@pytest.mark.parametrize(
    ("remote", "where"),
    [
        (RemoteOptions(), "a server on this machine"),
        (RemoteOptions(base_url="http://lab/v1"), "http://lab/v1"),
    ],
)
def test_a_server_can_be_chosen_without_a_name(remote: RemoteOptions, where: str) -> None:
    assert [(row.name, row.endpoint) for row in offered([HERE], None, remote)] == [
        ("smollm2-135m-instruct", ""),
        ("remote:", where),
    ]


@pytest.mark.parametrize(
    ("asked", "info", "name"),
    [
        ("remote:", SERVED, "remote:lab/llama-3"),
        ("remote:lab/", SERVED, "remote:lab/llama-3"),
        (
            "remote:",
            msgspec.structs.replace(SERVED, served=("remote:other/llama-3", "remote:llama-3")),
            "remote:llama-3",
        ),
        ("remote:lab/llama-3", msgspec.structs.replace(SERVED, served=()), "remote:lab/llama-3"),
        (
            "smollm2-135m-instruct",
            msgspec.structs.replace(SERVED, endpoint="", served=()),
            "smollm2-135m-instruct",
        ),
        ("qwen3-0.6b", None, "qwen3-0.6b"),
    ],
)
def test_the_row_of_what_is_loaded_is_known(asked: str, info: EngineInfo | None, name: str) -> None:
    if info is SERVED:
        info = msgspec.structs.replace(SERVED, served=("remote:lab/qwen3", "remote:lab/llama-3"))
    assert loaded(asked, info) == name


async def test_an_endpoint_of_the_config_is_chosen_in_the_picker_and_loaded(tmp_path: Path) -> None:
    config = Config(remote=RemoteOptions(endpoints={"lab": SERVER}))
    chat = ChatApp(tmp_path, Script(), config=config)

    async def choose(pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert isinstance(chat.app.screen, ModelPicker)
        await pilot.press(*"lab/", "enter")
        await pilot.pause()

    async with running(chat) as pilot:
        await choose(pilot)
        assert chat.session.model == "remote:lab/"
        assert not chat.toasts(), "no model of this machine was looked for"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("qwen3", "remote:lab/qwen3"),
        ("qwen", "remote:lab/qwen3"),
        ("qwne3", "remote:lab/qwen3"),
        ("meta/llama-3", "remote:lab/meta/llama-3"),
        ("smollm2", ""),
    ],
)
def test_a_served_name_without_its_server_is_recognised(typed: str, meant: str) -> None:
    refused = ErrorInfo(kind="model_unknown", message=f"No model is called {typed!r}.", cure="List them.")
    known = with_served_name(refused, typed, SERVED)
    assert known.cure == (f"Did you mean {meant}?" if meant else "List them.")
    assert with_served_name(refused, typed, None) is refused


def test_only_a_model_whose_template_is_known_is_said_not_to_understand_a_choice() -> None:
    local = msgspec.structs.replace(SERVED, endpoint="", served=())
    assert "chat template of llama-3 does not understand it" in local.why_not_thinking("Thinking “off”")
    assert "template" not in SERVED.why_not_thinking("Thinking “off”")


@pytest.mark.parametrize("width", range(50))
def test_a_long_name_keeps_its_end_which_tells_it_from_others(width: int) -> None:
    name = "lmstudio:bart/SmolLM2-世界-GGUF/SmolLM2-Q8_0.gguf"
    cut = cut_in_middle(name, width)
    assert cell_len(cut) <= width
    assert cut == name or width < cell_len(name)
    assert width < 21 or cut.endswith("Q8_0.gguf")


async def test_a_broken_download_is_incomplete_in_the_picker(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.gguf", tmp_path / "cut.gguf"
    file = gguf_bytes(tiny_metadata(), tiny_tensors())
    whole.write_bytes(file)
    cut.write_bytes(file[:-100])
    app = ShellApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(ModelPicker([ModelRow(name=each.stem, path=each) for each in (whole, cut)]))
        await until(pilot, lambda: any("incomplete" in line for line in screen_text(app)))
        lines = [line.split() for line in screen_text(app)]
        states = {name: next(line for line in lines if name in line)[-2] for name in ("whole", "cut")}
    assert states == {"whole": "here", "cut": "incomplete"}


async def test_settings_that_come_with_another_model_are_named_and_those_of_the_user_stay(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        assert not chat.toasts(), "the first model changes nothing"
        chat.engine.script = Script(recommended=SamplingParams(temperature=0.15, top_k=7))
        chat.session.load("scripted")
        await until(pilot, lambda: chat.session.sampling.temperature == 0.15)
        await settle(pilot, chat)
        (said,) = [each for each in chat.toasts() if "sampling" in each]
        assert said.startswith("The sampling settings are now those of scripted: temperature 0.15, ")
        assert "top-k 7" in said
        chat.app.clear_notifications()
        chat.session.set_sampling(SamplingParams(temperature=1.5))
        chat.engine.script = Script(recommended=SamplingParams(temperature=0.3))
        chat.session.load("scripted")
        await until(pilot, lambda: chat.session.default_sampling.temperature == 0.3)
        await settle(pilot, chat)
        assert chat.session.sampling.temperature == 1.5
        assert not [each for each in chat.toasts() if "sampling" in each]
