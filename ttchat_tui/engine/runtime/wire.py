"""What the UI's process and the engine's process say to each other: msgpack structs, each after its length.

Both ends are the same version of the same package, started together; nothing here has to be compatible with anything.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineLoaded, GenerationEvent, LoadProgress, PromptCounted
from ttchat_tui.domain.generation import GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams

MAX_FRAME_BYTES: Final = 1 << 28
"""No honest frame comes near it; a longer one means that the stream is out of step."""
_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 1 << 16


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How the child is to run: its one command line argument, as JSON."""

    socket_fd: int
    factory: str
    """`module:callable`, called with an `EngineKind`."""
    warm: tuple[str, ...] = ()
    """Modules to import before the first command, so that the first load finds them there."""
    sys_path: tuple[str, ...] = ()
    heartbeat_s: float
    deadman_s: float
    """Without the GIL for so long, the child writes its stacks to the log and ends itself."""
    farewell_s: float
    """How long the engine may take to close when the other side is gone."""


class Load(msgspec.Struct, frozen=True, tag=True):
    spec: ModelSpec


class CancelLoad(msgspec.Struct, frozen=True, tag=True):
    pass


class Count(msgspec.Struct, frozen=True, tag=True):
    count_id: int
    messages: tuple[ChatMessage, ...]


class Generate(msgspec.Struct, frozen=True, tag=True):
    request: GenerationRequest


class Cancel(msgspec.Struct, frozen=True, tag=True):
    request_id: int


class SetSampling(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    sampling: SamplingParams


class Unload(msgspec.Struct, frozen=True, tag=True):
    pass


class Close(msgspec.Struct, frozen=True, tag=True):
    pass


Command: TypeAlias = Load | CancelLoad | Count | Generate | Cancel | SetSampling | Unload | Close
"""To the child. Load, Count, Generate, Unload and Close are done in order, each with one last reply; the other
three reach the one that is running."""


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """The child works on a command, and its interpreter runs."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The last reply to a command that raised."""

    error: ErrorInfo


class Done(msgspec.Struct, frozen=True, tag=True):
    """The last reply to Unload and Close."""


Reply: TypeAlias = Heartbeat | LoadProgress | EngineLoaded | PromptCounted | GenerationEvent | Failed | Done
"""From the child. The last reply to Load is EngineLoaded, to Count PromptCounted, to Generate GenerationFinished."""

Sent = TypeVar("Sent", bound=msgspec.Struct)
Received = TypeVar("Received", bound=msgspec.Struct)


class WireError(Exception):
    """The other side closed the channel, takes nothing any more, or sent what is no frame."""


class Channel(Generic[Sent, Received]):
    """Frames over a connected stream socket, which it owns. Any thread may send; one thread at a time receives."""

    def __init__(self, sock: socket.socket, received: object) -> None:
        """`received` is the type (a union of tagged structs) of what comes in."""
        self._socket = sock
        self._socket.setblocking(False)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(decodable(received))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def send(self, frame: Sent, timeout_s: float | None = None) -> None:
        """Send all of `frame`, waiting for room where the other side is behind.

        Raises:
            WireError: the other side is gone, or took nothing for `timeout_s`.
        """
        data = self._framed(frame)
        with self._sending:
            self._send(data, timeout_s)

    def send_if_free(self, frame: Sent) -> None:
        """Send a small frame that may as well be left out, unless the other side is behind: does not wait.

        Raises:
            WireError: the other side is gone.
        """
        if not self._sending.acquire(blocking=False):
            return
        try:
            if _wait(0, writable=self._socket.fileno()):
                self._send(self._framed(frame), None)
        finally:
            self._sending.release()

    def receive(self, timeout_s: float | None = None, wake_fd: int = -1) -> Received | None:
        """The next frame; None after `timeout_s`, or as soon as `wake_fd` can be read.

        Raises:
            WireError: the other side is gone and all it sent is read, or what came is no frame.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            frame = self._take()
            if frame is not None:
                return frame
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = _wait(remaining, self._socket.fileno(), wake_fd)
            if self._socket.fileno() not in ready:
                return None
            self._fill()

    def rest(self, duration_s: float, wake_fd: int = -1) -> None:
        """Leave what comes where it is for so long, and take it with one wake-up then: each costs a switch of threads,
        on a core that the other side may be using. Not while a whole frame is here; `wake_fd` ends it when it can be read.
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

    def _framed(self, frame: Sent) -> memoryview:
        body = self._encoder.encode(frame)
        return memoryview(_LENGTH.pack(len(body)) + body)

    def _send(self, data: memoryview, timeout_s: float | None) -> None:
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                if not _wait(timeout_s, writable=self._socket.fileno()):
                    raise WireError("the other side takes nothing any more") from None
            except OSError as error:
                raise WireError(f"the channel broke: {error}") from error

    def _take(self) -> Received | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise WireError(f"a frame of {length} bytes was announced")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise WireError(f"a frame that means nothing came: {error}") from error

    def _fill(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise WireError(f"the channel broke: {error}") from error
        if not data:
            raise WireError("the other side closed the channel")
        self._buffer += data


def _wait(timeout_s: float | None, *readable: int, writable: int = -1) -> list[int]:
    """The descriptors that are ready (hung up and broken ones are); none after `timeout_s`. poll(2): no limit on
    descriptor numbers, as select(2) has."""
    poll = select.poll()
    for fd in readable:
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    if writable >= 0:
        poll.register(writable, select.POLLOUT)
    return [fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]


def child_channel(sock: socket.socket) -> Channel[Reply, Command]:
    """The engine's end."""
    return Channel(sock, Command)


def parent_channel(sock: socket.socket) -> Channel[Command, Reply]:
    """The UI's end."""
    return Channel(sock, Reply)
