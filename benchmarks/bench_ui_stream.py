"""CPU time of one flush of a streaming reply on a 200x50 screen, which should not grow with the reply.

Each flush adds 5 tokens of 4 characters; its CPU time includes layout and paint. All contents and lengths are measured
in turn in one process. Exits with 1 if the target is missed.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from textual.app import App, ComposeResult

from benchmarks.report import finish
from ttchat_tui.ui import app as ui_app
from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanScreen
from ttchat_tui.ui.themes import DEFAULT_THEME, load_themes
from ttchat_tui.ui.widgets.transcript.folding import ThoughtDisplay
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

STYLES = Path(ui_app.__file__).parent / "styles" / "transcript.tcss"
LENGTHS = (500, 2_000, 8_000, 20_000)
TOKEN, TOKENS_A_FLUSH = 4, 5
ROUNDS, FLUSHES_A_ROUND = 3, 24
RATIO, P95_MS = 2.0, 40.0

PROSE = (
    "A mesh of devices shards the weight along its **inner** dimension, so that every chip holds a slice of it "
    "and the *partial* products are summed by an all-reduce over the ring. "
)
CONTENTS = {
    "prose": "".join(PROSE * 3 + "\n\n" for _ in range(20)),
    "one paragraph": PROSE,
    "code": "def shard(tensor, mesh, dim=1):\n    # a slice for each chip\n    parts = tensor.chunk(len(mesh), dim)\n"
    "    return [ttnn.from_torch(part, device=chip) for part, chip in zip(parts, mesh)]\n\n",
    "list": "- shard the **weight** along `dim=1`, gather the result\n  - and the inner items too\n",
    "table": "| all-reduce | 8 chips | `bf16` | 1.25 ms |\n",
}
CONTENTS["folded thought"] = CONTENTS["open thought"] = CONTENTS["prose"]
HEADS = {
    "folded thought": "<think>\n",
    "open thought": "<think>\n",
    "code": "```python\n",
    "table": "| operation | where | type | time |\n|---|:-:|---|--:|\n",
}


class StreamBench(App[None]):
    """The transcript alone, with the app's styles."""

    CSS_PATH = [STYLES]

    def __init__(self, content: str) -> None:
        super().__init__()
        self.thoughts: ThoughtDisplay = "open" if content.startswith("open") else "fold"
        for theme in load_themes([])[0]:
            self.register_theme(theme)
        self.theme = DEFAULT_THEME

    def get_default_screen(self) -> DirtySpanScreen[None]:
        return DirtySpanScreen()

    def compose(self) -> ComposeResult:
        yield Transcript(thoughts=self.thoughts)


class Stream:
    """One growing reply in its own app."""

    def __init__(self, app: StreamBench, content: str, tokens: int) -> None:
        self.app = app
        self.transcript = app.query_one(Transcript)
        self.text: Iterator[str] = itertools.cycle(CONTENTS[content])
        self.head = HEADS.get(content, "")
        self.tokens = tokens
        self.samples_ms: list[float] = []

    def take(self, tokens: int) -> str:
        return "".join(itertools.islice(self.text, tokens * TOKEN))

    async def grow(self) -> None:
        """Grow the reply to its length in large steps."""
        self.transcript.begin(MessageView(1, "assistant", "", "streaming", title="bench", time="12:00"))
        self.transcript.feed(1, self.head)
        for _ in range(self.tokens // 200):
            self.transcript.feed(1, self.take(200))
            self.transcript.flush()
        await self.drawn()

    async def measure(self) -> None:
        for _ in range(FLUSHES_A_ROUND):
            start = time.process_time()
            self.transcript.feed(1, self.take(TOKENS_A_FLUSH))
            self.transcript.flush()
            await self.drawn()
            self.samples_ms.append((time.process_time() - start) * 1000)

    async def drawn(self) -> None:
        """Return when everything is on screen."""
        done = asyncio.Event()
        self.transcript.call_after_refresh(done.set)
        await done.wait()


async def main() -> None:
    results: dict[str, dict[str, dict[str, float]]] = {}
    for content in CONTENTS:
        results[content] = await lengths_of(content)
        row = "   ".join(
            f"{tokens:>6,}: {found['mean_ms']:5.2f} (p95 {found['p95_ms']:5.2f})"
            for tokens, found in zip(LENGTHS, results[content].values(), strict=True)
        )
        print(f"{content:<14} CPU ms a flush   {row}   {ratio_of(results[content]):.2f} x")
    ratios = {content: ratio_of(found) for content, found in results.items()}
    p95 = max(found["p95_ms"] for lengths in results.values() for found in lengths.values())
    is_met = max(ratios.values()) < RATIO and p95 < P95_MS
    finish(
        "ui_stream",
        {"ratios": ratios, "p95_ms": p95, "is_met": is_met, "figures": results},
        f"CPU a flush at {LENGTHS[-1]:,} / at {LENGTHS[0]:,} tokens: at most {max(ratios.values()):.2f} "
        f"(target < {RATIO}); p95 at most {p95:.1f} ms (target < {P95_MS:.0f})",
    )
    if not is_met:
        raise SystemExit(1)


async def lengths_of(content: str) -> dict[str, dict[str, float]]:
    """Samples of all lengths, in turn, each in a new app."""
    samples: dict[int, list[float]] = {tokens: [] for tokens in LENGTHS}
    for _ in range(ROUNDS):
        for tokens in LENGTHS:
            app = StreamBench(content)
            async with app.run_test(size=(200, 50)):
                stream = Stream(app, content, tokens)
                await stream.grow()
                gc.collect()
                gc.disable()  # As while a reply streams in the app.
                await stream.measure()
                gc.enable()
                samples[tokens] += stream.samples_ms
    return {
        str(tokens): {
            "mean_ms": statistics.mean(found),
            "p50_ms": statistics.median(found),
            "p95_ms": statistics.quantiles(found, n=20)[-1],
            "max_ms": max(found),
        }
        for tokens, found in samples.items()
    }


def ratio_of(found: dict[str, dict[str, float]]) -> float:
    return found[str(LENGTHS[-1])]["mean_ms"] / found[str(LENGTHS[0])]["mean_ms"]


if __name__ == "__main__":
    asyncio.run(main())
