"""Side requests: what they answer, when they run, and that no conversation notices them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import MODEL_MISSING, Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineFailed, EngineLoaded, GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import NOTE, EngineChanged, Notice, ReplyEnded, Update
from ttchat_tui.session.notices import NO_MODEL
from ttchat_tui.session.side_request import SideAnswer, SideRequest

ASKED = (ChatMessage("user", "Name it."),)


class Aside(Chat):
    """A chat that keeps the answers of its side requests."""

    answers: list[SideAnswer]

    def finish(self) -> list[Update]:
        """What the screen gets until the next end, without the engine's states."""
        return [each for each in self.until(GenerationFinished) if not isinstance(each, EngineChanged)]

    def request(self, max_tokens: int = 64) -> SideRequest:
        def keep(answer: SideAnswer) -> list[Notice]:
            self.answers.append(answer)
            return []

        return SideRequest("title", ASKED, SamplingParams(max_tokens=max_tokens), keep)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Aside]]:
    chats: list[Aside] = []

    def make(script: Script | None = None, gate: Gate | None = None, *, is_loaded: bool = True) -> Aside:
        chats.append(Aside(tmp_path / "conversations.db", script, gate, is_loaded=is_loaded))
        chats[-1].answers = []
        return chats[-1]

    yield make
    for chat in chats:
        chat.close()


def test_a_side_request_answers_without_its_thoughts_and_leaves_no_trace(start: Callable[..., Aside]) -> None:
    chat = start(Script(replies=("<think>\nHm.\n</think>\n\nClock repair",)))
    chat.ask("How do clocks tick?")
    path, meter, tree = chat.session.path, chat.session.meter, chat.session.tree()
    assert chat.session.side_requests.ask(chat.request()) == []
    assert chat.finish() == []
    assert chat.answers == [SideAnswer("Clock repair")]
    assert chat.engine.requests[-1].messages == ASKED
    assert (chat.session.path, chat.session.meter, chat.session.tree()) == (path, meter, tree)


def test_a_reply_makes_a_side_request_give_way_and_wait_for_its_end(start: Callable[..., Aside]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    first, second = chat.request(), chat.request()
    chat.session.side_requests.ask(first)
    chat.session.side_requests.ask(second)
    gate.release()
    chat.until(TokenEvent)
    assert chat.session.side_requests.running is first
    chat.session.submit("Hello")
    assert chat.session.side_requests.running is None
    gate.open()
    ended = [
        update for update in chat.until(GenerationFinished, reason="stop") if isinstance(update, ReplyEnded)
    ]
    assert [update.message.content for update in ended] == ["one two three"]
    chat.until(GenerationFinished)
    chat.until(GenerationFinished)
    assert chat.answers == [SideAnswer("one two three")] * 2
    asked = [request.messages[-1].content for request in chat.engine.requests]
    assert asked == ["Name it.", "Hello", "Name it.", "Name it."]


def test_a_side_request_that_fails_does_not_hold_the_queue(start: Callable[..., Aside]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.side_requests.ask(chat.request())
    gate.release()
    chat.until(TokenEvent)
    chat.session.submit("Hello")
    chat.session.submit("Next")
    aside, error = chat.engine.requests[0].id, ErrorInfo(kind="engine_error", message="Boom.")
    chat.session.apply(GenerationFinished(aside, "error", GenerationStats(), error=error))
    assert not chat.session.queue.held
    gate.open()


@pytest.mark.parametrize("is_running", [True, False])
def test_a_cancelled_side_request_ends_with_a_note_and_the_next_one_runs(
    start: Callable[..., Aside], is_running: bool
) -> None:
    gate = Gate()
    chat = start(Script(replies=("Title",), stepped=True), gate)
    requests = [chat.request(), chat.request()]
    for request in requests:
        chat.session.side_requests.ask(request)
    notice = Notice(ErrorInfo(kind=NOTE, message="The title was not written. It was cancelled."))
    if is_running:
        assert chat.session.interrupt() == [notice]
    else:
        assert chat.session.side_requests.cancel(requests[1]) == [notice]
    gate.open()
    chat.until(GenerationFinished, reason="stop")
    assert [answer.text for answer in chat.answers] == ["", "Title"]
    assert [chat.session.side_requests.cancel(request) for request in requests] == [[], []]


@pytest.mark.parametrize(
    ("script", "max_tokens", "message"),
    [
        (Script(fault="raise"), 9, "The script says so."),
        (
            Script(replies=("<think>\nno end",)),
            2,
            "The model reached the limit of tokens before it gave an answer.",
        ),
        (Script(replies=(" ",)), 9, "The model gave an empty answer."),
    ],
)
def test_a_side_request_without_an_answer_is_reported(
    start: Callable[..., Aside], script: Script, max_tokens: int, message: str
) -> None:
    chat = start(script)
    chat.session.side_requests.ask(chat.request(max_tokens=max_tokens))
    (notice,) = chat.finish()
    assert isinstance(notice, Notice)
    assert notice.error.message == f"The title was not written. {message}"
    (answer,) = chat.answers
    assert answer.error is not None
    assert answer.error.message == message


def test_a_side_request_waits_for_a_load_and_fails_without_a_model(start: Callable[..., Aside]) -> None:
    chat = start(Script(replies=("one two three",)), is_loaded=False)
    chat.session.side_requests.ask(chat.request(max_tokens=2))
    assert chat.engine.requests == []
    chat.until(EngineLoaded)
    chat.until(GenerationFinished)
    assert chat.answers == [SideAnswer("one two", is_cut=True)]
    chat.session.unload()
    chat.session.load(MODEL_MISSING)
    chat.session.side_requests.ask(chat.request())
    notices = [update for update in chat.until(EngineFailed) if isinstance(update, Notice)]
    assert [notice.error.message for notice in notices] == [f"The title was not written. {NO_MODEL.message}"]
    assert chat.answers[-1].error == NO_MODEL


def test_a_side_request_is_repeated_after_the_model_has_changed(start: Callable[..., Aside]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two",), stepped=True), gate)
    chat.session.side_requests.ask(chat.request())
    gate.release()
    chat.until(TokenEvent)
    chat.session.load("another")
    chat.until(EngineLoaded)
    gate.open()
    chat.until(GenerationFinished)
    assert chat.answers == [SideAnswer("one two")]
