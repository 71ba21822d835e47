"""The engine's process: commands from the channel, one at a time, on the main thread; cancel and sampling at once.

Threads: main runs the engine; the reader takes frames, steers what runs, and notices that the UI is gone; the pulse
says that the interpreter runs while there is work. File descriptors 0, 1 and 2 are set before this module is loaded
(stdin is /dev/null, output is the log), so whatever a native library prints goes to the log.
"""

from __future__ import annotations

import faulthandler
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

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished, LoadProgress
from ttchat_tui.domain.generation import GenerationControl
from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.base import Engine, EngineError, LoadCancelled
from ttchat_tui.engine.runtime.child import STACKS_SIGNAL
from ttchat_tui.engine.runtime.error_info import error_info
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.engine.runtime.wire import (
    Cancel,
    CancelLoad,
    Channel,
    Close,
    Command,
    Count,
    Done,
    Failed,
    Generate,
    Heartbeat,
    Launch,
    Load,
    Reply,
    SetSampling,
    Unload,
    WireError,
    child_channel,
)

log = logging.getLogger(__name__)


class Worker:
    """Runs one engine for the process at the other end of `channel`."""

    def __init__(self, channel: Channel[Reply, Command], engine: Engine, launch: Launch) -> None:
        self._channel = channel
        self._engine = engine
        self._launch = launch
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._load_cancelled = threading.Event()
        self._controls: dict[int, GenerationControl] = {}
        self._received = 0
        self._answered = 0
        self._work = threading.Event()
        self._warming = threading.Lock()
        """Held by whoever ends the warm-up: the main thread, which is through with it, or the reader's, which ends all."""
        self._is_warm = False

    def run(self) -> None:
        """Until Close, or until the other side is gone."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        threading.Thread(target=self._pulse, name="pulse", daemon=True).start()
        self._warm_up()
        with self._warming:
            self._is_warm = True
        while (command := self._commands.get()) is not None:
            try:
                command()
            except WireError:
                log.warning("the other side is gone")
                break
            self._answered += 1
        self._engine.close()

    def _warm_up(self) -> None:
        for module in self._launch.warm:
            try:
                importlib.import_module(module)
            except ImportError:
                log.info("%s cannot be imported; a load that needs it will say so", module, exc_info=True)

    # -- the reader's thread

    def _read(self) -> None:
        try:
            while True:
                command = self._channel.receive()
                if command is not None:
                    self._take(command)
        except WireError as error:
            log.info("ending: %s", error)
        finally:
            self._say_farewell()

    def _take(self, command: Command) -> None:
        match command:
            case Load():
                self._load_cancelled = cancelled = threading.Event()
                self._queue(lambda: self._load(command, cancelled))
            case Generate(request):
                self._controls[request.id] = control = GenerationControl(request.sampling)
                self._queue(lambda: self._generate(command, control))
            case Count():
                self._queue(lambda: self._count(command))
            case Unload():
                self._queue(self._unload)
            case Close():
                self._end_if_not_warm()
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
            case _:
                assert_never(command)

    def _end_if_not_warm(self) -> None:
        """Imports take seconds and cannot be broken off; while they run there is no engine that would want to close."""
        with self._warming:
            if not self._is_warm:
                os._exit(0)

    def _queue(self, command: Callable[[], None]) -> None:
        self._received += 1
        self._commands.put(command)
        self._work.set()

    def _say_farewell(self) -> None:
        """Let the engine stop and close, and end the process whether it does or not."""
        self._end_if_not_warm()
        self._load_cancelled.set()
        for control in list(self._controls.values()):
            control.cancel()
        self._commands.put(None)
        time.sleep(self._launch.farewell_s)
        log.warning("the engine did not close within %.1f s", self._launch.farewell_s)
        os._exit(1)

    # -- the pulse's thread

    def _pulse(self) -> None:
        """While there is work: a heartbeat to the other side, and the dead man's switch wound up again.

        The switch is a thread of C in `faulthandler`: it fires although native code holds the GIL, when nothing
        written in Python could.
        """
        while self._work.wait():
            if self._answered == self._received:
                self._work.clear()
                faulthandler.cancel_dump_traceback_later()
                if self._answered == self._received:  # nothing came between the look and the clear
                    continue
                self._work.set()
            faulthandler.dump_traceback_later(self._launch.deadman_s, exit=True)
            try:
                self._channel.send_if_free(Heartbeat())
            except WireError:
                return  # the reader notices as well, and ends the process
            time.sleep(self._launch.heartbeat_s)

    # -- commands, on the main thread

    def _load(self, command: Load, cancelled: threading.Event) -> None:
        def report(progress: LoadProgress) -> None:
            if cancelled.is_set():
                raise LoadCancelled("The load was cancelled.")
            self._channel.send(progress)

        def load() -> Reply:
            return EngineLoaded(self._engine.load(command.spec, report))

        self._answer(load)

    def _count(self, command: Count) -> None:
        self._answer(lambda: self._engine.count(command.count_id, command.messages))

    def _generate(self, command: Generate, control: GenerationControl) -> None:
        def generate() -> Reply:
            for event in self._engine.generate(command.request, control):
                if isinstance(event, GenerationFinished):
                    return event
                self._channel.send(event)
            raise EngineError("The engine ended a reply without saying how.", kind="internal")

        try:
            self._answer(generate)
        finally:
            del self._controls[command.request.id]

    def _unload(self) -> None:
        def unload() -> Reply:
            self._engine.unload()
            return Done()

        self._answer(unload)

    def _close(self) -> None:
        def close() -> Reply:
            self._engine.close()
            return Done()

        self._answer(close)

    def _answer(self, work: Callable[[], Reply]) -> None:
        """Send what `work` returns, or what it raised."""
        try:
            reply = work()
        except WireError:
            raise
        except Exception as error:  # noqa: BLE001 (it is the answer)
            reply = Failed(error_info(error))
        self._channel.send(reply)


def find_factory(name: str) -> Callable[[EngineKind], Engine]:
    """The callable that `module:name` stands for."""
    module, _, attribute = name.partition(":")
    factory: Callable[[EngineKind], Engine] = getattr(importlib.import_module(module), attribute)
    return factory


def main(launch_json: str) -> None:
    """Run as the child of an `IsolatedEngine`; `launch_json` is a `Launch`."""
    launch = msgspec.json.decode(launch_json, type=decodable(Launch))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s engine[%(process)d] %(levelname)s %(message)s"
    )
    # What libraries print has to be in the log before a crash, not after it.
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    faulthandler.enable()
    faulthandler.register(STACKS_SIGNAL, all_threads=True)  # works while native code holds the GIL
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=launch.socket_fd)
    sock.set_inheritable(False)  # a grandchild that keeps it would keep the other side from seeing our end
    engine = SwitchingEngine(find_factory(launch.factory))
    Worker(child_channel(sock), engine, launch).run()
    logging.shutdown()
    os._exit(0)  # everything is closed; taking native libraries down has nothing left to do, and may hang
