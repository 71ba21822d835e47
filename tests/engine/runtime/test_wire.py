"""The framing between the two processes: whatever goes in comes out, however the stream is cut."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineLoaded,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    PrefillProgress,
    PromptCounted,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
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
    Load,
    Reply,
    SetSampling,
    Unload,
    WireError,
    child_channel,
    parent_channel,
)

SAMPLING = SamplingParams(temperature=0.3, seed=2**63 - 1, stop=("\n\n", "</s>"))
REQUEST = GenerationRequest(id=7, messages=(ChatMessage("user", "há 🙂"),), sampling=SAMPLING, seed=1)
INFO = EngineInfo(
    model="m",
    engine="cpu",
    label="cpu f16",
    context_length=2048,
    vocab_size=49_152,
    load_s=1.5,
    capabilities=Capabilities(sampling=frozenset({"top_k", "seed"}), batch_sizes=(1, 8)),
    recommended=SAMPLING,
)
ERROR = ErrorInfo(kind="internal", message="m", cure="c")
COMMANDS: list[Command] = [
    Load(ModelSpec(name="m", path="/tmp/x.gguf")),
    CancelLoad(),
    Count(3, (ChatMessage("system", "s"),)),
    Generate(REQUEST),
    Cancel(7),
    SetSampling(7, SAMPLING),
    Unload(),
    Close(),
]
REPLIES: list[Reply] = [
    Heartbeat(),
    LoadProgress(phase="read", done=1, total=2, unit="tensors"),
    EngineLoaded(INFO),
    PromptCounted(3, 10, 20, 1),
    GenerationStarted(7, 10, 4, 2048, 1),
    PrefillProgress(7, 5, 10),
    TokenEvent(7, (1, 2), "x\x00\x1b", (0.1, 0.2), (-0.5, -1.25)),
    GenerationFinished(7, "error", GenerationStats(prompt_tokens=3, ttft_s=0.25), "rest", ERROR),
    Failed(ERROR),
    Done(),
]

Ends = tuple[Channel[Command, Reply], Channel[Reply, Command]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    left, right = socket.socketpair()
    parent, child = parent_channel(left), child_channel(right)
    yield parent, child
    parent.close()
    child.close()


@pytest.fixture
def raw() -> Iterator[tuple[Channel[Command, Reply], socket.socket]]:
    """A parent's channel, and the bare socket at its other end."""
    left, right = socket.socketpair()
    channel = parent_channel(left)
    yield channel, right
    channel.close()
    right.close()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_arrives_as_it_was_sent(ends: Ends, command: Command) -> None:
    parent, child = ends
    parent.send(command)
    assert child.receive(1) == command


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_arrives_as_it_was_sent(ends: Ends, reply: Reply) -> None:
    parent, child = ends
    child.send(reply)
    assert parent.receive(1) == reply


@given(st.lists(st.sampled_from(REPLIES), max_size=6), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_frames_survive_any_cut_of_the_stream(replies: list[Reply], cuts: list[int]) -> None:
    left, right = socket.socketpair()
    sender, tap = socket.socketpair()
    channel, source = parent_channel(left), child_channel(sender)
    for reply in replies:
        source.send(reply)
    source.close()
    stream = tap.makefile("rb").read()
    received: list[Reply] = []
    position, turn = 0, 0
    while position < len(stream):
        cut = cuts[turn % len(cuts)]
        right.sendall(stream[position : position + cut])
        position, turn = position + cut, turn + 1
        while (reply := channel.receive(0)) is not None:
            received.append(reply)
    for end in (channel, right, tap):
        end.close()
    assert received == replies


def test_what_was_sent_before_the_end_is_still_received(ends: Ends) -> None:
    parent, child = ends
    child.send(Done())
    child.close()
    assert parent.receive(1) == Done()
    with pytest.raises(WireError, match="closed"):
        parent.receive(1)


def test_sending_to_nobody_is_an_error(ends: Ends) -> None:
    parent, child = ends
    child.close()
    with pytest.raises(WireError, match="broke"):
        parent.send(Close())


def test_a_reader_that_never_reads_is_given_up(ends: Ends) -> None:
    parent, _ = ends
    huge = Count(1, (ChatMessage("user", "x" * 10_000_000),))
    with pytest.raises(WireError, match="takes nothing"):
        parent.send(huge, timeout_s=0.05)


def test_a_frame_far_larger_than_the_socket_buffer_arrives_whole(ends: Ends) -> None:
    parent, child = ends
    huge = Count(1, (ChatMessage("user", "é" * 5_000_000),))
    sender = threading.Thread(target=parent.send, args=(huge,))
    sender.start()
    assert child.receive(10) == huge
    sender.join()


def test_frames_of_two_threads_do_not_mix(ends: Ends) -> None:
    parent, child = ends
    frames = [Count(n, (ChatMessage("user", str(n) * 100_000),)) for n in range(2)]
    senders = [threading.Thread(target=lambda f=f: [parent.send(f) for _ in range(20)]) for f in frames]
    for sender in senders:
        sender.start()
    received = [child.receive(10) for _ in range(40)]
    for sender in senders:
        sender.join()
    assert all(received.count(frame) == 20 for frame in frames)


def test_a_heartbeat_is_left_out_when_the_other_side_is_behind(ends: Ends) -> None:
    parent, child = ends
    with pytest.raises(WireError):
        child.send(LoadProgress(phase="read", detail="x" * 10_000_000), timeout_s=0)
    child.send_if_free(Heartbeat())  # returns, though nobody reads
    assert parent.receive(0) is None


def test_waiting_ends_with_the_timeout(ends: Ends) -> None:
    assert ends[0].receive(0.01) is None


def test_waiting_ends_when_woken(ends: Ends) -> None:
    reader, writer = os.pipe()
    os.write(writer, b".")
    assert ends[0].receive(30, wake_fd=reader) is None
    os.close(reader)
    os.close(writer)


def test_resting_leaves_what_comes_until_the_time_is_over(ends: Ends) -> None:
    parent, child = ends
    child.send(Heartbeat())
    began = time.monotonic()
    parent.rest(0.03)
    assert time.monotonic() - began >= 0.03
    assert parent.receive(0) == Heartbeat()


def test_there_is_no_rest_while_a_whole_frame_waits_or_after_a_wake(ends: Ends) -> None:
    parent, child = ends
    for _ in range(2):
        child.send(Heartbeat())
    assert parent.receive(5) == Heartbeat()
    parent.rest(60)
    assert parent.receive(0) == Heartbeat()
    reader, writer = os.pipe()
    os.write(writer, b".")
    parent.rest(60, reader)
    os.close(reader)
    os.close(writer)


def test_an_absurd_length_is_refused_before_memory_is_taken(
    raw: tuple[Channel[Command, Reply], socket.socket],
) -> None:
    channel, other = raw
    other.sendall(struct.pack("!I", 2**31))
    with pytest.raises(WireError, match="2147483648 bytes"):
        channel.receive(1)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa4type\xa3Foo", b"\x01"])
def test_a_frame_that_means_nothing_is_an_error(
    raw: tuple[Channel[Command, Reply], socket.socket], body: bytes
) -> None:
    channel, other = raw
    other.sendall(struct.pack("!I", len(body)) + body)
    with pytest.raises(WireError, match="means nothing"):
        channel.receive(1)
