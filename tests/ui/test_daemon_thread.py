"""A call that hangs: what waits for it can give up, and so can the program."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ttchat_tui.ui.daemon_thread import in_daemon_thread


def test_the_event_loop_ends_while_a_call_hangs_and_errors_and_results_come_back() -> None:
    hanging = threading.Event()

    async def give_up() -> int:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(in_daemon_thread(hanging.wait), 0.001)
        with pytest.raises(ValueError, match="invalid literal"):
            await in_daemon_thread(int, "x")
        return await in_daemon_thread(int, "7")

    assert asyncio.run(give_up()) == 7
    hanging.set()
