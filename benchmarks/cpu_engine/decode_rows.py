"""Rows of the decode rate, and of the first token after a short and a long prompt."""

from __future__ import annotations

from benchmarks.cpu_engine.contender import Contender
from benchmarks.cpu_engine.result import Line, Result, at_least
from benchmarks.cpu_engine.rounds import Rounds
from benchmarks.cpu_engine.setup import PeerMissing, Setup, reply

TOKENS = 128
SHORT, LONG = 66, 1033
"""Prompt lengths in tokens."""
SAME, BEST = "same file", "Q4_0"


def decode(setup: Setup) -> Result:
    """128 tokens after 66, against llama.cpp; the same turns give the time to first token."""
    own = setup.own()
    ids = own.ask("real_text")[:SHORT]
    peers = _peers(setup)
    turns = [(each.name, reply(each, ids=ids, tokens=TOKENS)) for each in (own, *peers)]
    rounds = setup.take_turns(turns, 15)
    rate = f"{rounds.median('own', 'decode_tps'):.0f} tok/s"
    lines = [] if peers else [Line(f"decode, {TOKENS} tokens", "llama.cpp: left out", rate)]
    for peer, target in zip(peers, (1.0, None), strict=False):
        ratio = rounds.ratio("decode_tps", "own", peer.name)
        named = f"{peer.name}, {rounds.median(peer.name, 'decode_tps'):.0f} tok/s"
        lines.append(at_least(f"decode, {TOKENS} tokens", named, ratio, target, rate))
    lines += _first_token_lines(rounds, peers, SHORT, (2.0, 1.5))
    return Result(lines, rounds.counted, rounds.record())


def loop(setup: Setup) -> Result:
    """Cost of sampler, text and events: the whole decode loop over the bare stepper with argmax."""
    own = setup.own()
    ids = own.ask("real_text")[:SHORT]
    turns = [(op, reply(own, op, ids=ids, tokens=TOKENS)) for op in ("generate", "steps")]
    rounds = setup.take_turns(turns, 9)
    rates = " and ".join(f"{rounds.median(op, 'decode_tps'):.0f}" for op, _ in turns)
    ratio = rounds.ratio("decode_tps", "generate", "steps")
    line = at_least("decode loop / bare stepper", "itself", ratio, None, f"{rates} tok/s")
    return Result([line], rounds.counted, rounds.record())


def first_token(setup: Setup) -> Result:
    """TTFT after 1,033 tokens."""
    own = setup.own()
    ids = own.ask("real_text")[:LONG]
    peers = _peers(setup)
    turns = [(each.name, reply(each, ids=ids, tokens=1)) for each in (own, *peers)]
    rounds = setup.take_turns(turns, 5)
    return Result(_first_token_lines(rounds, peers, LONG, (2.5, 2.0)), rounds.counted, rounds.record())


def _first_token_lines(
    rounds: Rounds, peers: list[Contender], length: int, targets: tuple[float, float]
) -> list[Line]:
    what, own_ms = f"TTFT, {length:,} tokens", rounds.median("own", "ttft_s") * 1e3
    if not peers:
        return [Line(what, "llama.cpp: left out", f"{own_ms:.0f} ms")]
    return [
        at_least(
            what,
            f"{peer.name}, {rounds.median(peer.name, 'ttft_s') * 1e3:.0f} ms",
            rounds.ratio("ttft_s", peer.name, "own"),
            target,
            f"{own_ms:.0f} ms",
        )
        for peer, target in zip(peers, targets, strict=True)
    ]


def _peers(setup: Setup) -> list[Contender]:
    """llama.cpp on the same file and on its best format; empty if it is not installed."""
    try:
        return [setup.llama(SAME), setup.llama(BEST)]
    except PeerMissing as missing:
        print(f"left out: {missing}")
        return []


def against_transformers(setup: Setup) -> Result:
    """32 tokens only: transformers decodes a dozen per second."""
    own, peer = setup.own(), setup.transformers()
    ids = own.ask("real_text")[:SHORT]
    turns = [(each.name, reply(each, ids=ids, tokens=32)) for each in (own, peer)]
    rounds = setup.take_turns(turns, 7)
    ratio = rounds.ratio("decode_tps", "own", peer.name)
    rate = rounds.median(peer.name, "decode_tps")
    line = at_least("decode, 32 tokens", f"transformers generate fp32, {rate:.1f} tok/s", ratio, 6.0)
    return Result([line], rounds.counted, rounds.record())
