"""Output of tt_transformers becomes load progress, and a cancel waits until native code returns."""

from __future__ import annotations

import io

import pytest

from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.engine.base import LoadCancelled
from ttchat_tui.engine.tenstorrent.progress import BarStream, NativeProgress


@pytest.mark.parametrize(
    ("line", "phase", "detail"),
    [
        ("Inferring device name: N150\n", "start", "card"),
        ("Checkpoint directory: /models/Llama-3.2-1B-Instruct\n", "read", "checkpoint"),
        ("Cache directory: /cache/N150\n", "read", "checkpoint"),
        ("Loading checkpoint shards\n", "read", "checkpoint"),
        ("Warming up prefill for sequence length: 128\n", "compile", "prefill"),
        ("Done Compiling Model\n", "compile", "decode"),
        ("Done Capturing Decode Trace\n", "compile", "decode trace"),
    ],
)
def test_a_line_of_loguru_reports_its_phase(line: str, phase: str, detail: str) -> None:
    reported: list[LoadProgress] = []
    NativeProgress(reported.append).line(line)
    assert [(progress.phase, progress.detail) for progress in reported] == [(phase, detail)]


def test_other_lines_report_nothing() -> None:
    reported: list[LoadProgress] = []
    progress = NativeProgress(reported.append)
    progress.line("Prefilling User 1 up to 41 tokens\n")
    progress.bar("a warning with 3/4 in it\n")
    assert reported == []


def test_a_bar_of_tqdm_counts_layers_and_still_reaches_the_log() -> None:
    reported: list[LoadProgress] = []
    log = io.StringIO()
    stream = BarStream(log, NativeProgress(reported.append))  # type: ignore[arg-type]
    bars = (
        "\rLoading layers:   0%|          | 0/32 [00:00<?, ?it/s]",
        "\rLoading layers:  31%|###       | 10/32 [00:05<00:11,  2.0it/s]\rLoading layers:  34%|###4      | 11/32 [00:05<00:09,  2.2it/s]",
        "\rLoading layers: 100%|##########| 32/32 [00:16<00:00,  2.0it/s]\n",
    )
    for bar in bars:
        assert stream.write(bar) == len(bar)
    assert [(progress.phase, progress.done, progress.total, progress.unit) for progress in reported] == [
        ("convert", 0, 32, "layers"),
        ("convert", 11, 32, "layers"),
        ("convert", 32, 32, "layers"),
    ]
    assert log.getvalue() == "".join(bars)
    assert not stream.isatty()


def test_a_cancel_is_kept_until_check_raises_it() -> None:
    """A sink of loguru's that raises would raise into native code, or be swallowed by loguru."""

    def cancel(_: LoadProgress) -> None:
        raise LoadCancelled("enough")

    progress = NativeProgress(cancel)
    progress.line("Done Compiling Model\n")
    with pytest.raises(LoadCancelled, match="enough"):
        progress.check()
    progress.check()
