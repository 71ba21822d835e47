"""The engine's process: runs the commands from the channel, one at a time.

Three threads: main runs the engine; the reader receives commands, applies cancels, pauses, forced tokens and sampling changes at once, and
notices when the UI has gone; the heartbeat thread shows that the interpreter is alive while a command runs. File
descriptors 0, 1 and 2 are set before this module is loaded (stdin is /dev/null, output is the log), so that the output of
native libraries goes to the log.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOWrapper
from typing import cast

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain import given_settings
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished, LoadProgress
from ttchat_tui.domain.generation import GenerationControl
from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.base import Engine, LoadCancelled
from ttchat_tui.engine.runtime.commands import (
    Cancel,
    CancelLoad,
    Close,
    Command,
    CountTokens,
    Force,
    Generate,
    Load,
    SetPacing,
    SetPreviewed,
    SetSampling,
    StopRows,
    Unload,
)
from ttchat_tui.engine.runtime.error_info import error_info, unfinished_reply
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.engine.runtime.wire import (
    Channel,
    ChildAnswer,
    Done,
    Failed,
    Heartbeat,
    InvalidFrame,
    Launch,
    WireError,
    child_channel,
)
from ttchat_tui.signals import write_stacks_to

log = logging.getLogger(__name__)


class Worker:
    """Runs one engine for the process at the other end of `channel`."""

    def __init__(self, channel: Channel[ChildAnswer, Command], engine: Engine, launch: Launch) -> None:
        self._channel = channel
        self._engine = engine
        self._launch = launch
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._load_cancelled = threading.Event()
        self._controls: dict[int, GenerationControl] = {}
        self._received = 0
        self._answered = 0
        self._work = threading.Event()
        self._switch_lock = threading.Lock()
        """Held while the dead man's switch is set or cancelled."""
        self._import_lock = threading.Lock()
        """Held by the main thread when it ends the imports, and by the reader when it ends the process during them."""
        self._has_imported = False

    def run(self) -> None:
        """Run commands until Close, or until the UI's process has gone."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True).start()
        self._import_modules()
        with self._import_lock:
            self._has_imported = True
        while (command := self._commands.get()) is not None:
            try:
                command()
            except WireError:
                log.warning("the UI's process has gone")
                break
            self._answered += 1
        self._engine.close()

    def _import_modules(self) -> None:
        """Imports leave no garbage: to look for some during them and after each load takes 0.2 s."""
        gc.disable()
        for module in self._launch.warm:
            try:
                importlib.import_module(module)
            except ImportError:
                log.info("%s cannot be imported; a load that needs it reports that", module, exc_info=True)
        gc.freeze()
        gc.enable()

    # -- the reader's thread

    def _read(self) -> None:
        try:
            while True:
                command = self._channel.receive()
                if command is not None:
                    self._dispatch(command)
        except InvalidFrame:
            log.exception("ending: a command cannot be decoded")  # the app quotes its last line
        except WireError as error:
            log.info("ending: %s", error)
        finally:
            self._shut_down()

    def _dispatch(self, command: Command) -> None:
        match command:
            case Load():
                self._load_cancelled = cancelled = threading.Event()
                self._queue(lambda: self._load(command, cancelled))
            case Generate(request, pacing, forced, is_previewed):
                self._controls[request.id] = control = GenerationControl(request.sampling)
                control.force(*forced)
                control.set_pacing(pacing)
                control.set_previewed(is_previewed)
                self._queue(lambda: self._generate(command, control))
            case CountTokens():
                self._queue(lambda: self._count(command))
            case Unload():
                self._queue(self._unload)
            case Close():
                self._exit_while_importing()
                self._queue(self._close)
                self._commands.put(None)
            case CancelLoad():
                self._load_cancelled.set()
            case Cancel(request_id):
                if control := self._controls.get(request_id):
                    control.cancel()
            case SetSampling(request_id, sampling):
                if control := self._controls.get(request_id):
                    control.set_sampling(sampling)
            case SetPacing(request_id, pacing):
                if control := self._controls.get(request_id):
                    control.set_pacing(pacing)
            case Force(request_id, forced):
                if control := self._controls.get(request_id):
                    control.force(*forced)
            case SetPreviewed(request_id, is_previewed):
                if control := self._controls.get(request_id):
                    control.set_previewed(is_previewed)
            case StopRows(request_id, rows):
                if control := self._controls.get(request_id):
                    control.stop_rows(*rows)
            case _:
                assert_never(command)

    def _exit_while_importing(self) -> None:
        """Exit if the imports are still running: they take seconds, cannot be interrupted, and there is no engine to close
        yet."""
        with self._import_lock:
            if not self._has_imported:
                os._exit(0)

    def _queue(self, command: Callable[[], None]) -> None:
        with self._switch_lock:
            self._received += 1
            # Set before the command can run: one that takes the GIL at once and keeps it lets no other thread set it.
            self._postpone_switch()
            self._work.set()
        self._commands.put(command)

    def _shut_down(self) -> None:
        """Cancel all work, give the engine `close_s` to close, then exit in any case."""
        self._exit_while_importing()
        self._load_cancelled.set()
        for control in list(self._controls.values()):
            control.cancel()
        self._commands.put(None)
        time.sleep(self._launch.close_s)
        log.warning("the engine did not close within %.1f s", self._launch.close_s)
        os._exit(1)

    # -- the heartbeat thread

    def _send_heartbeats(self) -> None:
        """While there is work, send heartbeats and postpone the dead man's switch, which each command sets.

        The switch is a C thread of `faulthandler`: it fires even while native code holds the GIL and no Python runs.
        """
        while self._work.wait():
            with self._switch_lock:
                if self._answered == self._received:
                    self._work.clear()
                    faulthandler.cancel_dump_traceback_later()
                    continue
                self._postpone_switch()
            try:
                self._channel.send_if_free(Heartbeat())
            except WireError:
                return  # the reader notices it too, and ends the process
            time.sleep(self._launch.heartbeat_s)

    def _postpone_switch(self) -> None:
        faulthandler.dump_traceback_later(self._launch.deadman_s, exit=True)

    # -- commands, on the main thread

    def _load(self, command: Load, cancelled: threading.Event) -> None:
        def report(progress: LoadProgress) -> None:
            if cancelled.is_set():
                raise LoadCancelled("The load was cancelled.")
            self._channel.send(progress)

        def load() -> ChildAnswer:
            return EngineLoaded(self._engine.load(command.spec, report))

        self._answer(load)

    def _count(self, command: CountTokens) -> None:
        self._answer(
            lambda: self._engine.count(command.count_id, command.messages, command.sampling, command.keep)
        )

    def _generate(self, command: Generate, control: GenerationControl) -> None:
        def generate() -> ChildAnswer:
            for event in self._engine.generate(command.request, control):
                if isinstance(event, GenerationFinished):
                    return event
                self._channel.send(event)
            raise unfinished_reply()

        try:
            self._answer(generate)
        finally:
            del self._controls[command.request.id]

    def _unload(self) -> None:
        def unload() -> ChildAnswer:
            self._engine.unload()
            return Done()

        self._answer(unload)

    def _close(self) -> None:
        def close() -> ChildAnswer:
            self._engine.close()
            return Done()

        self._answer(close)

    def _answer(self, work: Callable[[], ChildAnswer]) -> None:
        """Send what `work` returns, or the error that it raises."""
        try:
            answer = work()
        except WireError:
            raise
        except Exception as error:  # noqa: BLE001 (sent as the answer)
            answer = Failed(error_info(error))
        self._channel.send(answer)


def find_factory(name: str) -> Callable[[EngineKind], Engine]:
    """Import the callable that is named as `module:callable`."""
    module, _, attribute = name.partition(":")
    factory: Callable[[EngineKind], Engine] = getattr(importlib.import_module(module), attribute)
    return factory


def main(launch_json: str) -> None:
    """Entry point of the child of an `IsolatedEngine`. `launch_json` is a `Launch` as JSON."""
    launch = msgspec.json.decode(launch_json, type=decodable(Launch))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s engine[%(process)d] %(levelname)s %(message)s"
    )
    # So that what libraries print is in the log before a crash.
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    faulthandler.enable()
    write_stacks_to(2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given_settings.set_names(launch.setting_names)
    sock = socket.socket(fileno=launch.socket_fd)
    sock.set_inheritable(False)  # a grandchild that inherits it would hide our end from the parent
    engine = SwitchingEngine(find_factory(launch.factory))
    Worker(child_channel(sock), engine, launch).run()
    logging.shutdown()
    os._exit(0)  # everything is closed, and unloading native libraries may hang
