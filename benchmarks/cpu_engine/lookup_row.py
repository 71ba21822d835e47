"""The row of prompt lookup: replies that repeat their prompt, with speculation and without, and whether they are equal."""

from __future__ import annotations

from pathlib import Path

from .contender import ROOT, Contender
from .result import Line, Result, at_least
from .rounds import Turn
from .setup import Setup, reply

TOKENS = 192
_TEXTS = ROOT / "tests" / "data" / "real_text"


def _first_lines(name: str, count: int) -> str:
    return "\n".join(Path(_TEXTS, name).read_text(encoding="utf-8").splitlines()[:count])


PROMPTS = {
    "code editing": "Rename `capacity` to `limit` in this Python file. Answer with the whole file.\n\n```python\n"
    + _first_lines("code.txt", 32)
    + "\n```",
    "quoting": "Repeat this text word for word.\n\n" + _first_lines("prose.txt", 1),
    "neither": "Write a long essay about the history of clocks.",
}
"""The last one shows what it costs where there is nothing to find."""


def lookup(setup: Setup) -> Result:
    """Greedy; the same ids are asked for and counted, the kernels' rounding may differ between one row and several."""
    own = setup.own()
    prompts = {kind: own.ask("encode", text=text) for kind, text in PROMPTS.items()}
    lengths = {kind: _equal_ids(own, ids) for kind, ids in prompts.items()}
    turns: list[Turn] = []
    for kind, ids in prompts.items():
        turns.append((f"{kind}, plain", reply(own, ids=ids, tokens=TOKENS)))
        turns.append((kind, reply(own, ids=ids, tokens=TOKENS, is_speculating=True)))
    rounds = setup.take_turns(turns, 5)
    lines: list[Line] = []
    for kind in prompts:
        ratio = rounds.ratio("decode_tps", kind, f"{kind}, plain")
        note = f"{rounds.median(kind, 'decode_tps'):.0f} tok/s, {lengths[kind]} of {TOKENS} ids the same"
        target = None if kind == "neither" else 1.4
        lines.append(at_least(f"prompt lookup, {kind}", "itself without", ratio, target, note))
    return Result(lines, rounds.counted, {**rounds.record(), "equal_ids": lengths})


def _equal_ids(own: Contender, ids: list[int]) -> int:
    """How many ids of a reply are the same with speculation and without, up to the first other one."""
    plain, found = (
        own.ask("generate", ids=ids, tokens=TOKENS, is_speculating=each)["ids"] for each in (False, True)
    )
    return next((at for at, pair in enumerate(zip(plain, found, strict=True)) if pair[0] != pair[1]), TOKENS)
