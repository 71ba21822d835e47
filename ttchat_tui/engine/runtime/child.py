"""The parent's handle on the engine's process: spawn it, exchange messages, detect that it died or hangs, end it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain import given_settings
from ttchat_tui.domain.text import visible
from ttchat_tui.domain.user_paths import current_folder
from ttchat_tui.engine.base import EngineDied
from ttchat_tui.engine.declaration import load_again
from ttchat_tui.engine.runtime.commands import Command
from ttchat_tui.engine.runtime.exit_report import exit_report
from ttchat_tui.engine.runtime.wire import (
    ChildAnswer,
    Heartbeat,
    InvalidFrame,
    Launch,
    WireError,
    parent_channel,
)
from ttchat_tui.signals import STACKS_SIGNAL

log = logging.getLogger(__name__)

TICK_S: Final = 0.1
"""How often a wait checks whether the load was cancelled or a time-out has passed."""
END_S: Final = 5.0
"""A child that has closed its channel ends within so long, also on a busy machine."""
STACKS_S: Final = 2.0
"""A child that is hung writes its stacks within so long."""
TOKEN_PAUSE_S: Final = 0.04
"""The pause between two bursts of tokens: half the interval between two frames of the screen, and one wake-up for five
tokens of an engine that makes 130 a second on all cores."""
_BOOT: Final = (
    "import sys, json; launch = sys.argv[1]; sys.path[:] = json.loads(launch)['sys_path']; "
    "from ttchat_tui.engine.runtime.worker import main; main(launch)"
)
"""Not `-m`: that puts the current folder first on the path, where a random.py would hide Python's own."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """When the child counts as hung and is killed. All in seconds."""

    heartbeat_s: float = 1.0
    """The interval between the child's heartbeats, while it runs a command."""
    silence_s: float = 5.0
    """The longest time without a heartbeat or an answer."""
    load_silence_s: float = 30.0
    """The same during a load, where imports and conversions may hold the interpreter."""
    min_step_s: float = 8.0
    """The lower bound of a step's time-out, however fast the steps before it were (see `StepTimeout`)."""
    step_s: float | None = 60.0
    """The longest time without progress in a reply. None: no limit, because a first compilation may take minutes."""
    cancel_s: float = 2.0
    """From cancelling a load, or abandoning a reply, to the child's answer."""
    close_s: float = 1.5
    """For the engine to close, when the app ends or has died."""


class Child:
    """One child process, from spawn to end. `kill` may be called from any thread, all else from one."""

    def __init__(
        self,
        log_path: Path,
        factory: str,
        warm: tuple[str, ...],
        timeouts: Timeouts,
        environment: Mapping[str, str],
        advice: Callable[[str], str] = load_again,
    ) -> None:
        """Spawn the child without waiting for it. All its output goes to `log_path`, which gets mode 0600.

        `advice` gives the cure if the child dies (see `exit_report`).
        """
        self._advice = advice
        self._timeouts = timeouts
        self._log_path = log_path
        self._heard_s = time.monotonic()
        ours, theirs = socket.socketpair()
        launch = Launch(
            socket_fd=theirs.fileno(),
            factory=factory,
            warm=warm,
            sys_path=tuple(entry or str(current_folder()) for entry in sys.path),
            heartbeat_s=timeouts.heartbeat_s,
            deadman_s=timeouts.load_silence_s + timeouts.heartbeat_s,
            close_s=timeouts.close_s,
            setting_names=dict(given_settings.names()),
        )
        with theirs, open(log_path, "ab", opener=_open_private) as log_file:
            self._log_start = os.fstat(log_file.fileno()).st_size
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, msgspec.json.encode(launch).decode()],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[theirs.fileno()],
                # torch's libraries fail to load from a folder that has been deleted.
                cwd=None if current_folder().is_absolute() else os.sep,
                start_new_session=True,  # so that ctrl+c at the terminal does not reach it
                env={**os.environ, **environment},
            )
        self._channel = parent_channel(ours)
        log.info("started the engine's process %d", self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def silent_s(self) -> float:
        """Time since the last heartbeat or answer, while `answers` runs."""
        return time.monotonic() - self._heard_s

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, command: Command) -> None:
        """Send a command. Raises `EngineDied` if the child has ended or has stopped reading."""
        try:
            self._channel.send(command, self._timeouts.silence_s)
        except WireError as error:
            raise self.exit_error() from error

    def answers(
        self, silence_s: float, step_limit_s: Callable[[], float | None] = lambda: None, wake_fd: int = -1
    ) -> Iterator[ChildAnswer | None]:
        """The child's answers, without end; None after each tick of silence, and when `wake_fd` can be read.

        Raises:
            EngineDied: the child ended; or it was killed, after `silence_s` without a heartbeat, after
                `step_limit_s()` without an answer, or for an answer that cannot be decoded. While `step_limit_s()` is
                None, the time does not count.
        """
        self._heard_s = progressed = time.monotonic()
        while True:
            waiting_since = time.monotonic()
            try:
                answer = self._channel.receive(TICK_S, wake_fd)
            except InvalidFrame as error:
                self._process.kill()
                raise self.exit_error(
                    f"The engine's process sent an answer that the app cannot read: {visible(str(error))}."
                ) from error
            except WireError as error:
                raise self.exit_error() from error
            now = time.monotonic()
            if now - waiting_since > TICK_S + 1.0:  # this process was suspended: ctrl+z, a sleeping machine
                self._heard_s = progressed = now
            if isinstance(answer, Heartbeat):
                self._heard_s = now
            elif answer is not None:
                self._heard_s = progressed = now
                yield answer
                continue
            if now - self._heard_s > silence_s:
                raise self._kill_hung(f"gave no sign of life for {silence_s:g} s")
            step_s = step_limit_s()
            if step_s is None:
                progressed = now
            elif now - progressed > step_s:
                raise self._kill_hung(f"made no progress for {step_s:g} s")
            yield None

    def pause(self, wake_fd: int) -> None:
        """Let tokens gather for `TOKEN_PAUSE_S`; shorter if one is here already or `wake_fd` can be read."""
        self._channel.pause(TOKEN_PAUSE_S, wake_fd)

    def kill(self) -> None:
        """End the child at once; a call that waits for its answer raises `EngineDied`."""
        self._process.kill()

    def exit_error(self, killed_for: str = "") -> EngineDied:
        """Wait for the child's end (kill it after `END_S`) and return the error that describes it.

        `killed_for` is the sentence about the reason if we killed it.
        """
        status = self.reap(END_S)
        error = exit_report(status, killed_for, self._log_path, self._log_start, self._advice)
        log.warning("%s", error)
        return error

    def reap(self, timeout_s: float) -> int:
        """Wait for the child's end, and kill it after `timeout_s`. Returns its exit status, negative for a signal."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._channel.close()
        return self._process.wait()

    def _kill_hung(self, killed_for: str) -> EngineDied:
        self._write_stacks()
        self._process.kill()
        return self.exit_error(f"The engine stopped answering: it {killed_for}.")

    def _write_stacks(self) -> None:
        """Have the child write its stacks to the log, and wait until they are there, at most `STACKS_S`."""
        before = size = self._log_size()
        self._process.send_signal(STACKS_SIGNAL)
        for _ in range(round(STACKS_S / TICK_S)):
            time.sleep(TICK_S)
            last, size = size, self._log_size()
            if before < last == size:
                return

    def _log_size(self) -> int:
        try:
            return self._log_path.stat().st_size
        except OSError:  # somebody has removed it
            return 0


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
