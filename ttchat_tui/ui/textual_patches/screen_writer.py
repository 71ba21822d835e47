"""Output to the terminal that never blocks the app, even if the terminal stalls or goes away.

Replaces `WriterThread` of Textual 8.2.8. There, the 31st pending write blocks the event loop. A stalled link or a suspended
window then stops the session: nothing is saved and no signal is handled. When the terminal goes away, the writer thread
dies and the loop waits forever. SIGTSTP (ctrl+z) makes its handler write: if it arrives during a write, both wait forever
for the lock of `queue.Queue`.
"""

from __future__ import annotations

import os
import select
from queue import SimpleQueue
from typing import IO, Final

from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

END_S: Final = 2.0
"""How long the terminal has to read pending output at exit."""


class ScreenWriter(WriterThread):
    """Textual's writer without a limit. The app checks `is_behind` before each frame."""

    def __init__(self, file: IO[str]) -> None:
        super().__init__(file)
        # A signal handler may put while this thread puts.
        self._queue: SimpleQueue[str | None] = SimpleQueue()  # pyright: ignore[reportIncompatibleVariableOverride]
        self._descriptor = os.dup(file.fileno())
        """A duplicate: a write may outlast `stop`, and by then another file may have the number of `file`."""

    @property
    def is_behind(self) -> bool:
        """The terminal does not keep up: another frame would be out of date when it is read."""
        return self._queue.qsize() > MAX_QUEUED_WRITES

    def run(self) -> None:
        """Write to the descriptor, not the file: a blocked thread must not hold a file's lock at exit."""
        is_ended = is_gone = False
        while not is_ended:
            texts = [self._queue.get()]
            while self._queue.qsize():  # a frame is several writes
                texts.append(self._queue.get())
            is_ended = None in texts
            data = "".join(filter(None, texts)).encode("utf-8", "replace")
            is_gone = is_gone or not _write(self._descriptor, data)  # `last_resort` reports it
        os.close(self._descriptor)

    def stop(self) -> None:
        """Finish pending writes, unless the terminal is stalled."""
        self._queue.put(None)
        self.join(END_S)


def _write(descriptor: int, data: bytes) -> bool:
    """Write all data. False if the terminal is gone."""
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
