"""Events from the engine thread to the UI's thread: no lock, no waiting, and a wake-up per burst, not per event."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ttchat_tui.domain.events import EngineEvent

log = logging.getLogger(__name__)


class EventQueue:
    """One thread posts, another drains. The waker is called on the posting thread."""

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
        """Append `event`; a waker that raises is not called again (the UI's event loop may be closed already)."""
        self._events.append(event)
        waker = self._waker
        if waker is None or self._is_woken:
            return
        self._is_woken = True
        try:
            waker()
        except Exception:
            log.exception("the UI cannot be woken")
            self._waker = None

    def drain(self) -> list[EngineEvent]:
        """All events since the last call, in order."""
        self._is_woken = False  # before taking: an event that comes meanwhile is taken, or wakes
        events: list[EngineEvent] = []
        while self._events:
            events.append(self._events.popleft())
        return events
