"""How every engine loads and unloads, in whichever process it runs."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.engine.engine_subject import (
    ALL_SUBJECTS,
    QUESTION,
    SUBJECTS,
    Subject,
    ids,
)
from tests.fakes import MODEL_MISSING
from tests.size import sized
from ttchat_tui.domain.events import (
    LoadPhase,
    LoadProgress,
)
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.engine.base import EngineError, LoadCancelled

pytestmark = pytest.mark.parametrize(
    "subject",
    sized((*SUBJECTS, "tt-s5-process"), ALL_SUBJECTS),
    indirect=True,
    scope="package",
)
"""Loads cross from a process with a card as well: it prints, and takes its time."""

PHASES: tuple[str, ...] = get_args(LoadPhase)
CPU_PHASES = ("start", "download", "verify", "read", "compile", "convert", "warm up")
"""A card compiles programs for its weights; the CPU's kernel is compiled once, before the first weights are packed."""


def test_load_phases_come_in_their_order_and_never_pass_their_end(subject: Subject) -> None:
    subject.loaded()
    phases = CPU_PHASES if subject.spec.engine == "cpu" else PHASES
    order = [phases.index(progress.phase) for progress in subject.progress]
    assert order == sorted(order)
    begins_and_ends = {"start", "compile"} if subject.spec.engine == "tt" else {"start", "read", "warm up"}
    assert begins_and_ends <= {progress.phase for progress in subject.progress}
    assert all(progress.done <= progress.total for progress in subject.progress if progress.total)


def test_the_engine_reports_what_it_loaded(subject: Subject) -> None:
    info = subject.loaded()
    expected = (subject.spec.name, subject.spec.engine, subject.context)
    assert (info.model, info.engine, info.context_length) == expected
    assert info.vocab_size > 1_000
    assert info.load_s > 0
    if info.engine == "cpu":
        assert info.parameters > 1_000_000
        assert info.threads >= 1
    assert info.label


def test_a_load_that_fails_says_so_and_leaves_the_engine_empty_and_usable(subject: Subject) -> None:
    subject.loaded()
    missing = ModelSpec(engine=subject.spec.engine, name=MODEL_MISSING, path="/no/such/file.gguf")
    with pytest.raises(EngineError) as caught:
        subject.engine.load(missing, subject.progress.append)
    assert caught.value.info.message
    assert caught.value.info.kind not in ("internal", "engine_died")
    assert subject.refuses_to_generate()
    subject.load()
    assert ids(subject.reply())


def test_a_load_is_cancelled_from_its_reporter(subject: Subject) -> None:
    subject.loaded()
    calls = iter([False, False])

    def report(_progress: LoadProgress) -> None:
        if next(calls, True):
            raise LoadCancelled("cancelled")

    with pytest.raises(LoadCancelled):
        subject.engine.load(subject.spec, report)
    assert subject.refuses_to_generate()
    subject.load()
    assert ids(subject.reply())


def test_unloading_empties_the_engine_and_may_be_repeated(subject: Subject) -> None:
    subject.loaded()
    subject.engine.unload()
    subject.engine.unload()
    assert subject.refuses_to_generate()
    with pytest.raises(EngineError):
        subject.engine.count(1, [QUESTION])
    subject.load()
    assert ids(subject.reply())
