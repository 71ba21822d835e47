"""Decoding with prompt-lookup speculation against the same engine without it: same ids, alternating rounds.

One loaded model, one KV cache, and two steppers that take turns on the same prompts, greedily. There are three kinds of
prompt: code to edit and text to quote, which speculation is for, and free prose, which it must not slow down.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.default_model import PATHS, default_model
from benchmarks.report import finish
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.loading import LoadedModel, load_model
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.loop import run_generation
from ttchat_tui.engine.text.prompt_builder import PromptBuilder
from ttchat_tui.engine.text.text_stream import TextStream

TOKENS = 120
TARGETS = {"code": 1.6, "quote": 1.4}
CODE = """def total(prices):
    result = 0
    for price in prices:
        result = result + price
    return result


def average(prices):
    if len(prices) == 0:
        return 0
    return total(prices) / len(prices)


def largest(prices):
    best = prices[0]
    for price in prices:
        if price > best:
            best = price
    return best
"""
PROSE = (
    "The harbour was quiet that morning. Two boats lay at the pier, and a man with a red scarf mended his nets beside "
    "the smaller one. Nobody had told him that the ferry would not come. He looked up when the bell rang, counted the "
    "strokes, and went on with his work."
)
PROMPTS = {
    "code": {
        "type hints": f"Add type hints to all functions in this file and show the complete file.\n```python\n{CODE}```",
        "comments": f"Here is a Python file:\n```python\n{CODE}```\nRewrite the whole file, with a comment above each "
        "function.",
        "rename": f"```python\n{CODE}```\nCopy this code, with the function `largest` renamed to `maximum`.",
    },
    "quote": {
        "repeat": f"Repeat the following text word for word:\n\n{PROSE}",
        "spelling": "Correct the spelling mistakes in this text and write out the corrected text:\n\n"
        + PROSE.replace("quiet", "quite").replace("strokes", "stroks"),
        "whole": f'Quote the whole passage below, then say who is in it.\n\n"{PROSE}"',
    },
    "prose": {
        "story": "Write a story about a lighthouse keeper who finds a letter.",
        "sky": "Why is the sky blue? Explain in detail.",
    },
}


class LookupRounds(msgspec.Struct):
    """The figures of one prompt."""

    kind: str
    name: str
    tokens: int
    is_same: bool
    tokens_per_forward: float
    plain_tps: list[float]
    speculating_tps: list[float]

    @property
    def ratio(self) -> float:
        """Median of the paired ratios."""
        pairs = zip(self.plain_tps, self.speculating_tps, strict=True)
        return statistics.median(with_ / without for without, with_ in pairs)


def generate(model: LoadedModel, stepper: Any, prompt: str, tokens: int) -> tuple[list[int], float]:
    """A greedy reply: its ids, and tokens a second from the first one on.

    The whole prompt is computed each time: in reduced precision its last position is rounded differently when all
    others are cached and it is computed alone.
    """
    builder = PromptBuilder(model.template, model.tokenizer, model.context_length)
    sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=tokens)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", prompt),), sampling=sampling, seed=0)
    prompt_ids = builder.build(request.messages).ids
    stepper.prefill([prompt_ids[0] + 1], lambda _done, _total: True)
    ids: list[int] = []
    times: list[float] = []
    job = ReplyJob(
        request=request,
        control=GenerationControl(sampling),
        prompt_ids=prompt_ids,
        text_streams=[TextStream(model.tokenizer.new_decoder(is_start=True), ())],
        stop_ids=model.tokenizer.end_ids,
        context_length=model.context_length,
        clock=time.perf_counter,
        received_s=0.0,
        passes=model.passes,
    )
    for event in run_generation(job, stepper):
        ids += getattr(event, "token_ids", ())
        times += getattr(event, "times_s", ())
    return ids, (len(ids) - 1) / (times[-1] - times[0])


def measure(model: LoadedModel, kind: str, name: str, rounds: int, tokens: int = TOKENS) -> LookupRounds:
    """Run one prompt in turn without and with speculation. The first round fills caches and is not counted."""
    prompt = PROMPTS[kind][name]
    found = LookupRounds(kind, name, 0, True, 0.0, [], [])
    for number in range(rounds + 1):
        plain, plain_tps = generate(model, model.stepper, prompt, tokens)
        assert model.lookup is not None
        same, tps = generate(model, model.lookup, prompt, tokens)
        found.tokens = len(same)
        found.is_same = found.is_same and same == plain
        found.tokens_per_forward = (len(same) - 1) / model.lookup.forwards
        if number:
            found.plain_tps.append(plain_tps)
            found.speculating_tps.append(tps)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--kind", choices=PROMPTS, action="append", help="only this; may be given again")
    parser.add_argument("--model", type=Path, help="a GGUF file; the default model")
    options = parser.parse_args()
    path = options.model or default_model()
    spec = ModelSpec(
        name="model",
        path=str(path),
        options=CpuOptions(precision=options.precision, threads=options.threads),
        kernel_dir=str(PATHS.kernels_dir),
    )
    model = load_model(spec, lambda _progress: None)
    found = [
        measure(model, kind, name, options.rounds, options.tokens)
        for kind in options.kind or PROMPTS
        for name in PROMPTS[kind]
    ]
    for one in found:
        print(
            f"{one.kind:<6} {one.name:<11} {one.tokens:>4} tokens, {one.tokens_per_forward:4.2f} a forward, "
            f"{statistics.median(one.plain_tps):6.1f} → {statistics.median(one.speculating_tps):6.1f} tok/s, "
            f"{one.ratio:4.2f} times, {'same ids' if one.is_same else 'OTHER IDS'}"
        )
    rows = [{**msgspec.structs.asdict(one), "ratio": one.ratio} for one in found]
    finish(
        f"lookup_{model.label.replace(' ', '_')}",
        {"label": model.label, "threads": options.threads, "prompts": rows},
        summary(model.label, found),
    )


def summary(label: str, found: list[LookupRounds]) -> str:
    """The claim: the median prompt of each kind."""
    parts: list[str] = []
    for kind in PROMPTS:
        ratios = [one.ratio for one in found if one.kind == kind]
        if ratios:
            parts.append(f"{kind} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    parted = sum(not one.is_same for one in found)
    ids = "the same ids in all" if not parted else f"other ids in {parted} of {len(found)}"
    return f"lookup, {label}: times as fast as without: {', '.join(parts)}; {ids}; targets {TARGETS}"


if __name__ == "__main__":
    main()
