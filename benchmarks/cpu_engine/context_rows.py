"""Rows of long contexts: KV reuse between turns, and decoding far into the context."""

from __future__ import annotations

from benchmarks.cpu_engine.contender import Contender
from benchmarks.cpu_engine.decode_rows import SAME
from benchmarks.cpu_engine.result import Line, Result, at_least
from benchmarks.cpu_engine.rounds import Figures, Turn, speed
from benchmarks.cpu_engine.setup import PeerMissing, Setup, reply

CONVERSATION, NEW = 1500, 20
NEAR, FAR = 64, 2000


def new_turn(setup: Setup) -> Result:
    """TTFT of a turn of 20 tokens after 1,500, with and without the KV cache."""
    own = setup.own()
    text = own.ask("real_text")
    before, ids = text[:CONVERSATION], text[: CONVERSATION + NEW]

    def reused() -> Figures:
        own.ask("generate", ids=before, tokens=1, keep=1)
        return speed(own.ask("generate", ids=ids, tokens=1, keep=1))

    turns: list[Turn] = [("anew", reply(own, ids=ids, tokens=1)), ("reused", reused)]
    rounds = setup.take_turns(turns, 7)
    note = " and ".join(f"{rounds.median(name, 'ttft_s') * 1e3:.0f} ms" for name in ("reused", "anew"))
    ratio = rounds.ratio("ttft_s", "anew", "reused")
    what = f"TTFT, a turn of {NEW} tokens after {CONVERSATION:,}"
    return Result(
        [at_least(what, "itself without reuse", ratio, 25.0, note)], rounds.counted, rounds.record()
    )


def far_context(setup: Setup) -> Result:
    """Decode at 2,000 tokens of context over decode at 64; with llama.cpp's own ratio."""
    contenders: list[Contender] = [setup.own()]
    text = contenders[0].ask("real_text")
    try:
        contenders.append(setup.llama(SAME))
    except PeerMissing as missing:
        print(f"left out: {missing}")
    turns = [
        (f"{each.name} at {length}", reply(each, ids=text[:length], tokens=48))
        for each in contenders
        for length in (NEAR, FAR)
    ]
    rounds = setup.take_turns(turns, 5)
    lines: list[Line] = []
    for each, target in zip(contenders, (0.85, None), strict=False):
        far, near = (f"{each.name} at {length}" for length in (FAR, NEAR))
        note = f"{rounds.median(far, 'decode_tps'):.0f} and {rounds.median(near, 'decode_tps'):.0f} tok/s"
        what = f"decode at {FAR:,} tokens of context / at {NEAR}, {each.name}"
        lines.append(at_least(what, "itself", rounds.ratio("decode_tps", far, near), target, note))
    return Result(lines, rounds.counted, rounds.record())
