"""Each native text leads to its own sentence and cure; the backtrace stays off the screen."""

from __future__ import annotations

import logging
import re
import signal
from pathlib import Path

import msgspec
import pytest

from tests.engine.tenstorrent.native_texts import NATIVE, fatal
from ttchat_tui.domain.given_settings import set_names
from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.runtime.exit_report import exit_report
from ttchat_tui.engine.tenstorrent.cures.cure import Cure
from ttchat_tui.engine.tenstorrent.cures.table import CURES
from ttchat_tui.engine.tenstorrent.cures.topology import TOPOLOGY
from ttchat_tui.engine.tenstorrent.errors import advice_after, cure_for, explain, explain_errors

TEXTS = [f"{type(error).__name__}: {error}".partition("\nbacktrace:")[0] for error, _, _ in NATIVE]


@pytest.mark.parametrize(("error", "kind", "cure"), NATIVE, ids=lambda value: str(value)[:50])
def test_a_native_error_becomes_a_sentence_and_a_cure(error: BaseException, kind: str, cure: str) -> None:
    info = explain(error).info
    assert info.kind == kind
    assert cure in info.cure
    assert "backtrace" not in info.message
    assert "CreateDevices" not in info.message


def test_every_entry_of_the_table_is_reached_by_a_native_text() -> None:
    assert {found.part for text in TEXTS if (found := cure_for(text))} == {entry.part for entry in CURES}


@pytest.mark.parametrize("cure", CURES, ids=lambda cure: cure.part[:40])
def test_every_alternative_of_a_pattern_has_an_example(cure: Cure) -> None:
    insensitive, flags = cure.part.removeprefix("(?i)"), re.DOTALL
    if insensitive != cure.part:
        flags |= re.IGNORECASE
    looked_for = [part for part in re.split(r"\|(?![^(]*\))", insensitive) if part]
    assert [part for part in looked_for if not any(re.search(part, text, flags) for text in TEXTS)] == []


def test_the_figures_of_a_tt_fatal_stay_and_its_backtrace_goes_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        reported = explain(fatal("Out of Memory: Not enough space to allocate 1077936128 B DRAM buffer"))
    assert "1077936128 B" in str(reported)
    assert "CreateDevices" not in str(reported)
    assert "CreateDevices" in caplog.text


def test_an_unknown_tt_fatal_shows_its_info_block_only() -> None:
    reported = explain(fatal("Something new\nwith two lines"))
    assert str(reported) == "The Tenstorrent engine failed: Something new with two lines"
    assert reported.info.kind == "native"


def test_the_cause_is_searched_when_the_error_itself_matches_nothing() -> None:
    error = ValueError("could not load the configuration")
    error.__cause__ = OSError("401 Client Error: Unauthorized")
    assert explain(error).info.kind == "model_gated"


def test_an_error_of_our_own_passes_unchanged() -> None:
    with pytest.raises(LoadCancelled), explain_errors():
        raise LoadCancelled("cancelled")


def test_native_errors_leave_the_block_explained() -> None:
    with pytest.raises(EngineError, match="stopped answering"), explain_errors():
        raise fatal("TIMEOUT: device timeout, potential hang detected")


@pytest.mark.parametrize(
    "error",
    [error for error, _, _ in NATIVE if isinstance(error, RuntimeError)],
    ids=lambda error: str(error)[:50],
)
def test_a_native_text_has_the_same_cure_when_the_process_printed_it_and_died(
    error: RuntimeError, tmp_path: Path
) -> None:
    known = cure_for(f"RuntimeError: {error}")
    assert known is not None
    text = str(error).partition("\nbacktrace:")[0].replace("\n", " ")
    log = tmp_path / "engine.log"
    log.write_text(
        "2026-11-29 10:00:00.000 | warning  | Metal | Allocating device buffers is unsafe (x.cpp:1)\n"
        f"2026-11-29 10:00:00.001 | critical | Always | {text} (assert.hpp:104)\n"
        "terminate called after throwing an instance of 'std::runtime_error'\n" + " --- tt::frame()\n" * 60
    )
    died = exit_report(-signal.SIGABRT, "", log, 0, advice_after)
    assert died.info.cure.startswith(f"{known.meaning} {known.cure} ")


def test_a_death_without_a_known_text_advises_a_reset_of_the_card() -> None:
    for output in ("", "Segmentation fault\n", "2026 | warning | Metal | Fabric Router Sync: Timeout\n"):
        assert advice_after(output).startswith("Load the model again.")
        assert "tt-smi -r" in advice_after(output)


def test_the_last_of_two_known_texts_is_the_reason_of_a_death() -> None:
    output = "TT_FATAL: Fabric Router Sync: Timeout\nTIMEOUT: device timeout, potential hang detected\n"
    assert advice_after(output).startswith("The card stopped answering.")


def test_an_error_that_the_process_survived_is_not_the_reason_of_its_death() -> None:
    output = "TT_FATAL: Fabric Router Sync: Timeout\n" + "step\n" * 50
    assert advice_after(output).startswith("Load the model again.")


@pytest.mark.parametrize("cure", TOPOLOGY, ids=lambda cure: cure.part[:40])
def test_where_chips_do_not_join_one_chip_is_offered(cure: Cure) -> None:
    assert cure.kind == "fabric"
    assert '{setting[tt.mesh_device = "N150"]}' in cure.cure
    assert "P150" in cure.cure


@pytest.mark.parametrize("cure", CURES, ids=lambda cure: cure.part[:40])
def test_a_cure_names_a_setting_as_the_user_gave_it(cure: Cure) -> None:
    set_names({"tt.trace": "TTCHAT_TT__TRACE"})
    groups = ("module", "whole", "name", "library")
    found = msgspec.structs.replace(cure, part="".join(f"(?P<{each}>x)" for each in groups)).about("xxxx")
    assert found is not None
    assert "setting[" not in found.cure
    assert found.cure.count("TTCHAT_TT__TRACE=false") == cure.cure.count("tt.trace = false")


@pytest.mark.parametrize("module", ["torch", "pydantic", "loguru", "safetensors", "some_new_one"])
def test_any_missing_package_is_named_with_its_command(module: str) -> None:
    info = explain(ModuleNotFoundError(f"No module named '{module}'")).info
    assert f"package {module} " in info.message
    assert f"pip install {module}" in info.cure
    assert "ttchat-tui[tt]" not in info.cure
