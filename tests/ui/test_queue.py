"""The panel above the prompt with the messages that wait."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.test_elsewhere import shown
from ttchat_tui.domain.attachments import block_of, with_blocks
from ttchat_tui.ui.screens.edit_queued import EditQueued
from ttchat_tui.ui.widgets.key_line import KeyLine
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.queue_panel import QueuePanel


async def test_waiting_messages_are_changed_held_and_released_in_a_panel(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat, (80, 24)) as pilot:
        waiting = chat.session.queue

        def texts() -> list[str]:
            return [each.content for each in waiting.messages]

        await pilot.press("alt+q")
        assert chat.toasts() == ["No message waits. What is sent while a reply runs waits for it to end."]
        await pilot.press(*"one", "enter")
        for text in ("alpha", "[b]eta", "gamma"):
            await pilot.press(*text, "enter")
        await settle(pilot, chat)
        assert chat.screen.prompt.text == ""
        assert "3 messages wait · alt+q edits" in shown(chat)
        assert "2  [b]eta" in shown(chat), "it is not markup"

        await pilot.click(QueuePanel, offset=(3, 2))
        assert chat.app.screen is chat.screen, "a click only chooses a message"
        await pilot.click(QueuePanel, offset=(3, 2))
        await pilot.pause()
        assert isinstance(chat.app.screen, EditQueued)
        await pilot.press("escape")
        await pilot.press("home", "down", "K")
        await settle(pilot, chat)
        assert texts() == ["[b]eta", "alpha", "gamma"]
        assert " e edit  d drop  K earlier  J later" in shown(chat)
        await pilot.press("d", "e")  # what was moved is dropped, and the next one edited
        await until(pilot, lambda: isinstance(chat.app.screen, EditQueued))
        await pilot.press(*"bet", "enter")
        await settle(pilot, chat)
        assert texts() == ["alphabet", "gamma"]
        recalled = [chat.screen.prompt._recall.older("") for _ in range(5)]
        assert recalled == ["[b]eta", "gamma", "[b]eta", "alphabet", "one"], (
            "what is sent, not what was typed"
        )
        chat.screen.prompt._recall.leave()

        await pilot.press("escape")
        await until(pilot, lambda: not chat.session.is_busy)
        await settle(pilot, chat)
        assert "2 messages held · alt+q, enter sends" in shown(chat)
        assert chat.screen.prompt.has_focus
        await pilot.press("alt+q")
        await settle(pilot, chat)
        assert chat.screen.query_one(KeyLine)._escape == "back"
        await pilot.press("escape")
        assert chat.screen.prompt.has_focus
        await pilot.press("up")
        assert chat.screen.prompt.text == "[b]eta", "what was dropped is not lost"
        await pilot.press("down")
        await pilot.press(*"now", "enter", *"next", "enter")
        await settle(pilot, chat)
        assert "1 message waits · 2 held · alt+q, enter sends" in shown(chat)
        assert [
            "held" in line for line in shown(chat).splitlines() if "gamma" in line or "  next" in line
        ] == [
            True,
            False,
        ]
        await pilot.press("alt+q", "enter")
        gate.open()
        await until(pilot, lambda: not texts() and not chat.session.is_busy)
        await settle(pilot, chat)
        said = [message.content for message in chat.session.path if message.role == "user"]
        assert said == ["one", "now", "alphabet", "gamma", "next"]
        assert "messages" not in shown(chat), "the panel is gone"


async def test_a_message_of_another_conversation_names_it_and_what_it_waits_for(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat) as pilot:
        chat.store.queue.add(chat.store.create_conversation(title="Closed").id, "left over", 1)
        chat.store.queue.leave()
        chat.screen.follow_queue()
        await settle(pilot, chat)
        assert "1 message held elsewhere · alt+q shows it" in shown(chat)
        await pilot.press("alt+q")
        await settle(pilot, chat)
        assert any("1  left over  in “Closed”" in line for line in shown(chat).splitlines())
        assert any("Another window has ended" in toast for toast in chat.toasts())
        chat.session.queue.drop(chat.session.queue.messages[0].id)
        await pilot.press(*"count", "enter", *"more", "enter", "ctrl+n", *"hi", "enter")
        await settle(pilot, chat)
        assert "2 messages wait for the reply in “count”" in shown(chat)
        assert "in “count”" in next(line for line in shown(chat).splitlines() if "1  more" in line)
        assert any("hi" in line and "» now" in line for line in shown(chat).splitlines()), "it is listed"
        chat.screen.show_updates(chat.session.submit("\x1b[2Jtail"))
        home = chat.session.queue.messages[0].conversation_id
        chat.screen.show_updates(chat.session.rename(home, "co\x1bunt"))
        await settle(pilot, chat)
        assert "3 messages wait for the reply in “co␛unt”" in shown(chat)
        assert "\x1b" not in shown(chat)
        block = block_of("a.py", "was = 1\n")
        chat.screen.show_updates(chat.session.submit(with_blocks("see @a.py", [block])))
        await settle(pilot, chat)
        assert "4  see @a.py" in shown(chat)
        assert "Attached" not in shown(chat), "the draft, without the file's text"
        await pilot.press("alt+q", "end", "e")
        await until(pilot, lambda: isinstance(chat.app.screen, EditQueued))
        await pilot.pause()
        assert chat.app.screen.query_one(Prompt).text == "see @a.py", (
            "what was typed, without the file's text"
        )
        await pilot.press(*" now", "enter")
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert chat.session.queue.messages[-1].content == with_blocks("see @a.py now", [block])
        for _ in range(2):
            chat.session.queue.drop(chat.session.queue.messages[-1].id)
        chat.host.unload()
        await until(pilot, lambda: chat.host.state == "empty" and not chat.session.is_busy)
        await until(pilot, lambda: "2 messages wait for a model" in shown(chat))
        gate.open()
        chat.host.load("scripted")
        await until(pilot, lambda: [each.content for each in chat.session.path] == ["hi", "one two"])


async def two_conversations(pilot: Pilot[None], chat: ChatApp, title: str) -> tuple[int, int]:
    """The one on screen, with a reply, and another one of this title."""
    await pilot.press(*"hello", "enter")
    await reply_ended(pilot, chat)
    assert chat.session.conversation is not None
    return chat.session.conversation.id, chat.store.create_conversation(title=title).id


async def test_the_cursor_stays_in_the_conversation_of_a_message_that_was_dropped(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("one two",)))
    async with running(chat, (100, 30)) as pilot:
        here, other = await two_conversations(pilot, chat, "Other")
        for home, text in ((here, "a"), (other, "b"), (here, "c"), (other, "d"), (here, "e")):
            chat.store.queue.add(home, text, 1)
        chat.store.queue.leave()
        chat.screen.follow_queue()
        await pilot.press("alt+q")
        panel = chat.screen.query_one(QueuePanel)
        panel.highlighted = 2
        left = []
        for _ in range(3):
            await pilot.press("d")
            await settle(pilot, chat)
            assert panel._chosen is not None
            left.append(panel._chosen.content)
        assert left == ["e", "a", "b"], "those that follow first, then those before, then others"
        await pilot.press("e")
        await until(pilot, lambda: isinstance(chat.app.screen, EditQueued))
        assert isinstance(chat.app.screen, EditQueued)
        assert chat.app.screen.heading == "Edit the waiting message in “Other”"


async def test_what_is_held_in_other_conversations_is_one_line_until_it_is_looked_at(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("one two",)))
    async with running(chat, (80, 24)) as pilot:
        here, other = await two_conversations(pilot, chat, "Closed")
        for number in range(4):
            chat.store.queue.add(other, f"left {number}", 1)
        chat.store.queue.leave()
        chat.screen.follow_queue()
        await settle(pilot, chat)
        panel = chat.screen.query_one(QueuePanel)
        assert panel.outer_size.height == 1
        assert "4 messages held elsewhere · alt+q shows them" in shown(chat)
        await pilot.press("alt+q")
        await settle(pilot, chat)
        assert panel.outer_size.height == 5
        assert "4 messages held elsewhere · alt+q, enter sends" in shown(chat)
        await pilot.press("end", "escape")
        await settle(pilot, chat)
        assert panel.outer_size.height == 1
        chat.store.queue.add(here, "of this one", 1)
        chat.store.queue.leave()
        chat.screen.follow_queue()
        await settle(pilot, chat)
        assert "5 messages held, 4 elsewhere · alt+q, enter sends" in shown(chat)
        assert panel.outer_size.height == 2
        assert [line for line in ("of this one", "left 0") if line in shown(chat)] == ["of this one"]
        await pilot.press("alt+q", "end", "d")
        await settle(pilot, chat)
        assert [each.content for each in chat.session.queue.messages] == [f"left {at}" for at in range(4)]
        chat.screen.show_updates(chat.session.open(other))
        await pilot.press("escape")
        await settle(pilot, chat)
        assert "4 messages held · alt+q, enter sends" in shown(chat)
        assert panel.outer_size.height == 5
