"""Calls that may never return, such as a read from a network disk that is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon_thread(work: Callable[..., Result], *arguments: object) -> Result:
    """`work(*arguments)` on a thread of its own. Unlike the threads of `asyncio.to_thread`, one that hangs keeps neither the
    end of the program waiting nor other work."""
    outcome: Future[Result] = Future()
    outcome.set_running_or_notify_cancel()  # from here on nobody cancels it

    def run() -> None:
        try:
            outcome.set_result(work(*arguments))
        except BaseException as error:  # noqa: BLE001 (raised where the result is awaited)
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(outcome)
