"""Signs of life, while something of this session must not be taken over: its queue, its running reply."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.writers import SILENCE_S

BEAT_S: Final = SILENCE_S / 4
"""Three may be missed, in a window that is busy or on a disk that is slow."""

log = logging.getLogger(__name__)


class Presence:
    """Writes this process's signs of life, as long as there is something to keep."""

    def __init__(
        self,
        store: ConversationStore,
        clock: Callable[[], float],
        is_queue_filled: Callable[[], bool],
        running: Callable[[], Sequence[RunningReply]] = tuple,
    ) -> None:
        """`running`: the running replies. Others can see whether all of them are paused."""
        self._running = running
        self._is_paused = False
        """As it was stored last."""
        self._store = store
        self._clock = clock
        self._is_queue_filled = is_queue_filled
        self._due = -math.inf

    def beat(self) -> None:
        """Give a sign of life, if one is due: at once where a reply was paused or resumed."""
        running = self._running()
        is_paused = bool(running) and all(each.control.is_paused for each in running)
        has_work = bool(running) or self._is_queue_filled()
        if is_paused == self._is_paused and (self._clock() < self._due or not has_work):
            return
        self._is_paused = is_paused
        self._due = self._clock() + BEAT_S
        try:
            self._store.presence.beat(is_paused=is_paused)
        except (
            StorageError
        ) as error:  # what the user does next fails too, and is reported; the next beat may succeed
            log.info("no sign of life: %s", error)
