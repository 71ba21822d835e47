"""Decode with each quantisation that people download, beside llama.cpp on the same file: CPU time of a token, because that is
comparable on a busy machine too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cpu_engine.accuracy_rows import PROMPT as PROMPT_ROWS
from benchmarks.cpu_engine.accuracy_rows import Judge, figure_of
from benchmarks.cpu_engine.contender import Contender
from benchmarks.cpu_engine.decode_rows import SAME
from benchmarks.cpu_engine.random_model import GEMMA_270M, MIXES, QWEN_0_5B, RandomShape, write_random_model
from benchmarks.cpu_engine.result import Line, Result, at_least
from benchmarks.cpu_engine.rounds import Figures, Rounds
from benchmarks.cpu_engine.setup import PeerMissing, Setup

TOKENS, PROMPT = 48, list(range(300, 316))
_GOALS = {
    QWEN_0_5B: {"Q4_K_M": 1.5, "Q5_K_M": 1.5, "Q6_K": 1.5, "Q8_0": 1.5, "IQ4_XS": 1.5, "F16": 1.1},
    GEMMA_270M: {"Q4_K_M": 1.3},
}
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
_ROUNDS = 5
_REAL = ("Q8_0", "Q5_K_M", "IQ4_XS")
_POSITIONS = 512


def gemma(setup: Setup) -> Result:
    """Random weights in the shape of Gemma 3 270M."""
    return formats(setup, ("Q4_K_M",), GEMMA_270M)


def formats(setup: Setup, mixes: Sequence[str] = MIXES, shape: RandomShape = QWEN_0_5B) -> Result:
    """Random weights, one file after the other."""
    lines: list[Line] = []
    details: dict[str, object] = {}
    for mix in mixes:
        setup.model = setup.folder / f"{mix}.gguf"
        write_random_model(setup.model, mix, shape)
        contenders = _contenders(setup)
        rounds = _measured(contenders)
        lines.append(_line(f"{shape.family}, {mix}", rounds, contenders, _GOALS[shape].get(mix)))
        print(lines[-1], flush=True)
        details[mix] = rounds.record()
        for each in contenders:
            setup.stop(each)
        setup.model.unlink()
    return Result(lines, f"{_ROUNDS} rounds each", details)


def real_formats(setup: Setup) -> Result:
    """The model itself, and as llama.cpp writes it in other formats: real weights. KL to the float32 of each file."""
    lines: list[Line] = []
    details: dict[str, object] = {}
    given = setup.model
    for kind in (SAME, *_REAL):
        setup.model = given if kind == SAME else setup.requantised(kind)
        contenders = _contenders(setup)
        rounds = _measured(contenders)
        judge = Judge(setup, _POSITIONS)
        for each in contenders:
            found = judge(each, PROMPT_ROWS)
            lines.append(Line(f"{kind}, {each.name}", "fp32 of the file", figure_of(found)))
            details[f"{kind}, {each.name}"] = found
            setup.stop(each)
        judge.close(setup)
        lines.append(_line(kind, rounds, contenders, _GOALS[QWEN_0_5B].get(kind)))
        print(*lines[-1 - len(contenders) :], sep="\n", flush=True)
        details[kind] = rounds.record()
        setup.model = given
    return Result(lines, f"{_ROUNDS} rounds each, {_POSITIONS} positions", details)


def _contenders(setup: Setup) -> list[Contender]:
    contenders = [setup.own()]
    try:
        contenders.append(setup.llama(SAME))
    except PeerMissing as missing:
        print(f"left out: {missing}")
    return contenders


def _measured(contenders: Sequence[Contender]) -> Rounds:
    rounds = Rounds()
    for _ in range(_ROUNDS + 1):
        rounds.figures.append({each.name: _cpu_of_token(each) for each in contenders})
        rounds.foreign.append(1.0)
    del rounds.figures[0], rounds.foreign[0]  # The warm-up.
    return rounds


def _line(name: str, rounds: Rounds, contenders: list[Contender], goal: float | None) -> Line:
    what = f"decode, {name}, CPU time of a token"
    figure = f"{rounds.median('own', 'cpu_s') * 1e3:.1f} ms"
    if len(contenders) == 1:
        return Line(what, "llama.cpp: left out", figure)
    peer = contenders[1].name
    ratio = rounds.ratio("cpu_s", peer, "own")
    named = f"{peer}, {rounds.median(peer, 'cpu_s') * 1e3:.1f} ms"
    return at_least(what, named, ratio, goal, figure)


def _cpu_of_token(contender: Contender) -> Figures:
    """CPU seconds of all threads for a token, without the prompt's."""
    spent = [_cpu_of_reply(contender, 2), _cpu_of_reply(contender, 2 + TOKENS)]
    return {"cpu_s": (spent[1] - spent[0]) / TOKENS}


def _cpu_of_reply(contender: Contender, tokens: int) -> float:
    before = _cpu_s(contender)
    contender.ask("generate", ids=PROMPT, tokens=tokens)
    return _cpu_s(contender) - before


def _cpu_s(contender: Contender) -> float:
    fields = Path(f"/proc/{contender.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICKS_S
