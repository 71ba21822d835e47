"""The message for an exception."""

from __future__ import annotations

import pytest

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.runtime.error_info import error_info


def test_an_error_of_the_app_is_shown_as_it_is() -> None:
    error = EngineError("It broke.", cure="Mend it.", kind="model_broken")
    assert error_info(error) is error.info


def test_any_other_error_is_internal_and_shows_its_first_line() -> None:
    info = error_info(RuntimeError("it broke\nat some length"))
    assert (info.kind, info.message) == ("internal", "The engine failed: RuntimeError: it broke")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        ImportError(
            "IMPORTANT: PLEASE READ THIS\n\nOriginal error was: libopenblas.so: failed to map segment from shared object"
        ),
    ],
    ids=["Python", "the system", "a library"],
)
def test_an_error_for_lack_of_memory_says_so(error: Exception) -> None:
    info = error_info(error)
    assert info.kind == "out_of_memory"
    assert "ulimit" in info.cure
