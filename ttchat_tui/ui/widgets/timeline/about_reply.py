"""What the timeline screen says about one reply: a bar for the whole, a bar for a step, percentiles and a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from textual.content import Content

from ttchat_tui.domain.anatomy import MEANINGS, is_cold, parts_of, step_parts_of, whole_s
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.text import counted
from ttchat_tui.domain.timeline import Timeline
from ttchat_tui.ui.widgets.metrics.figures import rate_text, seconds_text
from ttchat_tui.ui.widgets.metrics.rate_graph import BARS
from ttchat_tui.ui.widgets.timeline.bar import LETTERS, bar, duration_words, legend

NOT_MEASURED: Final = "Not measured: an earlier version of the app generated this reply."
_MOST_BINS: Final = 32
_UNKNOWN_HERE: Final = (
    "Not known of a server: its queue, template, tokenizer, prefill and steps. Times include the network."
)


def lines_about(stats: GenerationStats, latencies_s: Sequence[float], width: int) -> list[Content]:
    """`latencies_s`: ascending; empty if the reply was not recorded."""
    timeline = stats.timeline
    if timeline is None:
        return [Content.styled(NOT_MEASURED, "$text-muted")]
    parts = parts_of(stats)
    lines = [_whole(stats, timeline), bar(parts, width), *legend(parts, width)]
    lines += _details(stats, timeline)
    step = step_parts_of(stats)
    if step:
        steps = counted(timeline.steady_steps, "step")
        mean_s = sum(part.seconds for part in step)
        head = Content.assemble(
            ("step ", "bold"), f"{duration_words(mean_s)}, mean of {steps} after the first two tokens"
        )
        lines += [Content(""), head, bar(step, width), *legend(step, width)]
    lines += _percentiles(stats, latencies_s, width)
    lines += [Content(words) for words in _lags(timeline)]
    if stats.chunks is not None:
        lines.append(Content.styled(_UNKNOWN_HERE, "$text-muted"))
    return lines


def _whole(stats: GenerationStats, timeline: Timeline) -> Content:
    whole = whole_s(stats)
    words = f"{duration_words(whole)}" if whole is not None else "still running"
    network = " with network" if stats.chunks is not None else ""
    figures = f" · TTFT{network} {seconds_text(stats.ttft_s)} s · decode {rate_text(stats.decode_tps)} tok/s"
    if stats.chunks is not None:  # what a server had to load or compile is not known
        return Content.assemble(("whole ", "bold"), words, figures)
    state = (" · cold", "$text-warning") if is_cold(timeline) else (" · warm", "$text-muted")
    return Content.assemble(("whole ", "bold"), words, figures, state)


def _details(stats: GenerationStats, timeline: Timeline) -> list[Content]:
    notes: list[str] = []
    if timeline.chunks:
        computed = sum(chunk.tokens for chunk in timeline.chunks)
        chunks = "; ".join(
            _chunk_words(chunk.tokens, chunk.seconds, chunk.work) for chunk in timeline.chunks[:4]
        )
        more = f" and {len(timeline.chunks) - 4} more" if len(timeline.chunks) > 4 else ""
        notes.append(
            f"prefill: {stats.cached_tokens:,} of {stats.prompt_tokens:,} tokens cached, {computed:,} read in "
            f"{counted(len(timeline.chunks), 'chunk')} ({chunks}{more})"
        )
    if timeline.is_first:
        notes.append("cold: the first reply since the model was loaded")
    if timeline.first_step is not None and timeline.first_step.work:
        notes.append(
            {
                "compile": "cold: the first step compiled programs",
                "trace": "cold: the first step recorded a trace",
            }[timeline.first_step.work]
        )
    if stats.paused_s:
        notes.append(f"paused for {duration_words(stats.paused_s)}, in no part")
    return [Content.styled(note, "$text-muted") for note in notes]


def _chunk_words(tokens: int, seconds: float, work: str) -> str:
    return f"{tokens:,} tok {duration_words(seconds)}{f' {work}' * bool(work)}"


def _percentiles(stats: GenerationStats, latencies_s: Sequence[float], width: int) -> list[Content]:
    known = [
        f"{name} {duration_words(value)}"
        for name, value in (("p50", stats.itl_p50_s), ("p95", stats.itl_p95_s), ("p99", stats.itl_p99_s))
        if value is not None
    ]
    if not known:
        return []
    of_chunks = " of chunks" if stats.chunks is not None else ""
    lines = [Content.assemble((f"ITL{of_chunks} ", "bold"), " · ".join(known))]
    if len(latencies_s) > 1:
        low, high = latencies_s[0], latencies_s[-1]
        ends = duration_words(low), duration_words(high)
        bins = min(_MOST_BINS, max(8, width - len(ends[0]) - len(ends[1]) - 6))
        lines.append(
            Content.assemble(f"{ends[0]} ", (histogram(latencies_s, bins), "$success"), f" {ends[1]}")
        )
    return lines


def histogram(ascending: Sequence[float], bins: int) -> str:
    """A bar for each of `bins` equal ranges between the lowest and the highest value; a blank for none."""
    low, high = ascending[0], ascending[-1]
    counts = [0] * bins
    for value in ascending:
        counts[min(bins - 1, int((value - low) / (high - low) * bins)) if high > low else 0] += 1
    most = max(counts)
    return "".join(BARS[max(1, round(each / most * (len(BARS) - 1)))] if each else " " for each in counts)


def _lags(timeline: Timeline) -> list[str]:
    return [
        f"{name} lag of a token p50 {duration_words(lag.p50_s)} · p95 {duration_words(lag.p95_s)}"
        for name, lag in (("pipe", timeline.pipe), ("screen", timeline.screen))
        if lag is not None and lag.p50_s is not None
    ]


def medians(every: Sequence[GenerationStats]) -> list[Content]:
    """Of all replies that are listed, cold and warm ones apart; those of servers are neither."""
    lines: list[Content] = []
    for name, is_wanted_cold in (("warm", False), ("cold", True)):
        found = [
            stats
            for stats in every
            if stats.timeline is not None
            and stats.chunks is None
            and is_cold(stats.timeline) == is_wanted_cold
        ]
        ttfts_s = [stats.ttft_s for stats in found if stats.ttft_s is not None]
        if ttfts_s:
            steps_s = [stats.first_step_s for stats in found if stats.first_step_s is not None]
            replies = f"{len(ttfts_s)} {name} {'reply' if len(ttfts_s) == 1 else 'replies'}"
            words = f"median of {replies}: TTFT {median(ttfts_s):.2f} s"
            words += f" · first step {duration_words(median(steps_s))}" if steps_s else ""
            lines.append(Content.styled(words, "$text-muted"))
    return lines


def meanings(stats: GenerationStats) -> list[Content]:
    """What the letters of its bars stand for."""
    return [
        Content.styled(f"{LETTERS[part.name]} {part.name}: {MEANINGS[part.name]}", "$text-muted")
        for part in parts_of(stats)
    ]
