"""The control of a running reply: who waits for a step, and what ends the wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from ttchat_tui.domain import generation
from ttchat_tui.domain.generation import GenerationControl, Pacing
from ttchat_tui.domain.sampling import SamplingParams


def paused() -> GenerationControl:
    control = GenerationControl(SamplingParams())
    control.pause()
    return control


@pytest.mark.parametrize(
    "wake",
    [GenerationControl.resume, GenerationControl.step, GenerationControl.cancel],
    ids=lambda wake: wake.__name__,
)
def test_the_wait_for_a_step_ends_with(
    wake: Callable[[GenerationControl], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "MAIN_THREAD_CHECK_S", 3600.0)
    control, has_begun, has_ended = paused(), threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        control.await_step()
        has_ended.set()

    threading.Thread(target=wait, daemon=True).start()
    assert has_begun.wait(20)
    assert not has_ended.is_set()
    wake(control)
    assert has_ended.wait(20)


class WouldWait(Exception):
    """The engine would wait for the user."""


def would_wait(control: GenerationControl, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the next step does not begin; if it does, it is taken."""

    def wait(_seconds: float) -> None:
        raise WouldWait

    with monkeypatch.context() as patch:
        patch.setattr(control, "_has_changed", SimpleNamespace(wait=wait))
        try:
            control.await_step()
        except WouldWait:
            return True
    return False


def test_each_step_is_taken_once_and_a_resume_forgets_those_left(monkeypatch: pytest.MonkeyPatch) -> None:
    control = paused()
    assert would_wait(control, monkeypatch)
    control.step()
    control.step()
    assert [would_wait(control, monkeypatch) for _ in range(3)] == [False, False, True]
    control.step()
    control.resume()  # while the engine is in a step, so that it sees only the next pause
    control.pause()
    assert would_wait(control, monkeypatch)
    control.step()
    assert not would_wait(control, monkeypatch)


def test_steps_are_for_paused_replies_and_a_cancelled_one_is_not_paused() -> None:
    control = GenerationControl(SamplingParams())
    control.step()
    assert control.pacing == Pacing()
    control.pause()
    control.cancel()
    assert not control.is_paused


def test_a_reply_that_nobody_can_resume_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Thread()
    monkeypatch.setattr(threading, "main_thread", lambda: ended)
    monkeypatch.setattr(generation, "MAIN_THREAD_CHECK_S", 0.001)
    control = paused()
    control.await_step()
    assert control.is_cancelled
