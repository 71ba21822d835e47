"""The inspector on screen: a reply by tokens, what else it might have said, and forks."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from textual.pilot import Pilot

from tests.fakes import UNFOLLOWED, Gate, Script
from tests.ui.chat_app import ChatApp, paths_in, reply_ended, running, settle, until
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.conversation import ReplyRecord
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.recording_parts import encoded
from ttchat_tui.ui.screens import inspector
from ttchat_tui.ui.screens.inspector import InspectorScreen
from ttchat_tui.ui.services import Resume
from ttchat_tui.ui.widgets.inspector.alternatives import AlternativeList
from ttchat_tui.ui.widgets.inspector.token_text import TokenText

KNOWN = Script(replies=("One two three four five\nsix.",), logprobs=True)


def split(chat: ChatApp) -> None:
    """Store the last reply's recording in parts of two tokens, as that of a long one is in parts of hundreds."""
    reply = chat.session.path[-1]
    assert reply.reply is not None
    whole = chat.store.recordings.of(reply.id)
    parts = [
        structs.replace(whole, tokens=whole.tokens[at : at + 2], first=at)
        for at in range(0, len(whole.tokens), 2)
    ]
    chat.store.finish_reply(reply.id, reply.content, reply.status, reply.reply, [*map(encoded, parts)])


def on_screen(chat: ChatApp) -> str:
    return "\n".join(strip.text for strip in chat.app.screen._compositor.render_strips())


def text(chat: ChatApp) -> TokenText:
    return chat.app.screen.query_one(TokenText)


async def shows(pilot: Pilot[None], chat: ChatApp, words: str) -> None:
    """Wait until these words are on screen."""
    await until(pilot, lambda: words in on_screen(chat))


async def inspect(pilot: Pilot[None], chat: ChatApp, shown: int = 6) -> None:
    await pilot.press("f6")
    await until(pilot, lambda: bool(chat.app.screen.query(TokenText)) and text(chat).shown >= shown)
    await pilot.pause()


async def test_a_cursor_walks_the_tokens_and_a_panel_says_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "FIRST_SHOWN", 2)
    chat = ChatApp(tmp_path, KNOWN)
    async with running(chat, (100, 30)) as pilot:
        await pilot.press("f6")
        assert "There is no reply yet." in chat.toasts()
        await pilot.press(*"count", "enter")
        await reply_ended(pilot, chat)
        split(chat)
        await inspect(pilot, chat)
        await shows(pilot, chat, "One two three four five⏎")
        await shows(pilot, chat, "token 1 of 6")
        await shows(pilot, chat, "6 tok · mean log-prob -0.92 · ppl 2.52 · 67% greedy")
        await pilot.press("right", "right")
        await shows(pilot, chat, "␣three   token 3 of 6")
        await shows(pilot, chat, "25.0 %")
        await shows(pilot, chat, "written")
        await pilot.press("down")
        assert text(chat).cursor == 5, "the nearest token of a shorter row"
        await pilot.press("up")
        assert text(chat).cursor == 2, "the column is kept"
        await pilot.press("end")
        assert text(chat).cursor == 5
        await pilot.press("N")
        assert text(chat).cursor == 2, "the doubtful one"
        await pilot.press("home", "n")
        assert text(chat).cursor == 2
        await pilot.press("f1")
        await shows(pilot, chat, "Help: Inspector")
        for word, line in (("limit", "n N p                  Next or previous"), ("written", "▸ written")):
            await pilot.press("ctrl+u", *word)
            await shows(pilot, chat, line)
        await pilot.press("f1")
        assert isinstance(chat.app.screen, InspectorScreen), "the key of help closes it too"
        await pilot.press("t")
        await shows(pilot, chat, "probability: below 75%  below 50%")
        await pilot.press(">", "t")
        await shows(pilot, chat, "entropy: above 0.75 nats  above 1.50 nats")
        await pilot.press("t")
        await until(pilot, lambda: "entropy:" not in on_screen(chat))
        await pilot.click(TokenText, offset=(5, 0))
        assert text(chat).cursor == 1, "a click on the text"
        await pilot.press("enter", "escape")
        assert isinstance(chat.app.screen, InspectorScreen), "esc leaves the alternatives first"
        await pilot.press("escape")
        assert chat.app.screen is chat.screen


async def test_an_alternative_and_words_of_ones_own_become_siblings(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, KNOWN)
    async with running(chat, (60, 20)) as pilot:
        await pilot.press(*"count", "enter")
        await reply_ended(pilot, chat)
        first = chat.session.path[-1].id
        await inspect(pilot, chat)
        await pilot.press("right", "right", "enter", "enter")
        await reply_ended(pilot, chat)
        await until(pilot, lambda: text(chat).shown == 9)
        fork = chat.session.path[-1]
        assert fork.content == "One two other0One two three four five\nsix."
        assert (fork.id != first, text(chat).cursor) == (True, 2)
        await shows(pilot, chat, "␣other0   token 3 of 9")
        await pilot.press("home", "e", *"Or", "enter")
        await reply_ended(pilot, chat)
        await until(pilot, lambda: text(chat).shown == 7)
        assert chat.session.path[-1].content.startswith("OrOne two")
        assert chat.session.path[-1].sibling_count == 3
        assert text(chat).cursor == 0, "at the place of the fork, also at the first token"
        await pilot.press("right", "e")
        await shows(pilot, chat, "continues from your words")
        await pilot.press("escape", "escape")
        await shows(pilot, chat, "OrOne two")


async def test_words_that_the_constraint_refuses_return_to_the_prompt_and_leave_no_version(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path, KNOWN)
    async with running(chat, (60, 20)) as pilot:
        await pilot.press(*"count", "enter")
        await reply_ended(pilot, chat)
        first = chat.session.path[-1]
        await inspect(pilot, chat)
        for number, at in enumerate(("home", "right"), 1):
            chat.session.set_sampling(SamplingParams(constraint=Constraint("regex", UNFOLLOWED)))
            await pilot.press(at, "e", *"xyz", "enter")
            await until(pilot, lambda number=number: chat.screen.prompt.text.count("xyz") == number)
            await until(pilot, lambda: text(chat).shown == 6)
            await shows(pilot, chat, f"token {number} of 6")
        assert [each.id for each in chat.store.tree(first.conversation_id)] == chat.session.path.ids
        chat.session.set_sampling(SamplingParams())
        await pilot.press("e", *"xyz", "enter")
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].content.startswith("One xyzOne two")


async def test_a_running_reply_is_followed_to_its_end_and_cannot_be_forked(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=KNOWN.replies, logprobs=True, stepped=True), gate)
    async with running(chat, (100, 30)) as pilot:
        await pilot.press(*"count", "enter")
        gate.release(2)
        await until(pilot, lambda: "two" in chat.session.path[-1].content or _words(chat) == 2)
        await inspect(pilot, chat, 2)
        assert text(chat).cursor == 1, "the last one"
        gate.release(1)
        await until(pilot, lambda: text(chat).shown == 3)
        assert text(chat).cursor == 2, "it follows"
        await pilot.press("enter", "enter")
        await shows(pilot, chat, "A reply is still running. ctrl+c stops it")
        await shows(pilot, chat, "↑↓ look  x ban")
        gate.release(1)
        await until(pilot, lambda: text(chat).shown == 4)
        assert text(chat).cursor == 2, "the alternatives are being read"
        chat.session.pausing.toggle()
        gate.release(1)
        chat.session.pausing.step()
        await until(pilot, lambda: text(chat).shown == 5)
        assert text(chat).cursor == 4, "a token that a key has made"
        chat.session.pausing.toggle()
        await pilot.press("escape")
        await shows(pilot, chat, "space pause  . one token")
        await pilot.press("e", "e")
        await shows(pilot, chat, "A reply is still running. ctrl+c stops it")
        await shows(pilot, chat, "space pause  . one token")
        assert isinstance(chat.app.screen, InspectorScreen), "nothing is typed in vain"
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(chat.app.focused, AlternativeList))
        await pilot.press("down", "down")
        await pilot.pause()
        chosen = chat.app.screen.query_one(AlternativeList).chosen
        gate.release(1)
        await until(pilot, lambda: text(chat).shown == 6)
        assert chat.app.screen.query_one(AlternativeList).chosen == chosen, "the list stays as it is"
        gate.open()
        await reply_ended(pilot, chat)
        screen = chat.app.screen
        assert isinstance(screen, InspectorScreen)
        screen._show_growth(chat.session.recordings.of(chat.session.path[-1].id))  # as it is stored: rounded
        screen._show_token()
        now = chat.app.screen.query_one(AlternativeList).chosen
        assert (now and now.piece) == (chosen and chosen.piece), "also when it is read again at the end"
        await pilot.press("escape")
        await settle(pilot, chat)
        assert text(chat).cursor == 0, "the reader has left the end"
        await shows(pilot, chat, "token 1 of 6")
        assert len(chat.session.tree()) == 2


def _words(chat: ChatApp) -> int:
    running_reply = chat.session.running
    return len(running_reply.text.split()) if running_reply else 0


async def test_a_reply_that_another_window_writes_says_so(tmp_path: Path) -> None:
    store = open_store(paths_in(tmp_path).database)
    conversation = store.create_conversation(model="scripted", system_prompt="", sampling=None)
    asked = store.add_user_message(conversation.id, None, "Name three cats.")
    record = ReplyRecord(model="scripted", engine="", sampling=SamplingParams(), seed=1)
    store.begin_reply(conversation.id, asked.id, record)
    chat = ChatApp(tmp_path, store=store, resume=Resume({}))
    async with running(chat, (100, 30)) as pilot:
        await pilot.press("f6")
        await shows(pilot, chat, "Another window writes this reply.")
