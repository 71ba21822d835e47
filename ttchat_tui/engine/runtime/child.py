"""The engine's process as its parent sees it: spawn it, talk to it, notice that it died or hangs, end it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.user_paths import current_folder
from ttchat_tui.engine.base import EngineDied
from ttchat_tui.engine.runtime.exit_report import obituary
from ttchat_tui.engine.runtime.wire import Command, Heartbeat, Launch, Reply, WireError, parent_channel

log = logging.getLogger(__name__)

TICK_S: Final = 0.1
"""How often a wait looks up: was the load cancelled, has it lasted too long."""
REST_S: Final = 0.04
"""Tokens are taken in bursts, so far apart: half as far as the screen is drawn, and one wake-up for five tokens where an
engine makes 130 a second on all cores."""
STACKS_SIGNAL: Final = signal.SIGUSR1
"""On this signal the child writes the stacks of its threads to the log, even while native code holds the GIL; the full
screen's process does so too (`terminal.captured`)."""
_BOOT: Final = (
    "import sys, json; launch = sys.argv[1]; sys.path[:] = json.loads(launch)['sys_path']; "
    "from ttchat_tui.engine.runtime.worker import main; main(launch)"
)
"""Not `-m`: that would put the current folder first on the path, and a random.py in it before Python's own."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long the child may be silent, in seconds, before it is taken for hung and killed."""

    heartbeat_s: float = 1.0
    """The child says that it is alive so often, while it works."""
    silence_s: float = 5.0
    """Without any sign of life while it works."""
    load_silence_s: float = 30.0
    """The same during a load, where imports and conversions may hold the interpreter."""
    least_step_s: float = 8.0
    """The shortest limit for a step, however fast the ones before were (see `StepPatience`)."""
    step_s: float | None = 60.0
    """Alive, but without progress in a reply. None waits for ever: a first compilation may take minutes."""
    cancel_s: float = 2.0
    """From the wish to cancel a load, or to drop a reply, to the child's answer."""
    farewell_s: float = 1.5
    """For the engine to close, once the UI is gone or wants to go."""


class Child:
    """One child process, from spawn to end. `kill` may be called from any thread, all else from one."""

    def __init__(
        self,
        log_path: Path,
        factory: str,
        warm: tuple[str, ...],
        patience: Patience,
        environment: Mapping[str, str],
        advice: str = "",
    ) -> None:
        """Spawn; does not wait for the child. All its output goes to `log_path`, which gets mode 0600.

        `advice` is for the user, should it die (`obituary`).
        """
        self._advice = advice
        self._patience = patience
        self._log_path = log_path
        self._heard_s = time.monotonic()
        ours, theirs = socket.socketpair()
        launch = Launch(
            socket_fd=theirs.fileno(),
            factory=factory,
            warm=warm,
            sys_path=tuple(entry or str(current_folder()) for entry in sys.path),
            heartbeat_s=patience.heartbeat_s,
            deadman_s=patience.load_silence_s + patience.heartbeat_s,
            farewell_s=patience.farewell_s,
        )
        with theirs, open(log_path, "ab", opener=_open_private) as log_file:
            self._log_start = os.fstat(log_file.fileno()).st_size
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, msgspec.json.encode(launch).decode()],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[theirs.fileno()],
                # torch's own libraries find nothing in a folder that has been deleted.
                cwd=None if current_folder().is_absolute() else os.sep,
                start_new_session=True,  # ctrl+c at the terminal is not meant for it
                env={**os.environ, **environment},
            )
        self._channel = parent_channel(ours)
        log.info("started the engine's process %d", self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def silent_s(self) -> float:
        """For how long there has been no sign of life, while `replies` listens."""
        return time.monotonic() - self._heard_s

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, command: Command) -> None:
        """Raises `EngineDied` when the child is gone or takes nothing any more."""
        try:
            self._channel.send(command, self._patience.silence_s)
        except WireError as error:
            raise self.died() from error

    def replies(
        self, silence_s: float, step_limit_s: Callable[[], float | None] = lambda: None, wake_fd: int = -1
    ) -> Iterator[Reply | None]:
        """What the child says, without end; None after each tick of silence, and when `wake_fd` can be read.

        Raises:
            EngineDied: the child ended; or said nothing for `silence_s`, or made no progress for `step_limit_s()` (other
                than heartbeats), and was killed for it.
        """
        self._heard_s = progressed = time.monotonic()
        while True:
            waiting_since = time.monotonic()
            try:
                reply = self._channel.receive(TICK_S, wake_fd)
            except WireError as error:
                raise self.died() from error
            now = time.monotonic()
            if (
                now - waiting_since > TICK_S + 1.0
            ):  # it was this process that slept: ctrl+z, a stopped machine
                self._heard_s = progressed = now
            if isinstance(reply, Heartbeat):
                self._heard_s = now
            elif reply is not None:
                self._heard_s = progressed = now
                yield reply
                continue
            if now - self._heard_s > silence_s:
                raise self._hung(f"gave no sign of life for {silence_s:g} s")
            step_s = step_limit_s()
            if step_s is not None and now - progressed > step_s:
                raise self._hung(f"made no progress for {step_s:g} s")
            yield None

    def rest(self, wake_fd: int) -> None:
        """Let a reply's tokens gather for `REST_S`, unless there are more already or `wake_fd` can be read."""
        self._channel.rest(REST_S, wake_fd)

    def kill(self) -> None:
        """End it at once; whoever waits for it gets `EngineDied`."""
        self._process.kill()

    def died(self, killed_for: str = "") -> EngineDied:
        """Make sure that it has ended, and tell how. `killed_for`: why we ended it, if we did."""
        status = self.reap(timeout_s=1.0)
        error = obituary(status, killed_for, self._log_path, self._log_start, self._advice)
        log.warning("%s", error)
        return error

    def reap(self, timeout_s: float) -> int:
        """Wait for its end, kill it after `timeout_s`; its exit status, negative for a signal."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._channel.close()
        return self._process.wait()

    def _hung(self, killed_for: str) -> EngineDied:
        self._process.send_signal(STACKS_SIGNAL)
        time.sleep(TICK_S)  # to write them
        self._process.kill()
        return self.died(killed_for)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
