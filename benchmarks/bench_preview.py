"""Cost of the sampler's preview: for the decode loop, closed and open, and from a slider's key to the screen.

Decode: the CPU engine with the default model in its own process, one thread, no speculation, the same seed. Replies with an
open and a closed preview alternate in the order open, closed, closed, open; the ratio is that of the process's CPU seconds,
which other programs disturb little. Closed: what the loop does for a preview that nobody sees, as a share of a step. Steps
are sent at most 12 times a second, so at another vocabulary the share follows from the cost of sending one.

Key: the whole app without a terminal over a step of 128,256 tokens; CPU of its process from the key to the drawn frame.
"""

from __future__ import annotations

import os

# ruff: noqa: E402
# Set before numpy and torch load, which read them for their thread pools.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from textual.content import Content
from textual.events import Key

from benchmarks.bench_sampler import zipf_logits
from benchmarks.default_model import default_spec
from benchmarks.report import finish
from tests.fakes import Script
from tests.ui.chat_app import ChatApp, reply_ended, running
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, StepScores, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.sampler import History
from ttchat_tui.engine.decoding.step_feed import EVERY_S, SampledStep, StepFeed
from ttchat_tui.engine.decoding.token_bias import NO_BIAS
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.ui.widgets.sampling.preview_rows import PreviewRows

ROUNDS, TOKENS, KEYS = 8, 256, 300
VOCABULARY = 128_256
CLOSED, OPEN, KEY_MS = 0.01, 0.03, 30.0
SAMPLING = SamplingParams(temperature=0.7, top_k=40, top_p=0.95, max_tokens=TOKENS)
PROMPT = "Write a long essay about the history of clocks."
SLIDES = ("right", "left", "shift+right", "shift+left")


def loaded_engine(folder: Path) -> IsolatedEngine:
    engine = IsolatedEngine(folder / "engine.log", environment={"OMP_NUM_THREADS": "1"})
    engine.load(default_spec(CpuOptions(threads=1, speculation="off")), lambda progress: None)
    return engine


def reply_cpu_s(engine: IsolatedEngine, number: int, is_open: bool) -> float:
    """CPU seconds of the engine's process for a token."""
    request = GenerationRequest(
        id=number, messages=(ChatMessage("user", PROMPT),), sampling=SAMPLING, seed=5, record="full"
    )
    control = GenerationControl(SAMPLING)
    control.set_previewed(is_open)
    before, tokens, shown = cpu_s(engine), 0, 0
    for event in engine.generate(request, control):
        tokens += isinstance(event, TokenEvent)
        shown += isinstance(event, StepScores)
    assert bool(shown) == is_open
    return (cpu_s(engine) - before) / tokens


def cpu_s(engine: IsolatedEngine) -> float:
    tasks = Path(f"/proc/{engine.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def feed_s(*, is_open: bool, vocabulary: int) -> float:
    """CPU seconds of the feed in a step; open: of a step that is sent, with its encoding, its pieces and the copies."""
    control = GenerationControl(SAMPLING)
    control.set_previewed(is_open)
    clock = itertools.count(0.0, EVERY_S)
    job = ReplyJob(
        request=GenerationRequest(id=1, messages=(), sampling=SAMPLING, seed=1),
        control=control,
        prompt_ids=(),
        text_streams=(),
        stop_ids=(),
        context_length=0,
        clock=lambda: next(clock),
        received_s=0.0,
        piece_of=lambda token_id: b"piece",
    )
    feed, history, encoder = StepFeed(job), History(vocabulary, range(500)), msgspec.msgpack.Encoder()
    history.add(7)
    rng = np.random.default_rng(0)
    every = [zipf_logits(vocabulary, rng) for _ in range(4)]
    count = 200 if is_open else 20_000
    began = time.process_time()
    for at in range(count):
        feed.take(SampledStep(at, 7, every[at % 4], history, NO_BIAS, None))
        shown = feed.next(is_last=is_open)
        if shown is not None:
            encoder.encode(shown)
        feed.before_step()
    return (time.process_time() - began) / count


class Frames:
    """Knows when a frame shows a newly drawn preview."""

    def __init__(self, chat: ChatApp) -> None:
        self.drawn = asyncio.Event()
        rows, screen = chat.screen.query_one(PreviewRows), chat.screen
        self._is_drawn = False
        render, refresh = rows.render, screen._compositor_refresh

        def rendered() -> Content:
            self._is_drawn = True
            return render()

        def refreshed() -> None:
            refresh()
            if self._is_drawn:
                self.drawn.set()
            self._is_drawn = False

        rows.render = rendered
        screen._compositor_refresh = refreshed


async def key_ms(keys: int) -> list[float]:
    """CPU milliseconds from each key on a slider to the drawn frame."""
    logits = zipf_logits(VOCABULARY, np.random.default_rng(0)).tobytes()
    pieces = {token_id: f" piece{token_id}".encode() for token_id in range(VOCABULARY)}

    with tempfile.TemporaryDirectory() as folder:
        chat = ChatApp(Path(folder), Script(logprobs=True), ui_state=UiState(show_preview=True))
        own = chat.engine.generate

        def generate(request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
            for event in own(request, control):
                if isinstance(event, StepScores):
                    event = msgspec.structs.replace(event, logits=logits, pieces=pieces)
                yield event

        chat.engine.generate = generate
        async with running(chat, (120, 44)) as pilot:
            await pilot.press(*"go", "enter")
            await reply_ended(pilot, chat)
            token = chat.session.preview.token
            assert token is not None
            assert token.is_whole
            await pilot.press("f5")
            await pilot.pause()
            frames = Frames(chat)
            found: list[float] = []
            for _ in range(5):
                for place in range(keys // 5):
                    frames.drawn.clear()
                    began = time.process_time()
                    chat.app.post_message(Key(SLIDES[place % 4], None))
                    await frames.drawn.wait()
                    found.append((time.process_time() - began) * 1e3)
                    await pilot.pause()
                await pilot.press("down")
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--keys", type=int, default=KEYS)
    options = parser.parse_args()
    keys = statistics.quantiles(asyncio.run(key_ms(options.keys)), n=100, method="inclusive")
    print(f"key to screen, CPU: p50 {keys[49]:.1f} ms, p99 {keys[98]:.1f} ms")
    sent = {each: feed_s(is_open=True, vocabulary=each) for each in (49_152, VOCABULARY)}
    for vocabulary, seconds in sent.items():
        print(
            f"a step that is sent, {vocabulary:,} tokens: {seconds * 1e3:.2f} ms, {seconds / EVERY_S:.2%} of a core"
        )
    rounds: list[float] = []
    steps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        engine = loaded_engine(Path(folder))
        reply_cpu_s(engine, 1, is_open=True)
        for number in range(options.rounds):
            runs = [(is_open, reply_cpu_s(engine, number, is_open)) for is_open in (True, False, False, True)]
            opened, closed = (
                sum(cpu for is_open, cpu in runs if is_open == wanted) for wanted in (True, False)
            )
            rounds.append(closed / opened)
            steps.append(closed / 2)
            print(f"closed / open {rounds[-1]:.3f}, a step {steps[-1] * 1e3:.2f} ms")
        engine.close()
    idle = feed_s(is_open=False, vocabulary=VOCABULARY) / statistics.median(steps)
    cost = 1 - statistics.median(rounds)
    finish(
        "preview",
        {"key_ms": {"p50": keys[49], "p99": keys[98]}, "sent_s": sent, "rounds": rounds, "closed": idle},
        f"preview: decode costs {idle:.3%} more closed (budget {CLOSED:.0%}), {cost:.1%} open (budget {OPEN:.0%}); "
        f"key to screen p99 {keys[98]:.0f} ms CPU at {VOCABULARY:,} (budget {KEY_MS:.0f})",
    )


if __name__ == "__main__":
    main()
