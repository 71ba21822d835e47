"""The end of an app whose terminal has gone, or that a signal asks to end, also where its event loop or its screen is stuck.

SIGHUP reaches only processes with that controlling terminal, and Textual's input thread takes the end of a terminal for a
pause: 80 % of a core, forever. So a thread waits for both.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import sys
import threading
from typing import Final

GRACE_S: Final = 3.0
"""How long the app has to end by itself."""
AGAIN_S: Final = 1.0
RAISES: Final = 4
"""So often `SystemExit` is raised in the main thread: each may only lead out of one part of the stuck work. After that the
process ends as it is; replies are on disk up to the last second before it got stuck."""

log = logging.getLogger(__name__)


class LastResort:
    """Watches while its context is entered, in the main thread, around the app's event loop. Costs nothing meanwhile."""

    def __init__(self) -> None:
        self.is_due = False
        """The app has not ended in time."""
        self._number = 0
        self._ask = -1
        self._is_over = threading.Event()

    def __enter__(self) -> LastResort:
        asked, self._ask = os.pipe()
        threading.Thread(target=self._watch, args=(asked,), name="last-resort", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        os.write(self._ask, b"!")  # the thread ends

    def ask(self, number: int) -> None:
        """The signal `number` asks the app to end. Signal handlers may call it. Raises SystemExit once the app is due."""
        if self.is_due and not self._is_over.is_set():
            raise SystemExit(128 + self._number)
        self._number = self._number or number
        os.write(self._ask, b"!")

    def _watch(self, asked: int) -> None:
        main = threading.main_thread().ident
        assert main is not None
        if _is_gone_before(asked):
            log.info("the terminal is gone")
            signal.pthread_kill(main, signal.SIGHUP)
        for wait_s in (GRACE_S, *[AGAIN_S] * (RAISES - 1)):
            if self._is_over.wait(wait_s):
                return
            log.error("the app does not end by itself")
            self.is_due = True
            signal.pthread_kill(main, self._number or signal.SIGHUP)
        if not self._is_over.wait(AGAIN_S):
            faulthandler.dump_traceback(2, all_threads=True)
            os._exit(128 + (self._number or signal.SIGHUP))


def _is_gone_before(asked: int) -> bool:
    """Wait until the terminal on stdin hangs up, or until there is something to read from `asked`. Whether the terminal hung
    up first. Without a terminal, or without epoll (only Linux has it, and reports this), only `asked` counts."""
    waiting = select.poll()
    waiting.register(asked, select.POLLIN)
    descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    if descriptor >= 0 and os.isatty(descriptor) and hasattr(select, "epoll"):
        waiting.register(descriptor, 0)  # no events: hang-ups and errors are always reported
    return all(ready != asked for ready, _ in waiting.poll())
