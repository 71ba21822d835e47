"""What fits this machine, what is offered for it, and the download beside the chat."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.models import background, machine
from ttchat_tui.models.background import BackgroundPull
from ttchat_tui.models.catalog import CatalogEntry, HubGguf, catalog
from ttchat_tui.models.machine import Machine, this_machine
from ttchat_tui.models.offer import PLEASANT, best_for

GB = 10**9


def names(fast: float, memory: float, disk: float = 1e12, here: str = "") -> list[str]:
    offers = best_for(
        catalog().models, Machine(fast, int(memory)), int(disk), lambda entry: entry.alias == here
    )
    return [offer.name for offer in offers]


def test_the_largest_models_that_are_fast_enough_are_offered() -> None:
    assert names(500e9, 64 * GB) == ["qwen3-8b", "llama-3.1-8b-instruct", "qwen3-4b"]
    offers = best_for(catalog().models, Machine(20e9, 64 * GB), 10**12, lambda _: False)
    assert len(offers) == 3
    assert all(offer.tokens_per_s >= PLEASANT for offer in offers)


def test_a_slow_machine_is_offered_the_fastest_models() -> None:
    assert names(1e9, 64 * GB) == ["gemma-3-270m-it", "smollm2-360m-instruct", "qwen2.5-0.5b-instruct"]


def test_memory_and_disk_bound_the_offer() -> None:
    assert names(500e9, 1.1 * GB) == ["qwen3-0.6b", "qwen2.5-0.5b-instruct", "smollm2-360m-instruct"]
    assert names(500e9, 64 * GB, disk=3e8) == ["gemma-3-270m-it"]
    assert names(500e9, 64 * GB, disk=0, here="qwen3-4b") == ["qwen3-4b"]
    assert names(500e9, 0) == []


def test_what_is_unknown_of_the_machine_bounds_nothing() -> None:
    entry = CatalogEntry(
        alias="a", name="A", sources=(HubGguf(repo="a/b", file="c.gguf", size_bytes=5 * GB),)
    )
    (offer,) = best_for([entry], Machine(), 10**12, lambda _: False)
    assert offer.tokens_per_s == 0


def test_the_bandwidth_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_BUFFER", 1 << 20)
    measured = this_machine(tmp_path).read_bytes_per_s
    assert measured > 0
    monkeypatch.setattr(machine, "_measure", lambda _: 1.0)
    assert this_machine(tmp_path).read_bytes_per_s == measured
    (tmp_path / machine.FILE).write_bytes(b"{")
    assert this_machine(tmp_path).read_bytes_per_s == 1.0
    monkeypatch.setattr(machine, "_cores", lambda: 999)
    monkeypatch.setattr(machine, "_measure", lambda _: 2.0)
    assert this_machine(tmp_path).read_bytes_per_s == 2.0


ENTRY = CatalogEntry(alias="a", name="A", sources=(HubGguf(repo="a/b", file="c.gguf", size_bytes=10),))


def test_a_background_pull_reports_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = threading.Event()

    def pull(entry: CatalogEntry, folder: Path, report: ProgressReporter, environ: object) -> Path:
        report(LoadProgress("download", done=5, total=10, unit="bytes"))
        cancelled.wait(60)
        report(LoadProgress("download", done=6, total=10, unit="bytes"))
        return folder

    monkeypatch.setattr(background, "pull", pull)
    download = BackgroundPull(ENTRY, tmp_path, {})
    assert download.is_running
    download.cancel()
    cancelled.set()
    download._thread.join()
    assert (download.is_running, download.is_complete, download.error) == (False, False, None)
    assert download.progress.done == 6


def test_a_background_pull_keeps_every_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*_: object) -> Path:
        raise PermissionError("no entry")

    monkeypatch.setattr(background, "pull", pull)
    download = BackgroundPull(ENTRY, tmp_path, {})
    download._thread.join()
    assert download.error is not None
    assert download.error.message == "The download of a failed: no entry."
    assert "models pull a" in download.error.cure
