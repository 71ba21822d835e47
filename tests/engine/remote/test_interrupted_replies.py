"""What a session keeps of a served reply that broke off, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.remote.raw_server import RawServer, answer, end, in_turn, said, stream
from tests.fakes import Recorder
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.engine.host import EngineHost
from ttchat_tui.engine.remote.remote_engine import RemoteEngine
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.opening import open_store

Start = Callable[[RawServer], tuple[ChatSession, Callable[[], list[Update]]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    closing: list[Callable[[], object]] = []

    def begin(server: RawServer) -> tuple[ChatSession, Callable[[], list[Update]]]:
        options = RemoteOptions(base_url=server.url)
        host = EngineHost(
            RemoteEngine({}), lambda name, _: ModelSpec(engine="remote", name=name, remote=options)
        )
        store = open_store(tmp_path / "db")
        session = ChatSession(store, host, model="remote:")
        recorder = Recorder(host)
        closing.extend([server.close, store.close, host.shutdown, session.close])
        host.start()
        host.load("remote:")
        seen = 0

        def until_finished() -> list[Update]:
            nonlocal seen
            last = recorder.until(GenerationFinished)
            fresh = recorder.events[seen : recorder.events.index(last) + 1]
            seen += len(fresh)
            return [update for event in fresh for update in session.apply(event)]

        recorder.until(EngineLoaded)
        return session, until_finished

    yield begin
    for close in reversed(closing):
        close()


def test_a_reply_whose_server_went_away_is_kept_as_interrupted_and_can_be_continued(start: Start) -> None:
    broken = stream(said("one "))
    session, until_finished = start(RawServer(in_turn(broken, stream(said("two"), end("stop")))))
    session.submit("count")
    until_finished()
    reply = session.last_reply
    assert reply is not None
    assert (reply.content, reply.status) == ("one ", "interrupted")
    assert reply.reply is not None
    assert reply.reply.engine.startswith("remote vLLM @ 127.0.0.1:")
    assert reply.reply.model == "m"
    session.continue_reply()
    until_finished()
    assert session.last_reply is not None
    assert (session.last_reply.content, session.last_reply.status) == ("one two", "complete")


def test_a_server_that_cannot_continue_leaves_the_reply_as_it_was(start: Start) -> None:
    def other(client: object, _heard: object) -> None:
        client.sendall(answer(200, {"data": [{"id": "m"}]}))  # type: ignore[attr-defined]

    session, until_finished = start(RawServer(stream(said("one ")), other))
    session.submit("count")
    until_finished()
    before = session.last_reply
    updates = [*session.continue_reply(), *until_finished()]
    assert any(isinstance(update, Notice) for update in updates)
    assert session.last_reply == before
