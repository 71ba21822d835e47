"""The channel between the UI's process and the engine's process: msgpack structs, each after its length.

Both ends are the same version of the package and start together, so the format has no versions.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineLoaded, GenerationEvent, LoadProgress, PromptCounted
from ttchat_tui.engine.runtime.commands import Command

MAX_FRAME_BYTES: Final = 1 << 28
"""Far above any real frame: a larger length means that the stream is corrupt."""
_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 1 << 16


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of the child: its only command line argument, as JSON."""

    socket_fd: int
    factory: str
    """`module:callable`, called with an `EngineKind`."""
    warm: tuple[str, ...] = ()
    """Modules to import before the first command, which saves the first load this time."""
    sys_path: tuple[str, ...] = ()
    heartbeat_s: float
    deadman_s: float
    """If native code holds the GIL this long, the child writes its stacks to the log and exits."""
    close_s: float
    """How long the engine may take to close after the parent has gone."""
    setting_names: dict[str, str] = {}
    """As in `given_settings.set_names`."""


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """The child is running a command, and its interpreter is alive."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The last answer to a command that raised."""

    error: ErrorInfo


class Done(msgspec.Struct, frozen=True, tag=True):
    """The last answer to Unload and Close."""


ChildAnswer: TypeAlias = (
    Heartbeat | LoadProgress | EngineLoaded | PromptCounted | GenerationEvent | Failed | Done
)
"""From the child. A command ends with one last answer: Load with EngineLoaded, CountTokens with PromptCounted, Generate
with GenerationFinished, Unload and Close with Done, and any of them with Failed."""

Sent = TypeVar("Sent", bound=msgspec.Struct)
Received = TypeVar("Received", bound=msgspec.Struct)


class WireError(Exception):
    """The peer closed the channel, stopped reading, or sent an invalid frame."""


class InvalidFrame(WireError):
    """The peer sent what is no frame of this channel: a fault of its code, or of a library that writes into the socket."""


class Channel(Generic[Sent, Received]):
    """Frames over a connected stream socket, which it owns. Any thread may send; one thread at a time receives."""

    def __init__(self, sock: socket.socket, received: object) -> None:
        """`received` is the union of tagged structs that the peer sends."""
        self._socket = sock
        self._socket.setblocking(False)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(decodable(received))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def send(self, frame: Sent, timeout_s: float | None = None) -> None:
        """Send all of `frame`; waits while the socket's buffer is full.

        Raises:
            WireError: the peer has gone, or has read nothing for `timeout_s`.
        """
        data = self._encode(frame)
        with self._sending:
            self._send(data, timeout_s)

    def send_if_free(self, frame: Sent) -> None:
        """Send a small frame that can be dropped: never waits, and sends nothing while the socket is busy.

        Raises:
            WireError: the peer has gone.
        """
        if not self._sending.acquire(blocking=False):
            return
        try:
            if _wait(0, writable=self._socket.fileno()):
                self._send(self._encode(frame), None)
        finally:
            self._sending.release()

    def receive(self, timeout_s: float | None = None, wake_fd: int = -1) -> Received | None:
        """The next frame; None after `timeout_s`, or as soon as `wake_fd` can be read.

        Raises:
            WireError: the peer has gone and everything it sent has been read, or a frame is invalid.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            frame = self._next_frame()
            if frame is not None:
                return frame
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = _wait(remaining, self._socket.fileno(), wake_fd)
            if self._socket.fileno() not in ready:
                return None
            self._read()

    def pause(self, duration_s: float, wake_fd: int = -1) -> None:
        """Let frames gather for `duration_s`, so that one wake-up reads them all: each wake-up switches threads, on a core
        that the peer may be using. Returns at once if a whole frame is here, and as soon as `wake_fd` can be read.
        """
        if not self._has_frame():
            _wait(duration_s, wake_fd)

    def close(self) -> None:
        self._socket.close()

    def _has_frame(self) -> bool:
        if len(self._buffer) < _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack_from(self._buffer)
        return len(self._buffer) >= _LENGTH.size + length

    def _encode(self, frame: Sent) -> memoryview:
        body = self._encoder.encode(frame)
        return memoryview(_LENGTH.pack(len(body)) + body)

    def _send(self, data: memoryview, timeout_s: float | None) -> None:
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                if not _wait(timeout_s, writable=self._socket.fileno()):
                    raise WireError("the peer has stopped reading") from None
            except OSError as error:
                raise WireError(f"the channel broke: {error}") from error

    def _next_frame(self) -> Received | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise InvalidFrame(f"a frame of {length} bytes is too large")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise InvalidFrame(f"an invalid frame: {error}") from error

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise WireError(f"the channel broke: {error}") from error
        if not data:
            raise WireError("the peer closed the channel")
        self._buffer += data


def _wait(timeout_s: float | None, *readable: int, writable: int = -1) -> list[int]:
    """The descriptors that are ready, closed and broken ones included; none after `timeout_s`.

    With poll(2), because select(2) has a limit on descriptor numbers.
    """
    poll = select.poll()
    for fd in readable:
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    if writable >= 0:
        poll.register(writable, select.POLLOUT)
    return [fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]


def child_channel(sock: socket.socket) -> Channel[ChildAnswer, Command]:
    """The engine's end."""
    return Channel(sock, Command)


def parent_channel(sock: socket.socket) -> Channel[Command, ChildAnswer]:
    """The UI's end."""
    return Channel(sock, ChildAnswer)
