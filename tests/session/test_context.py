"""What the next prompt holds: kept messages, messages left out, summaries, and the ledger that says so before sending."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import Script
from tests.session.test_chat import Chat
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import ContextMark, Message
from ttchat_tui.domain.events import EngineStateChanged, GenerationFinished, PromptCounted
from ttchat_tui.domain.ledger import Fate, Ledger, LedgerRow
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    BiasRefused,
    ContextChanged,
    Notice,
    PromptCost,
    ReplyEnded,
    ReplyStarted,
    SummaryWritten,
    Update,
)
from ttchat_tui.session import context as context_module
from ttchat_tui.session.outgoing import SUMMARY_HEADING, Outgoing, as_said, outgoing
from ttchat_tui.session.side_request import SideAnswer, SideRequest
from ttchat_tui.session.summary import asked_of, parts_of
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import PAGE


def path_of(*marks: ContextMark, summaries: dict[int, str] | None = None) -> list[Message]:
    """u1 a2 u3 a4 …, with these marks."""
    return [
        Message(
            id=at,
            conversation_id=1,
            parent_id=at - 1 or None,
            role=("assistant", "user")[at % 2],
            content=f"{'au'[at % 2]}{at}",
            created_at=0.0,
            context=mark,
            summary=(summaries or {}).get(at, ""),
        )
        for at, mark in enumerate(marks, start=1)
    ]


def sent(path: list[Message], *, draft: str = "", is_continuing: bool = False) -> list[str]:
    made = made_of(path, draft=draft, is_continuing=is_continuing)
    return [message.content for message in made.messages]


def made_of(path: list[Message], *, draft: str = "", is_continuing: bool = False) -> Outgoing:
    made = outgoing(
        "",
        path,
        has_draft=bool(draft),
        is_continuing=is_continuing,
    )
    return made.with_draft(draft) if draft else made


LEFT: ContextMark = "left out"
KEEP: ContextMark = "kept"


@pytest.mark.parametrize(
    ("marks", "draft", "is_continuing", "expected"),
    [
        (("", "", "", ""), "x", False, ["u1", "a2", "u3", "a4", "x"]),
        ((LEFT, "", "", ""), "x", False, ["u3", "a4", "x"]),
        (("", LEFT, "", ""), "x", False, ["u1\n\nu3", "a4", "x"]),
        (("", "", "", LEFT), "x", False, ["u1", "a2", "u3\n\nx"]),
        (("", "", LEFT), "", False, ["u1", "a2", "u3"]),
        (("", "", LEFT, LEFT), "", True, ["u1", "a2", "u3", "a4"]),
        (("", "", LEFT, LEFT), "", False, ["u1", "a2"]),
    ],
)
def test_what_is_left_out_is_not_sent_unless_it_has_to_be_answered(
    marks: tuple[ContextMark, ...], draft: str, is_continuing: bool, expected: list[str]
) -> None:
    assert sent(path_of(*marks), draft=draft, is_continuing=is_continuing) == expected


def test_a_summary_takes_the_place_of_what_is_before_it_but_for_kept_turns() -> None:
    path = path_of("", "", "", KEEP, "", "", "", "", summaries={2: "first", 6: "both"})
    made = made_of(path, draft="x")
    assert [each.content for each in made.messages] == [
        f"{SUMMARY_HEADING}\nboth", "u3", "a4", "u7", "a8", "x",
    ]  # fmt: skip
    assert made.unsent == {1: "summarised", 2: "summarised", 5: "summarised", 6: "summarised"}
    assert made.messages[0].role == "system"
    assert made.keep == (2,)


@pytest.mark.parametrize("unsent", [{"content": ""}, {"content": "<think>\nhm"}, {"context": LEFT}])
def test_a_summary_up_to_a_reply_that_is_not_sent_ends_there(unsent: dict[str, str]) -> None:
    marks: list[ContextMark] = [""] * 8
    path = path_of(*marks)
    path[3] = msgspec.structs.replace(path[3], **unsent)
    assert parts_of(made_of(path, draft="x"), 4, 4096, {}) == ["User: u1\n\nAssistant: a2\n\nUser: u3"]
    path[3] = msgspec.structs.replace(path[3], summary="They counted.")
    assert sent(path, draft="x") == [f"{SUMMARY_HEADING}\nThey counted.", "u5", "a6", "u7", "a8", "x"]


def test_thoughts_are_apart_from_answers_but_in_the_text_of_a_reply_to_continue() -> None:
    path = path_of("", "", "", "")
    path[1] = msgspec.structs.replace(path[1], content="<think>\nhm\n</think>\n\na2")
    path[3] = msgspec.structs.replace(path[3], content="<think>\nunfinished")
    assert made_of(path, draft="x").messages == (
        ChatMessage("user", "u1"), ChatMessage("assistant", "a2", "hm"), ChatMessage("user", "u3\n\nx"),
    )  # fmt: skip
    assert made_of(path, is_continuing=True).messages[2:] == (
        ChatMessage("user", "u3"), ChatMessage("assistant", "<think>\nunfinished"),
    )  # fmt: skip
    path[2] = msgspec.structs.replace(path[2], role="assistant", content="<think>\nso\n</think>\n\na3")
    assert made_of(path, draft="x").messages[1] == ChatMessage("assistant", "a2\n\na3", "hm\n\nso")


@pytest.mark.parametrize("content", ["", "\n\n", " "])
def test_a_reply_to_continue_is_sent_also_if_it_is_no_text_yet(content: str) -> None:
    path = path_of("", "", "", "")
    path[3] = msgspec.structs.replace(path[3], content=content)
    assert sent(path, is_continuing=True) == ["u1", "a2", "u3", content]
    assert sent(path, draft="x") == ["u1", "a2", "u3\n\nx"]


def test_replies_are_split_once_and_messages_of_the_user_are_not_kept() -> None:
    assert as_said("assistant", "x" * 9) is as_said("assistant", "x" * 9)
    assert as_said("user", "x" * 9) is not as_said("user", "x" * 9)


paths = st.lists(st.sampled_from(["", "", "kept", "left out"]), max_size=9)


@settings(deadline=None, max_examples=sized(40, 3000))
@given(paths, st.dictionaries(st.sampled_from([2, 4, 6]), st.just("so far")), st.booleans())
def test_roles_take_turns_whatever_is_marked(
    marks: list[ContextMark], summaries: dict[int, str], has_draft: bool
) -> None:
    path = path_of(*marks, summaries=summaries)
    made = made_of(path, draft="x" if has_draft else "")
    roles = [message.role for message in made.messages if message.role != "system"]
    assert roles == [("user", "assistant")[at % 2] for at in range(len(roles))]
    found = [part.message_id for parts in made.parts for part in parts if part.kind == "message"]
    assert sorted([*found, *made.unsent]) == [message.id for message in path]
    if has_draft or len(path) % 2:
        assert roles[-1] == "user"


# --- the session


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Script], Chat]]:
    opened: list[Chat] = []

    def begin(script: Script) -> Chat:
        opened.append(Chat(tmp_path / "chat.db", script))
        return opened[-1]

    yield begin
    for chat in opened:
        chat.session.close()
        chat.host.shutdown()
        chat.store.close()


def say(chat: Chat, text: str) -> None:
    chat.session.submit(text)
    chat.until(GenerationFinished)


def counted(chat: Chat, draft: str = "") -> PromptCost:
    chat.session.context.count(draft)
    (cost,) = (each for each in chat.until(PromptCounted) if isinstance(each, PromptCost))
    return cost


def fates(ledger: Ledger) -> list[tuple[str, Fate]]:
    return [(row.text, row.fate) for row in ledger.rows]


def row_of(chat: Chat, text: str) -> LedgerRow:
    (row,) = (row for row in chat.session.context.ledger().rows if row.text == text)
    return row


def test_an_edit_is_counted_in_the_place_of_its_message(start: Callable[[Script], Chat]) -> None:
    chat = start(Script(replies=("one two three",)))
    expected = counted(chat, "a b c").prompt_tokens
    for text in ("a b", "c d", "e f"):
        say(chat, text)
    context, path = chat.session.context, chat.session.path
    context.edited_id = path[0].id
    assert counted(chat, "a b c").prompt_tokens == expected
    context.edited_id = path[2].id
    edited = counted(chat, "x y z").prompt_tokens
    context.edited_id = None
    assert expected < edited < counted(chat, "x y z").prompt_tokens
    chat.session.branching.edit(path[2].id, "x y z")
    end = next(event for event in chat.until(GenerationFinished)[::-1] if isinstance(event, ReplyEnded))
    assert end.message.reply is not None
    assert end.message.reply.stats is not None
    assert end.message.reply.stats.prompt_tokens == edited


def test_the_ledger_says_before_sending_what_a_reply_then_has(start: Callable[[Script], Chat]) -> None:
    chat = start(Script(replies=("one two three",), context_length=30))
    for text in ("a b", "c d", "e f"):
        say(chat, text)
    cost = counted(chat, "g h")
    ledger = chat.session.context.ledger()
    assert cost.dropped_messages == 2
    assert fates(ledger) == [
        ("a b", "falls out"), ("one two three", "falls out"),
        ("c d", "sent"), ("one two three", "sent"), ("e f", "sent"), ("one two three", "sent"), ("g h", "sent"),
    ]  # fmt: skip
    tokens = [row.tokens or 0 for row in ledger.rows if row.fate == "sent"]
    assert ledger.template_tokens == cost.prompt_tokens - sum(tokens) == 1 + 2 * len(tokens)
    assert ledger.left_for_reply == 30 - cost.prompt_tokens
    chat.session.context.mark([chat.session.path[2].id], "left out")
    assert chat.session.context.ledger().template_tokens == ledger.template_tokens, (
        "until it is counted again"
    )
    chat.session.context.mark([chat.session.path[2].id], "left out")
    chat.session.submit("g h")
    (end,) = (each.message for each in chat.until(GenerationFinished) if isinstance(each, ReplyEnded))
    assert end.reply is not None
    assert end.reply.stats is not None
    assert end.reply.stats.prompt_tokens == ledger.prompt_tokens


@pytest.mark.parametrize("marks", [{}, {1: LEFT}, {0: KEEP, 3: LEFT}, {1: LEFT, 3: LEFT}])
def test_ledger_hint_and_figures_count_the_same_messages_as_not_sent(
    start: Callable[[Script], Chat], marks: dict[int, ContextMark]
) -> None:
    chat = start(Script(replies=("one two three",), context_length=30))
    for text in ("a b", "c d", "e f", "g h"):
        say(chat, text)
    for at, mark in marks.items():  # without a reply, two of the user's messages are one in the prompt
        chat.session.context.mark([chat.session.path[at].id], mark)
    cost = counted(chat, "i j k l m n o p")
    fallen = [row for row in chat.session.context.ledger().rows if row.fate == "falls out"]
    chat.session.submit("i j k l m n o p")
    updates = chat.until(GenerationFinished)
    (started,) = (each.dropped_messages for each in updates if isinstance(each, ReplyStarted))
    (end,) = (each.message.reply for each in updates if isinstance(each, ReplyEnded))
    assert end is not None
    assert end.stats is not None
    assert len(fallen) > 1
    assert [cost.dropped_messages, started, end.stats.dropped_messages] == [len(fallen)] * 3


def test_the_ledger_says_when_its_count_is_of_an_earlier_prompt(start: Callable[[Script], Chat]) -> None:
    chat = start(Script(replies=("one two three",)))
    counted(chat, "a b")
    assert chat.session.context.ledger().is_current
    chat.session.submit("a b")
    during = chat.session.context.ledger()
    assert not during.is_current
    assert [(row.kind, row.text) for row in during.rows] == [("message", "a b"), ("draft", "")], (
        "what was sent is no draft"
    )
    chat.until(GenerationFinished)
    counted(chat)
    assert chat.session.context.ledger().is_current


def test_a_pin_and_a_message_left_out_are_kept_and_change_what_is_sent(
    start: Callable[[Script], Chat], tmp_path: Path
) -> None:
    chat = start(Script(replies=("one two three",), context_length=30))
    for text in ("a b", "c d", "e f"):
        say(chat, text)
    first, _, third, *_ = chat.session.path
    assert chat.session.context.mark([first.id], "kept") == [ContextChanged()]
    counted(chat, "g h")
    assert [row_of(chat, text).fate for text in ("a b", "c d")] == ["sent", "falls out"]
    chat.session.context.mark([third.id], "left out")
    assert counted(chat, "g h").dropped_messages == 0
    assert row_of(chat, "c d").fate == "left out"
    assert chat.session.context.marks() == {
        first.id: "kept", third.id: "left out", third.id + 1: "left out",
    }  # fmt: skip
    say(chat, "g h")
    assert [m.content for m in chat.engine.requests[-1].messages][::2] == ["a b", "e f", "g h"]
    assert chat.engine.requests[-1].keep == (0,)
    conversation = chat.session.conversation
    assert conversation is not None
    chat.session.new_conversation()
    chat.session.open(conversation.id)
    assert [message.context for message in chat.session.path[:3]] == ["kept", "", "left out"]
    chat.session.context.mark([third.id], "left out")
    assert chat.session.context.marks() == {first.id: "kept"}, "the same mark again takes it away"


def test_messages_are_marked_together_or_not_at_all(start: Callable[[Script], Chat]) -> None:
    chat = start(Script())
    say(chat, "a b")
    first, gone = chat.session.path
    chat.store.remove_message(gone.id)
    with pytest.raises(StorageError, match="no longer exists"):
        chat.session.context.mark([first.id, gone.id], LEFT)
    assert chat.session.context.marks() == {}
    assert chat.store.message(first.id).context == ""


def test_what_falls_out_is_summarised_aside_and_the_summary_is_sent_once_it_is_accepted(
    start: Callable[[Script], Chat],
) -> None:
    chat = start(Script(replies=("one two three",), context_length=200))
    context, long = chat.session.context, "long " * 50
    for text in ("a b", "c d", "e f"):
        say(chat, long + text)
    counted(chat, long + "g h")
    assert context.summarise() == []
    assert context.is_summarising
    assert context.has_fallen
    assert any(isinstance(each, Notice) for each in context.summarise()), "one at a time"
    assert SummaryWritten() in chat.until(GenerationFinished)
    asked = chat.engine.requests[-1].messages[0].content
    assert asked.endswith(f"User: {long}a b\n\nAssistant: one two three")
    assert context.proposal is not None
    assert context.summary is None, "nothing is sent before the user accepts it"
    covered = chat.session.path[1].id
    assert (context.proposal.message_id, context.proposal.messages) == (covered, 2)
    assert context.proposal.tokens == 52 + 3
    context.set_summary(covered, "They counted.")
    assert context.proposal is None
    counted(chat, "g h")
    assert [fate for _, fate in fates(context.ledger())[:3]] == ["sent", "summarised", "summarised"]
    assert context.ledger().rows[0].kind == "summary"
    say(chat, "g h")
    assert chat.engine.requests[-1].messages[0].content == f"{SUMMARY_HEADING}\nThey counted."
    assert chat.session.path[0].content == f"{long}a b", "nothing is lost"
    context.set_summary(covered, "")
    assert context.marks() == {}


def test_without_anything_to_summarise_a_notice_says_so(start: Callable[[Script], Chat]) -> None:
    chat = start(Script())
    say(chat, "a b")
    counted(chat)
    (notice,) = chat.session.context.summarise(chat.session.path[0].id)
    assert isinstance(notice, Notice)
    assert notice.error.kind == "nothing_to_do"
    say(chat, "c d")
    reply = chat.session.path[1]
    chat.session.context.set_summary(reply.id, "They counted.")
    (notice,) = chat.session.context.summarise(reply.id)
    assert isinstance(notice, Notice)
    assert notice.error.message == "This message is summarised already."
    chat.session.context.set_summary(reply.id, "")
    assert chat.session.context.summarise(reply.id) == []


def test_without_a_model_the_ledger_has_no_counts(start: Callable[[Script], Chat]) -> None:
    chat = start(Script())
    say(chat, "a b")
    counted(chat)
    assert chat.session.context.ledger().prompt_tokens is not None
    chat.session.unload()
    chat.until(EngineStateChanged, state="empty")
    assert chat.session.context.ledger().prompt_tokens is None, "they are of another tokenizer"


def test_the_ledger_may_open_by_itself_once(start: Callable[[Script], Chat]) -> None:
    chat = start(Script())
    assert not chat.session.context.take_ledger_turn(), "nothing is stored yet"
    say(chat, "a b")
    assert [chat.session.context.take_ledger_turn() for _ in range(2)] == [True, False]


def test_a_long_conversation_is_summarised_in_parts_that_fit() -> None:
    marks: list[ContextMark] = [""] * 9
    path = path_of(*marks)
    path = [msgspec.structs.replace(message, content="x" * 500) for message in path]
    parts = parts_of(made_of(path, draft="y"), 6, 300, {})
    assert all(len(part) <= 600 for part in parts)
    assert sum(part.count("x") for part in parts) == 6 * 500
    parts = parts_of(made_of(path, draft="y"), 6, 300, {("message", at): 1000 for at in range(1, 7)})
    assert all(part.count("x") <= 75 for part in parts), "half a context, at two tokens a character"
    assert sum(part.count("x") for part in parts) == 6 * 500
    messages, sampling = asked_of(parts[1], "So far.", SamplingParams(stop=("x",)), 400)
    assert "So far." in messages[0].content
    assert (sampling.max_tokens, sampling.stop) == (100, ())


def test_a_summary_of_which_one_part_was_cut_off_is_cut(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start(Script(replies=("Two words.",)))
    say(chat, "a b")
    say(chat, "c d")
    session = chat.session
    monkeypatch.setattr(context_module, "parts_of", lambda *_: ["first", "second", "third"])
    for cut in (0, 1, 2, None):
        number = itertools.count()

        def answered(
            request: SideRequest, cut: int | None = cut, number: Iterator[int] = number
        ) -> list[Update]:
            at = next(number)
            return list(request.on_end(SideAnswer(f"Summary {at}.", at == cut)))

        monkeypatch.setattr(session.side_requests, "ask", answered)
        session.context.summarise(session.path[1].id)
        assert session.context.proposal is not None
        assert (session.context.proposal.text, session.context.proposal.is_cut) == (
            "Summary 2.",
            cut is not None,
        )


def test_a_long_conversation_is_read_when_it_is_wanted_and_sent_whole(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Yes.",)))
    store, count = chat.store, 2 * PAGE + 41
    home = store.create_conversation().id
    at: int | None = None
    for number in range(count):
        at = store.add_user_message(home, at, f"message {number}").id
    first = store.path(at or 0).ids[0]
    session = chat.session
    session.open(home)
    assert session.path[-1].content == f"message {count - 1}"
    assert not session.path.is_read
    assert (session.context.marks(), session.context.count("draft")) == ({}, [])
    session.context.mark([first], "kept")
    assert store.message(first).context == "kept", "also what is not read yet"
    pieces = []
    while not session.path.is_read:
        pieces.append(session.context.read_on()[1])
    assert pieces[-1] == [ContextChanged()]
    assert pieces[:-1] == [[]] * (len(pieces) - 1)
    assert session.context.marks() == {first: "kept"}
    session.open(home)
    assert not session.path.is_read
    rows = session.context.ledger().rows
    assert [row.text for row in rows if row.kind == "message"] == [f"message {at}" for at in range(count)]
    session.open(home)
    chat.ask("the last one")
    [sent] = chat.engine.requests[-1].messages
    assert sent.content.split("\n\n") == [*(f"message {at}" for at in range(count)), "the last one"]


def test_what_cannot_be_used_is_reported_before_anything_is_said(start: Callable[..., Chat]) -> None:
    chat = start(Script())
    chat.session.set_sampling(SamplingParams(logit_bias={"two words": -1.0}))
    assert chat.session.context.count("") == [PromptCost(0, 256, 0)]
    problem = chat.until(PromptCounted)[-1]
    assert isinstance(problem, BiasRefused)
    assert problem.error.kind == "logit_bias"
    assert not chat.session.context.ledger().rows
    assert chat.session.sampling.logit_bias == {}, "it is taken back"
    assert chat.session.context.count("") == [PromptCost(0, 256, 0)], "the engine is not asked"
