"""Interrupted served replies: what the session keeps, and how they continue."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.served.raw_server import (
    Handler,
    Heard,
    RawServer,
    answer,
    data,
    end,
    in_turn,
    said,
    sends,
    stream,
    thought,
)
from tests.fakes import EventRecorder
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.updates import NOTE, Notice, ReplyPrefilling, ReplyRewritten, ReplyStreamed, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.opening import open_store

Start = Callable[[RawServer], tuple[ChatSession, Callable[[], list[Update]]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    closing: list[Callable[[], object]] = []

    def begin(server: RawServer) -> tuple[ChatSession, Callable[[], list[Update]]]:
        options = RemoteOptions(base_url=server.url)
        host = EngineHost(
            ServedEngine({}), lambda name, _: ModelSpec(engine="remote", name=name, options=options)
        )
        store = open_store(tmp_path / "db")
        session = ChatSession(store, host, model="remote:")
        recorder = EventRecorder(host)
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
    session.branching.continue_reply()
    until_finished()
    assert session.last_reply is not None
    assert (session.last_reply.content, session.last_reply.status) == ("one two", "complete")


def test_a_reply_that_cannot_be_continued_stays_unchanged_and_the_reason_is_reported(start: Start) -> None:
    broken = stream(said("one "))
    session, until_finished = start(RawServer(in_turn(broken, sends(answer(500, {"error": "starting"})))))
    session.submit("count")
    until_finished()
    before = session.last_reply
    session.branching.continue_reply()
    notices = [update for update in until_finished() if isinstance(update, Notice)]
    assert ["starting" in notice.error.message for notice in notices] == [True]
    assert session.last_reply == before


def plain(client: socket.socket, _heard: Heard) -> None:
    """A server of no known kind."""
    client.sendall(answer(200, {"data": [{"id": "m"}]}))


def test_a_server_that_cannot_continue_is_asked_in_words_and_that_is_reported(start: Start) -> None:
    rest = stream(said("and"), said(" three"), end("stop"))
    server = RawServer(in_turn(stream(said("one, two")), rest), plain)
    session, until_finished = start(server)
    session.submit("count")
    until_finished()
    reported = [
        update.error.kind for update in session.branching.continue_reply() if isinstance(update, Notice)
    ]
    until_finished()
    assert reported == [NOTE]
    sent = server.chats[-1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert "one, two" in sent[-1]["content"]
    assert "continue_final_message" not in server.chats[-1].json
    assert session.last_reply is not None
    assert (session.last_reply.content, session.last_reply.status) == ("one, two and three", "complete")


HM = "They want the rest."
BEGUN = "<think>\nCode.\n</think>\n\n```\none"


@pytest.mark.parametrize("models", [None, plain], ids=["exact", "in words"])
@pytest.mark.parametrize(
    "again",
    [
        [thought(HM)],
        [said("<th"), said(f"ink>\n{HM}\n</think>\n\n")],
        [said(f"[THINK]{HM}[/THINK]")],
        [said(f"{HM}\n"), said("</think>\n\n")],
    ],
    ids=["apart", "in tags", "in other tags", "opened by the template"],
)
def test_what_a_model_thinks_before_it_continues_does_not_enter_the_answer(
    start: Start, again: list[bytes], models: Handler | None
) -> None:
    rest = stream(*again, said("two"), said(" <b"), end("stop"))
    served = in_turn(stream(said(BEGUN)), rest)
    session, until_finished = start(RawServer(served, models) if models else RawServer(served))
    session.submit("count")
    until_finished()
    session.branching.continue_reply()
    until_finished()
    reply = session.last_reply
    assert reply is not None
    assert reply.reply is not None
    assert reply.reply.stats is not None
    assert reply.content == f"{BEGUN}{' ' if models else ''}two <b"
    assert any("thought before it continued" in note for note in reply.reply.stats.notes)
    assert len(reply.reply.stats.thoughts) == 1


def test_an_answer_that_a_servers_parser_takes_for_a_thought_is_continued(start: Start) -> None:
    rest = stream(thought(" two"), thought(" three"), end("stop"))
    session, until_finished = start(RawServer(in_turn(stream(said(BEGUN)), rest)))
    session.submit("count")
    until_finished()
    session.branching.continue_reply()
    until_finished()
    assert session.last_reply is not None
    assert session.last_reply.content == f"{BEGUN} two three"


def test_a_continued_answer_may_speak_of_tags(start: Start) -> None:
    words = ["<b> is a tag", "; so is\n\n```\n</think>\n```\n", "A `<think>` too."]
    session, until_finished = start(
        RawServer(in_turn(stream(said(BEGUN)), stream(*map(said, words), end("stop"))))
    )
    session.submit("count")
    until_finished()
    session.branching.continue_reply()
    until_finished()
    assert session.last_reply is not None
    assert session.last_reply.content == BEGUN + "".join(words)


def test_a_tool_call_is_kept_with_the_reply_and_not_sent_back(start: Start) -> None:
    call = data({"choices": [{"delta": {"tool_calls": [{"function": {"name": "now", "arguments": "{}"}}]}}]})
    server = RawServer(
        in_turn(stream(said("Well."), call, end("tool_calls")), stream(said("Hi"), end("stop")))
    )
    session, until_finished = start(server)
    session.submit("What time is it?")
    until_finished()
    kept = session.last_reply
    assert kept is not None
    assert kept.reply is not None
    assert kept.reply.stats is not None
    assert kept.reply.stats.notes == ("The model wanted to call now; this app runs no tools.",)
    session.submit("And now?")
    until_finished()
    sent = server.chats[-1].json["messages"]
    assert [message["content"] for message in sent] == ["What time is it?", "Well.", "And now?"]


def test_prefill_progress_is_reported_during_prefill(start: Start) -> None:
    progress = [
        data({"choices": [], "prompt_progress": {"total": 100, "processed": done}}) for done in (25, 50)
    ]
    session, until_finished = start(RawServer(stream(*progress, said("Hi"), end("stop"))))
    session.submit("long")
    reported = [(each.done, each.total) for each in until_finished() if isinstance(each, ReplyPrefilling)]
    assert reported[:2] == [(25, 100), (50, 100)]
    assert reported[2][0] == reported[2][1], "the reply begins"


def test_an_unopened_thought_is_recognised_while_the_answer_streams(start: Start) -> None:
    pieces = map(said, ["Hm", ", so.", "\n</", "think", ">", "\n\n", "Yes", "."])
    session, until_finished = start(RawServer(stream(*pieces, end("stop")), plain))
    session.submit("Is it?")
    updates = until_finished()
    whole = [update.text for update in updates if isinstance(update, ReplyRewritten)]
    assert len(whole) == 1
    assert whole[0].startswith("<think>\nHm, so.\n</think>\n\nYes")
    assert "</think>" not in "".join(update.text for update in updates if isinstance(update, ReplyStreamed))
    assert session.last_reply is not None
    assert session.last_reply.content == "<think>\nHm, so.\n</think>\n\nYes."
