"""The figures of the metrics sidebar, sampled from the session at most twice a second."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.session import ChatSession
from ttchat_tui.ui import deferred

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.metrics.panel import Metrics

INTERVAL_S = 0.5
HISTORY = 60
"""Decode rates that are kept: half a minute."""

RATE_WINDOW_S = 1.0


class LiveMetrics:
    """Live figures while a reply runs on screen; between replies those of the last one."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self._rates: deque[float] = deque(maxlen=HISTORY)
        self._sampled_at = 0.0
        self.phase = "starting"
        self.last_stats: GenerationStats | None = None

    def is_due(self) -> bool:
        return time.monotonic() - self._sampled_at >= INTERVAL_S

    def forget_rates(self) -> None:
        self._rates.clear()

    def sample(self) -> Metrics:
        self._sampled_at = time.monotonic()
        session = self._session
        is_live = session.is_answering
        stats = session.meter.stats() if is_live else self.last_stats or GenerationStats()
        is_paused = session.pausing.is_paused
        now_tps = session.meter.now_tps(RATE_WINDOW_S) if is_live and not is_paused else None
        if now_tps is not None:
            self._rates.append(now_tps)
        info = session.info
        # Unknown before the first reply, and for a reply that the app's death cut off.
        is_known = is_live or stats.prompt_tokens > 0
        return deferred.metrics_panel.Metrics(
            phase="paused" if is_paused else self.phase,
            ttft_s=stats.ttft_s,
            prefill_tps=stats.prefill_tps,
            decode_now_tps=now_tps,
            decode_mean_tps=stats.decode_tps,
            itl_p50_s=stats.itl_p50_s,
            itl_p95_s=stats.itl_p95_s,
            prompt_tokens=stats.prompt_tokens if is_known else None,
            cached_tokens=stats.cached_tokens if is_known else None,
            completion_tokens=stats.completion_tokens if is_known else None,
            context_used=stats.prompt_tokens + stats.completion_tokens,
            context_length=stats.context_length or (info.context_length if info else 0),
            rss_bytes=session.engine_memory_bytes(),
            load_s=info.load_s if info else None,
            model=info.model if info else "",
            engine_label=info.label if info else "",
            threads=info.threads if info else 0,
            is_over_network=stats.chunks is not None
            if is_known
            else info is not None and bool(info.endpoint),
            is_estimate=stats.is_estimate,
            history=tuple(self._rates),
        )
