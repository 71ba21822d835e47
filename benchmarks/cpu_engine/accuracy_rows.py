"""Rows of what reduced precision changes: KL and top-1 against float32 over the fixed text. No measurement of time."""

from __future__ import annotations

from typing import Any

from .contender import Contender
from .decode_rows import BEST, SAME
from .result import Line, Result
from .setup import PeerMissing, Setup

KL_TARGET, TOP1_TARGET = 0.003, 0.95
CHUNK = 256
"""Ids computed at once: what a prompt goes through. One at a time is what a reply goes through."""
OTHERS = ("f16",)
"""Precisions shown beside the one under test."""


def accuracy(setup: Setup) -> Result:
    """The precision under test, others of ours, and llama.cpp on the same file, on the same 2,324 tokens."""
    reference = setup.own("fp32")
    ids = reference.ask("real_text")
    expected = str(setup.folder / "fp32.npy")
    reference.ask("logits", ids=ids, rows=CHUNK, file=expected)

    def judge(contender: Contender, rows: int) -> dict[str, Any]:
        file = setup.folder / "other.npy"
        contender.ask("logits", ids=ids, rows=rows, file=str(file))
        found: dict[str, Any] = reference.ask("compare", reference=expected, other=str(file))
        file.unlink()
        return found

    lines: list[Line] = []
    details: dict[str, Any] = {}
    for contender, is_ours in _candidates(setup):
        name = contender.ask("describe")["label"] if contender.name == "own" else contender.name
        for rows in (1, CHUNK):
            found = details[f"{name}, {rows} at once"] = judge(contender, rows)
            lines.append(_line(f"{name}, {'reply' if rows == 1 else 'prompt'} path", found, is_ours))
        setup.stop(contender)
    return Result(lines, f"{len(ids):,} tokens", details)


def _candidates(setup: Setup) -> Any:
    yield setup.own(), True
    for precision in OTHERS:
        yield setup.own(precision), True
    for quantisation in (SAME, BEST):
        try:
            yield setup.llama(quantisation), False
        except PeerMissing as missing:
            print(f"left out: {missing}")


def _line(what: str, found: dict[str, Any], is_ours: bool) -> Line:
    figure = f"KL {found['kl']:.5f}, top-1 {found['top1']:.3f}"
    if not is_ours:
        return Line(what, "fp32", figure)
    is_met = found["kl"] <= KL_TARGET and found["top1"] >= TOP1_TARGET
    return Line(what, "fp32", figure, f"KL <= {KL_TARGET}, top-1 >= {TOP1_TARGET}", is_met)
