"""Events from the engine thread to the UI's thread, without locks or waits, and with one wake-up per burst."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ttchat_tui.domain.events import EngineEvent

log = logging.getLogger(__name__)


class EventQueue:
    """A queue for one posting thread and one draining thread. The waker is called on the posting thread."""

    def __init__(self) -> None:
        self._events: deque[EngineEvent] = deque()
        self._waker: Callable[[], None] | None = None
        self._is_woken = False

    def set_waker(self, waker: Callable[[], None] | None) -> None:
        """Call `waker` when there are events: at most once until the next `drain`."""
        self._waker = waker
        self._is_woken = False
        if waker is not None and self._events:
            waker()

    def post(self, event: EngineEvent) -> None:
        """Append `event`. A waker that raises is not called again: the UI's event loop may be closed."""
        self._events.append(event)
        waker = self._waker
        if waker is None or self._is_woken:
            return
        self._is_woken = True
        try:
            waker()
        except Exception:
            log.exception("the waker failed; it is not called again")
            self._waker = None

    def drain(self) -> list[EngineEvent]:
        """All events since the last call, in order."""
        self._is_woken = False  # first, so that an event posted meanwhile is drained or wakes
        events: list[EngineEvent] = []
        while self._events:
            events.append(self._events.popleft())
        return events
