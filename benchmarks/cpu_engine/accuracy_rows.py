"""Rows of accuracy: KL and top-1 against float32 over the fixed text. Nothing is timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu_engine.contender import Contender
from benchmarks.cpu_engine.decode_rows import BEST, SAME
from benchmarks.cpu_engine.result import Line, Result
from benchmarks.cpu_engine.setup import PeerMissing, Setup

KL_TARGET, TOP1_TARGET = 0.003, 0.95
REPLY, PROMPT = 1, 256
"""Ids computed at once: as in a reply, and as in a prompt."""


class Judge:
    """float32's logits for the text, and the divergence of others from them."""

    def __init__(self, setup: Setup, positions: int | None = None) -> None:
        """`positions`: of the text, from its beginning; None is all."""
        self._own = setup.own("fp32")
        self._folder = setup.folder
        self._expected = str(setup.folder / "fp32.npy")
        self.ids: list[int] = self._own.ask("real_text")[:positions]
        self._own.ask("logits", ids=self.ids, rows=PROMPT, file=self._expected)

    def __call__(self, contender: Contender, rows: int) -> dict[str, Any]:
        file = self._folder / "other.npy"
        contender.ask("logits", ids=self.ids, rows=rows, file=str(file))
        found: dict[str, Any] = self._own.ask("compare", reference=self._expected, other=str(file))
        file.unlink()
        return found

    def close(self, setup: Setup) -> None:
        """Free float32's memory and file."""
        setup.stop(self._own)
        Path(self._expected).unlink()


def accuracy(setup: Setup) -> Result:
    """The precision under test, computed as a reply and as a prompt."""
    judge, own = Judge(setup), setup.own()
    label = own.ask("describe")["label"]
    found = {f"{label}, {path}": judge(own, rows) for path, rows in (("reply", REPLY), ("prompt", PROMPT))}
    target = f"KL <= {KL_TARGET}, top-1 >= {TOP1_TARGET}"
    lines = [
        Line(name, "fp32", figure_of(one), target, one["kl"] <= KL_TARGET and one["top1"] >= TOP1_TARGET)
        for name, one in found.items()
    ]
    return Result(lines, f"{len(judge.ids):,} tokens", found)


def accuracy_of_peers(setup: Setup) -> Result:
    """float16 and llama.cpp on both files, on the same tokens, computed as a prompt."""
    judge = Judge(setup)
    found: dict[str, Any] = {}
    for start in _starters(setup):
        try:
            contender = start()
        except PeerMissing as missing:
            print(f"left out: {missing}")
            break
        name = "own f16" if contender.name == "own" else contender.name
        found[name] = judge(contender, PROMPT)
        setup.stop(contender)
    lines = [Line(f"{name}, prompt", "fp32", figure_of(one)) for name, one in found.items()]
    return Result(lines, f"{len(judge.ids):,} tokens", found)


def _starters(setup: Setup) -> Sequence[Any]:
    return (lambda: setup.own("f16"), lambda: setup.llama(SAME), lambda: setup.llama(BEST))


def figure_of(found: dict[str, Any]) -> str:
    return f"KL {found['kl']:.6f}, top-1 {found['top1']:.3f}"
