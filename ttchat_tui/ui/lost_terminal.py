"""Notice that the terminal is gone where no SIGHUP tells it: only who has it as the controlling terminal gets one.

Textual's thread for input takes the end of a terminal for a pause, and asks again at once: 80 % of a core, for ever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
from collections.abc import Callable

log = logging.getLogger(__name__)


def watch(tell: Callable[[], None]) -> None:
    """Call `tell`, once, on the running event loop, when the terminal on stdin has hung up. It costs nothing meanwhile.

    Without a terminal there, or where there is no epoll (other systems than Linux), nothing is watched.
    """
    descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    if descriptor < 0 or not os.isatty(descriptor) or not hasattr(select, "epoll"):
        return
    loop = asyncio.get_running_loop()
    hung_up = select.epoll()
    hung_up.register(descriptor, 0)  # no event is asked for: of hang-ups and errors it tells in any case

    def take() -> None:
        loop.remove_reader(hung_up.fileno())
        hung_up.close()
        log.info("the terminal is gone")
        tell()

    loop.add_reader(hung_up.fileno(), take)
