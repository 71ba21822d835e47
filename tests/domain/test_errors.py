"""The one base of all errors that a person reads."""

from __future__ import annotations

import pytest

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.engine.base import EngineDied, EngineError
from ttchat_tui.models.errors import ModelNameError
from ttchat_tui.storage.errors import StorageError

INFO = ErrorInfo(kind="disk_full", message="The disk is full.", cure="Free some space.")


@pytest.mark.parametrize(
    ("error", "info"),
    [
        (EngineError("It broke.", "Load again."), ErrorInfo(kind="engine_error", message="It broke.", cure="Load again.")),
        (EngineError("It broke.", kind="native"), ErrorInfo(kind="native", message="It broke.")),
        (EngineDied("It ended."), ErrorInfo(kind="engine_died", message="It ended.")),
        (ModelNameError("No x.", kind="model_unknown").at("--model"), ErrorInfo(kind="model_unknown", message="--model: No x.")),
        (StorageError(INFO), INFO),
    ],
    ids=["of a class", "of another kind", "of a subclass", "at a place", "from an info"],
)  # fmt: skip
def test_every_error_has_a_message_a_cure_and_a_kind(error: AppError, info: ErrorInfo) -> None:
    assert error.info == info
    assert str(error) == info.message


def test_an_error_in_the_settings_is_one_line_with_its_cure() -> None:
    error = ConfigError("config.toml", "Expected `int`\nhere", setting="$.top.k", cure="Write a number.")
    assert str(error) == "config.toml: top.k: Expected `int` here; Write a number."
    assert error.info.kind == "config"
