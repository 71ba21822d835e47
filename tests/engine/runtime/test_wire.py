"""The framing between the two processes: frames arrive unchanged, wherever the stream is cut."""

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
from ttchat_tui.engine.runtime.commands import (
    Cancel,
    CancelLoad,
    Close,
    Command,
    CountTokens,
    Generate,
    Load,
    SetSampling,
    Unload,
)
from ttchat_tui.engine.runtime.wire import (
    Channel,
    ChildAnswer,
    Done,
    Failed,
    Heartbeat,
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
    CountTokens(3, (ChatMessage("system", "s"),), SAMPLING, (0, 2)),
    Generate(REQUEST),
    Cancel(7),
    SetSampling(7, SAMPLING),
    Unload(),
    Close(),
]
ANSWERS: list[ChildAnswer] = [
    Heartbeat(),
    LoadProgress(phase="read", done=1, total=2, unit="tensors"),
    EngineLoaded(INFO),
    PromptCounted(3, 10, 20, 1, message_tokens=(4, 5), fallen=(1,), is_split_estimated=True),
    GenerationStarted(7, 10, 4, 2048, 1),
    PrefillProgress(7, 5, 10),
    TokenEvent(7, (1, 2), "x\x00\x1b", (0.1, 0.2), (-0.5, -1.25)),
    GenerationFinished(7, "error", GenerationStats(prompt_tokens=3, ttft_s=0.25), "rest", ERROR),
    Failed(ERROR),
    Done(),
]

Ends = tuple[Channel[Command, ChildAnswer], Channel[ChildAnswer, Command]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    left, right = socket.socketpair()
    parent, child = parent_channel(left), child_channel(right)
    yield parent, child
    parent.close()
    child.close()


@pytest.fixture
def raw() -> Iterator[tuple[Channel[Command, ChildAnswer], socket.socket]]:
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


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_arrives_as_it_was_sent(ends: Ends, answer: ChildAnswer) -> None:
    parent, child = ends
    child.send(answer)
    assert parent.receive(1) == answer


@given(st.lists(st.sampled_from(ANSWERS), max_size=6), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_frames_survive_any_cut_of_the_stream(answers: list[ChildAnswer], cuts: list[int]) -> None:
    left, right = socket.socketpair()
    sender, tap = socket.socketpair()
    channel, source = parent_channel(left), child_channel(sender)
    for answer in answers:
        source.send(answer)
    source.close()
    stream = tap.makefile("rb").read()
    received: list[ChildAnswer] = []
    position, turn = 0, 0
    while position < len(stream):
        cut = cuts[turn % len(cuts)]
        right.sendall(stream[position : position + cut])
        position, turn = position + cut, turn + 1
        while (answer := channel.receive(0)) is not None:
            received.append(answer)
    for end in (channel, right, tap):
        end.close()
    assert received == answers


def test_what_was_sent_before_the_end_is_still_received(ends: Ends) -> None:
    parent, child = ends
    child.send(Done())
    child.close()
    assert parent.receive(1) == Done()
    with pytest.raises(WireError, match="closed"):
        parent.receive(1)


def test_sending_to_a_closed_peer_is_an_error(ends: Ends) -> None:
    parent, child = ends
    child.close()
    with pytest.raises(WireError, match="broke"):
        parent.send(Close())


def test_sending_to_a_peer_that_never_reads_times_out(ends: Ends) -> None:
    parent, _ = ends
    huge = CountTokens(1, (ChatMessage("user", "x" * 10_000_000),))
    with pytest.raises(WireError, match="stopped reading"):
        parent.send(huge, timeout_s=0.05)


def test_a_frame_far_larger_than_the_socket_buffer_arrives_whole(ends: Ends) -> None:
    parent, child = ends
    huge = CountTokens(1, (ChatMessage("user", "é" * 5_000_000),))
    sender = threading.Thread(target=parent.send, args=(huge,))
    sender.start()
    assert child.receive(10) == huge
    sender.join()


def test_frames_of_two_threads_do_not_mix(ends: Ends) -> None:
    parent, child = ends
    frames = [CountTokens(n, (ChatMessage("user", str(n) * 100_000),)) for n in range(2)]
    senders = [threading.Thread(target=lambda f=f: [parent.send(f) for _ in range(20)]) for f in frames]
    for sender in senders:
        sender.start()
    received = [child.receive(10) for _ in range(40)]
    for sender in senders:
        sender.join()
    assert all(received.count(frame) == 20 for frame in frames)


def test_a_heartbeat_is_dropped_while_the_socket_is_full(ends: Ends) -> None:
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


def test_a_pause_lasts_although_a_frame_arrives(ends: Ends) -> None:
    parent, child = ends
    child.send(Heartbeat())
    began = time.monotonic()
    parent.pause(0.03)
    assert time.monotonic() - began >= 0.03
    assert parent.receive(0) == Heartbeat()


def test_there_is_no_pause_while_a_whole_frame_waits_or_after_a_wake(ends: Ends) -> None:
    parent, child = ends
    for _ in range(2):
        child.send(Heartbeat())
    assert parent.receive(5) == Heartbeat()
    parent.pause(60)
    assert parent.receive(0) == Heartbeat()
    reader, writer = os.pipe()
    os.write(writer, b".")
    parent.pause(60, reader)
    os.close(reader)
    os.close(writer)


def test_an_absurd_length_is_refused_before_memory_is_allocated(
    raw: tuple[Channel[Command, ChildAnswer], socket.socket],
) -> None:
    channel, other = raw
    other.sendall(struct.pack("!I", 2**31))
    with pytest.raises(WireError, match="2147483648 bytes"):
        channel.receive(1)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa4type\xa3Foo", b"\x01"])
def test_an_invalid_frame_is_an_error(
    raw: tuple[Channel[Command, ChildAnswer], socket.socket], body: bytes
) -> None:
    channel, other = raw
    other.sendall(struct.pack("!I", len(body)) + body)
    with pytest.raises(WireError, match="invalid frame"):
        channel.receive(1)
