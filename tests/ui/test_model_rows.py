"""What the model picker offers beside the models of this machine."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, running
from ttchat_tui.config.schema import Config
from ttchat_tui.domain.model_spec import EngineInfo, RemoteEndpoint, RemoteOptions
from ttchat_tui.models.library import ModelRow
from ttchat_tui.ui.model_rows import offered
from ttchat_tui.ui.screens.model_picker import ModelPicker

HERE = ModelRow(name="smollm2-135m-instruct", path=Path("/m/small.gguf"))
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


def test_what_the_endpoint_in_use_serves_comes_first_and_other_endpoints_last() -> None:
    rows = offered([HERE], SERVED, ["lab", "cloud"])
    assert [(row.name, row.endpoint) for row in rows] == [
        ("remote:lab/meta/llama-3", "lab"),
        ("remote:lab/qwen3", "lab"),
        ("smollm2-135m-instruct", ""),
        ("remote:cloud/", "cloud"),
    ]


def test_without_endpoints_the_list_is_this_machines() -> None:
    assert offered([HERE], None, []) == (HERE,)


async def test_an_endpoint_of_the_config_is_chosen_in_the_picker_and_loaded(tmp_path: Path) -> None:
    lab = RemoteEndpoint(base_url="http://127.0.0.1:9/v1")
    config = Config(remote=RemoteOptions(endpoints={"lab": lab}))
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
