"""Rows that depend on the machine: memory bandwidth, peak memory, start."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.cpu_engine.contender import Contender
from benchmarks.cpu_engine.decode_rows import BEST, LONG, SAME, SHORT, TOKENS
from benchmarks.cpu_engine.result import Line, Result
from benchmarks.cpu_engine.roofline import LARGER, decoder_shape
from benchmarks.cpu_engine.setup import PeerMissing, Setup, reply

MEMORY_TARGET_GB, START_TARGET_S = 0.35, 0.9
STARTS = 5
POSITIONS = SHORT + TOKENS // 2
"""The middle of the measured reply."""


def bandwidth(setup: Setup) -> Result:
    """Decode rate over the bound of memory bandwidth, and the estimate for larger models."""
    own = setup.own()
    ids, label = own.ask("real_text")[:SHORT], own.ask("describe")["label"]
    turns = [
        ("memory", lambda: {"gbps": own.ask("read_gbps")}),
        ("own", reply(own, ids=ids, tokens=TOKENS)),
    ]
    rounds = setup.take_turns(turns, 9)
    shape = decoder_shape(**own.ask("shape"))
    gbps, rate = rounds.median("memory", "gbps"), rounds.median("own", "decode_tps")
    read = shape.bytes_a_token(label, setup.precision, POSITIONS)
    share = rate * read / (gbps * 1e9)
    figure = f"{share:.2f}: {read / 1e6:.0f} MB a token, {rate:.0f} of {gbps * 1e9 / read:.0f} tok/s at {gbps:.0f} GB/s"
    lines = [Line(f"decode rate / memory bandwidth ({label})", "the bound", figure)]
    for name, larger in LARGER.items():
        bound = gbps * 1e9 / larger.bytes_a_token(label, setup.precision, 500)
        lines.append(_estimate(name, bound, share))
    return Result(lines, rounds.counted, {**rounds.record(), "bytes_a_token": read, "share": share})


def _estimate(name: str, bound: float, share: float) -> Line:
    return Line(
        f"{name} at 500 tokens of context, not run",
        "the bound",
        f"about {bound * share:.0f} tok/s of {bound:.0f}",
    )


def memory(setup: Setup) -> Result:
    """Peak resident memory after the load, a prompt of 1,033 tokens and a reply of 128."""
    found: dict[str, float] = {}
    ids: list[int] = []
    for start in (setup.own, lambda: setup.llama(SAME), lambda: setup.llama(BEST)):
        try:
            contender = start()
        except PeerMissing as missing:
            print(f"left out: {missing}")
            break
        ids = ids or contender.ask("real_text")[:LONG]
        contender.ask("generate", ids=ids, tokens=TOKENS)
        found[contender.name] = contender.peak_rss_mb()
        setup.stop(contender)
    peers = ", ".join(f"{name} {found[name]:.0f} MB" for name in found if name != "own")
    own_gb = found["own"] / 1e3
    line = Line(
        "peak RSS", peers, f"{own_gb:.2f} GB", f"< {MEMORY_TARGET_GB:g} GB", own_gb < MEMORY_TARGET_GB
    )
    return Result([line], "once each", dict(found))


def start(setup: Setup) -> Result:
    """Time from process start to a ready model, with files in the page cache."""
    seconds: dict[str, list[float]] = {}
    starters: list[Any] = [setup.own]
    try:
        setup.stop(setup.llama(SAME))
        starters.append(lambda: setup.llama(SAME))
    except PeerMissing as missing:
        print(f"left out: {missing}")
    setup.stop(setup.own())  # fills the page cache
    for _ in range(STARTS):
        for starter in starters:
            contender: Contender = starter()
            seconds.setdefault(contender.name, []).append(contender.ready_s)
            setup.stop(contender)
    own_s = statistics.median(seconds["own"])
    peers = ", ".join(
        f"{name} {statistics.median(times):.1f} s" for name, times in seconds.items() if name != "own"
    )
    line = Line(
        "process start to ready, warm",
        peers,
        f"{own_s:.2f} s",
        f"<= {START_TARGET_S:g} s",
        own_s <= START_TARGET_S,
    )
    return Result([line], f"{STARTS} starts", dict(seconds))
