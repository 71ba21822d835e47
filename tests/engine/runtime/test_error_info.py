"""What a person is told about an exception that nobody foresaw."""

from __future__ import annotations

import pytest

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.runtime.error_info import told


def test_an_error_of_the_engine_tells_itself() -> None:
    error = EngineError("It broke.", cure="Mend it.", kind="broken")
    assert told(error) is error.info


def test_of_any_other_error_the_first_line_is_told() -> None:
    info = told(RuntimeError("it broke\nat some length"))
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
def test_too_little_memory_is_told_as_that(error: Exception) -> None:
    info = told(error)
    assert info.kind == "out_of_memory"
    assert "ulimit" in info.cure
