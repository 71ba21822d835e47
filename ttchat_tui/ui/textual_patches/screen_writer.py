"""Writes to the terminal, for which the app never waits: a terminal may stand still, and it may go away meanwhile.

Textual 8.2.8 lets 30 writes wait and stops its event loop at the next one. A link that sleeps, or a window that is
suspended, would stop the session with it: nothing is saved, no signal is answered, and when the terminal goes away its
thread has died, and the loop waits for ever.
"""

from __future__ import annotations

import os
import select
from queue import Queue
from typing import IO, Final

from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

END_S: Final = 2.0
"""What waits at the end is given so long to be read."""


class ScreenWriter(WriterThread):
    """Textual's, without a limit: who draws asks `is_behind` before each frame."""

    def __init__(self, file: IO[str]) -> None:
        super().__init__(file)
        self._queue: Queue[str | None] = Queue()
        self._descriptor = os.dup(file.fileno())
        """Its own: who stops it does not wait for its last write, and another file may have the number of `file` by then."""

    @property
    def is_behind(self) -> bool:
        """The terminal reads more slowly than it is written to: a frame more would be out of date when it is read."""
        return self._queue.qsize() > MAX_QUEUED_WRITES

    def run(self) -> None:
        """Write to the descriptor: a thread that stays in a write must not hold the lock of a file at exit."""
        is_ended = is_gone = False
        while not is_ended:
            texts = [self._queue.get()]
            while self._queue.qsize():  # a frame is several
                texts.append(self._queue.get())
            is_ended = None in texts
            data = "".join(filter(None, texts)).encode("utf-8", "replace")
            is_gone = is_gone or not _write(self._descriptor, data)  # which `lost_terminal` reports
        os.close(self._descriptor)

    def stop(self) -> None:
        """Wait for what is written, but not for a terminal that stands still."""
        self._queue.put(None)
        self.join(END_S)


def _write(descriptor: int, data: bytes) -> bool:
    """False: nothing can be written any more."""
    takes = select.poll()
    takes.register(descriptor, select.POLLOUT)
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another program made the terminal non-blocking
            takes.poll()
        except OSError:
            return False
    return True
