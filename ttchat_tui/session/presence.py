"""Signs of life, while something of this session must not be taken over: its queue, its running reply."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.writers import SILENCE_S

BEAT_S: Final = SILENCE_S / 4
"""Three may be missed, in a window that is busy or on a disk that is slow."""

log = logging.getLogger(__name__)


class Heartbeats:
    """Without work it writes nothing."""

    def __init__(
        self, store: ConversationStore, clock: Callable[[], float], has_work: Callable[[], bool]
    ) -> None:
        self._store = store
        self._clock = clock
        self._has_work = has_work
        self._due = -math.inf

    def beat(self) -> None:
        """Give a sign of life, if one is due."""
        if self._clock() < self._due or not self._has_work():
            return
        self._due = self._clock() + BEAT_S
        try:
            self._store.presence.beat()
        except (
            StorageError
        ) as error:  # what the user does next fails too, and is reported; the next beat may succeed
            log.info("no sign of life: %s", error)
