"""Detection of a closed terminal without SIGHUP, which only processes with that controlling terminal receive.

Textual's input thread takes the end of a terminal for a pause and polls again at once: 80 % of a core, forever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
from collections.abc import Callable

log = logging.getLogger(__name__)


def watch(on_hang_up: Callable[[], None]) -> None:
    """Call `on_hang_up` once, on the running event loop, when the terminal on stdin hangs up. Costs nothing meanwhile.

    Does nothing without a terminal on stdin, or without epoll (only Linux has it).
    """
    descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    if descriptor < 0 or not os.isatty(descriptor) or not hasattr(select, "epoll"):
        return
    loop = asyncio.get_running_loop()
    hung_up = select.epoll()
    hung_up.register(descriptor, 0)  # no events: hang-ups and errors are always reported

    def report() -> None:
        loop.remove_reader(hung_up.fileno())
        hung_up.close()
        log.info("the terminal is gone")
        on_hang_up()

    loop.add_reader(hung_up.fileno(), report)
