"""The offer of the first start, and a download beside the chat, against a hub on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.builders import GGUF
from tests.models.hub_server import REPO, Hub, serving
from tests.ui.chat_app import ChatApp, running, until
from tests.ui.shell_app import screen_text
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.models import machine
from ttchat_tui.ui.screens.getting import DownloadLine

NAME = f"{REPO}:Q4_K_M"


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChatApp:
    monkeypatch.setattr(machine, "_measure", lambda _: 200e9)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    made = ChatApp(tmp_path)
    made.app.services.offers_models = True
    return made


async def test_the_first_start_offers_three_models_and_a_download_keeps_the_conversation(
    chat: ChatApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"toy-Q4_K_M.gguf": GGUF}
    with serving(Hub(files=files)) as hub:
        async with running(chat, (80, 24), toasts=True) as pilot:
            await until(pilot, lambda: "alt+3" in "\n".join(screen_text(chat.app)))
            shown = "\n".join(screen_text(chat.app))
            assert "tiny, and there to try the app" in shown
            assert shown.count("tok/s") >= 3
            assert chat.kept[-1].has_offered_models

            await pilot.press("alt+1")  # there is no hub
            assert chat.screen.query(DownloadLine)
            await until(pilot, lambda: not chat.screen.query(DownloadLine))
            assert any("none of its sources can be reached" in toast for toast in chat.toasts())
            assert any("models pull" in toast for toast in chat.toasts())
            assert "alt+1" in "\n".join(screen_text(chat.app))

            monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
            chat.screen.choose_model(NAME)
            chat.screen.command_get_model("qwen3-4b")
            await pilot.pause()
            assert any(f"{NAME} is still coming" in toast for toast in chat.toasts())
            chat.session.submit("Hello!")
            await until(pilot, lambda: chat.session.loaded_model == NAME and chat.host.state == "ready")
            assert chat.session.conversation is not None
            assert chat.session.path[0].content == "Hello!"
            assert not chat.screen.query(DownloadLine)
            assert (chat.paths.models_dir / "maker--toy:Q4_K_M" / "toy-Q4_K_M.gguf").read_bytes() == GGUF


@pytest.mark.parametrize("name", ["cancel", "Cancel"])
async def test_cancel_without_a_download_says_that_there_is_none(chat: ChatApp, name: str) -> None:
    async with running(chat, (100, 30)) as pilot:
        chat.screen.command_get_model(name)
        await pilot.pause()
        assert chat.toasts()[-1] == "No download is running.\n/get lists the models."


async def test_what_was_offered_once_is_not_offered_again(chat: ChatApp) -> None:
    chat.app.services.ui_state = UiState(has_offered_models=True)
    async with running(chat, (60, 20)):
        assert "alt+1" not in "\n".join(screen_text(chat.app))
