"""The first load waits for the first frame."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ttchat_tui.cli import chat
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.models import prepare as models_prepare


def ignore(progress: LoadProgress) -> None:
    """A reporter that does nothing."""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(config_dir=tmp_path, data_dir=tmp_path, cache_dir=tmp_path, state_dir=tmp_path)


def test_a_model_is_not_prepared_before_the_screen_is_ready(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    class Preparer:
        def __init__(self, **settings: object) -> None:
            happened.append("prepared")

        def __call__(self, name: str, report: object) -> ModelSpec:
            return ModelSpec(engine="cpu", name=name, path="")

    monkeypatch.setattr(models_prepare, "Preparer", Preparer)
    monkeypatch.setattr(chat, "FIRST_FRAME_S", 60)
    screen_ready = threading.Event()
    prepare = chat._prepare_after(screen_ready, Config(), paths)
    engine_thread = threading.Thread(target=prepare, args=("a model", ignore))
    engine_thread.start()
    happened.append("the screen is ready")
    screen_ready.set()
    engine_thread.join(60)
    assert happened == ["the screen is ready", "prepared"]


def test_a_screen_that_never_comes_does_not_delay_a_load(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "FIRST_FRAME_S", 0)
    file = paths.data_dir / "model.gguf"
    file.write_bytes(b"GGUF")
    spec = chat._prepare_after(threading.Event(), Config(), paths)(str(file), ignore)
    assert spec.path == str(file)
