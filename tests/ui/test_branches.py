"""Editing, branching and deleting of messages, and the tree, by keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.test_versions import on_screen, said
from ttchat_tui.domain.attachments import block_of, with_blocks
from ttchat_tui.domain.conversation import Edit
from ttchat_tui.ui.screens.edited_reply import EditedReply
from ttchat_tui.ui.screens.help import HelpScreen
from ttchat_tui.ui.screens.tree import TreeScreen
from ttchat_tui.ui.screens.tree_list import TreeList
from ttchat_tui.ui.widgets.edit_bar import EditBar

REPLIES = ("an answer", "what follows")


async def type_and_send(pilot: Pilot[None], chat: ChatApp, text: str) -> None:
    chat.screen.prompt.set_draft(text)
    await pilot.press("enter")
    await reply_ended(pilot, chat)


def last_toast(chat: ChatApp) -> str:
    return chat.toasts()[-1]


async def test_messages_are_edited_in_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        await pilot.press("alt+e")
        assert last_toast(chat) == "There is no message to edit yet."
        await type_and_send(pilot, chat, "one")
        await pilot.press(*"draft")

        await pilot.press("alt+e")
        assert prompt.text == "one"
        await until(pilot, lambda: "Editing your message of" in on_screen(chat))
        await pilot.press("x", "escape")
        assert prompt.text == "draft", "esc gives the draft back"
        assert said(chat) == ["one", "an answer"]
        assert not chat.screen.query_one(EditBar).display

        await pilot.press("alt+e", "space", *"more")
        await until(
            pilot, lambda: chat.store.drafts.of(1).edit == Edit(1, "one more")
        )  # a pause in typing: kill -9 may come
        assert chat.store.conversations()[0].draft == "draft", "an edit is no draft"
        chat.screen.action_new()
        assert prompt.text == ""
        chat.screen.open_conversation(1)
        assert prompt.text == "one more", "the edit goes on where it was left"
        await until(pilot, lambda: "Editing your message of" in on_screen(chat))
        await pilot.press("alt+e")
        assert prompt.text == "one more", "the same key does not begin it again"
        await pilot.press("enter")
        await reply_ended(pilot, chat)
        assert said(chat) == ["one more", "an answer"]
        assert "‹ 2/2 ›" in on_screen(chat)
        assert prompt.text == "draft"
        assert chat.store.drafts.of(1).edit is None, "it was sent"

        await pilot.press("alt+h")
        assert said(chat) == ["one", "an answer"], "the last message with versions is the edited one"
        await pilot.press("alt+h")
        assert last_toast(chat) == "This is the oldest version."
        await pilot.press("alt+l")
        assert said(chat) == ["one more", "an answer"]

        await pilot.press("alt+k", "alt+e")
        assert prompt.text == "an answer"
        chat.screen.prompt.set_draft("My words.")
        await pilot.press("enter")
        assert isinstance(chat.app.screen, EditedReply)
        await pilot.press("escape")
        assert prompt.text == "My words.", "the text is edited further"
        await pilot.press("enter", "down", "enter")
        await settle(pilot, chat)
        assert said(chat) == ["one more", "My words."]
        assert "scripted · edited" in on_screen(chat)
        assert prompt.text == "draft"

        # The message that is edited leaves the screen.
        await pilot.press("alt+e", *"lost")
        assert chat.screen.is_editing
        chat.screen.transcript.select(chat.session.path[0].id)
        await pilot.press("alt+h")
        assert not chat.screen.is_editing
        assert (
            "The message that you were editing is not on this branch. ↑ brings the text back."
            in chat.toasts()
        )
        assert prompt.text == "draft"
        await pilot.press("up")
        assert prompt.text == "one morelost"
        await pilot.press("down", "alt+l")

        await pilot.press("alt+e")
        chat.screen.action_new()
        assert not chat.screen.is_editing, "another conversation has its own draft"
        assert prompt.text == ""

        chat.store.drafts.set(1, "draft", Edit(1, "of the other branch"))
        chat.screen.open_conversation(1)
        assert (chat.screen.is_editing, prompt.text) == (False, "draft")
        await pilot.press("up")
        assert prompt.text == "of the other branch"
        assert last_toast(chat).startswith("The message that you were editing is not on this branch.")


async def test_a_message_with_files_is_edited_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("now = 2\n")
    before, new = block_of("a.py", "was = 1\n"), block_of("b.py", "now = 2\n", language="python")
    sent = with_blocks("see @a.py", [before])
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat, (160, 40)) as pilot:
        prompt = chat.screen.prompt
        chat.screen.show_updates(chat.session.submit(sent))
        await reply_ended(pilot, chat)
        await pilot.press("alt+e")
        assert prompt.text == "see @a.py"
        await until(pilot, lambda: "the file stays as read · becomes another version" in on_screen(chat))
        chat.screen.keep_draft()
        assert chat.store.drafts.of(1).edit is None, "nothing is changed yet"
        await pilot.press("enter")
        await until(pilot, lambda: not chat.screen.is_editing)
        assert [each.sibling_count for each in chat.session.path] == [1, 1], "nothing was changed"

        new_file = tmp_path / "b.py"
        new_file.write_bytes(b"\0")
        await pilot.press("alt+e", *", @b.py", "enter")
        await until(pilot, lambda: "it is not text" in "".join(chat.toasts()))
        assert prompt.text == "see @a.py, @b.py", "nothing is sent without a file"
        new_file.write_text("now = 2\n")
        await pilot.press("enter")
        await until(pilot, lambda: not chat.screen.is_editing)
        await reply_ended(pilot, chat)
        assert said(chat)[0] == with_blocks("see @a.py, @b.py", [before, new]), "only the new one is read"
        await pilot.press("alt+e")
        prompt.set_draft("see @b.py")
        await pilot.press("enter")
        await until(pilot, lambda: not chat.screen.is_editing)
        assert said(chat)[0] == with_blocks("see @b.py", [new]), "what is mentioned no more is gone"
        assert len(chat.toasts()) == 1, "no edit was lost"


async def test_a_selected_message_names_its_keys_and_obeys_them(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await type_and_send(pilot, chat, "one")
        await type_and_send(pilot, chat, "two")
        await pilot.press("shift+delete")
        assert last_toast(chat) == "Select the message to delete first: alt+k, or a click."
        await type_and_send(pilot, chat, "/retry temperature=9")
        assert last_toast(chat) == "temperature: give a number from 0 to 2."
        await type_and_send(pilot, chat, "/retry model=no-such-model")
        assert "no-such-model" in last_toast(chat)
        assert said(chat) == ["one", "an answer", "two", "what follows"]

        await type_and_send(pilot, chat, "/retry temperature=2 seed=7")
        assert said(chat) == ["one", "an answer", "two", "WHAT FOLLOWS"]
        assert "temperature 2 · seed 7" in on_screen(chat)

        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.pause()
        keys = on_screen(chat).splitlines()[-1]
        assert keys.split() == (
            [
                "esc",
                "deselect",
                "alt+e",
                "edit",
                "ctrl+r",
                "retry",
                "shift+delete",
                "delete",
                "alt+w",
                "branch",
                "F8",
                "copy",
                "alt+t",
                "tree",
            ]
        )
        await pilot.press("ctrl+r")
        await reply_ended(pilot, chat)
        assert said(chat) == ["one", "an answer"]
        assert on_screen(chat).count("an answer") == 1, "the replaced reply has left the screen"
        assert len(chat.session.tree()) == 6

        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("shift+delete")
        assert said(chat) == ["one", "an answer", "two", "WHAT FOLLOWS"]
        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("shift+delete")
        assert last_toast(chat) == "Deleted, with the 3 messages that followed. /undo brings it back."
        assert said(chat) == ["one"]
        assert "not answered" in on_screen(chat)
        await type_and_send(pilot, chat, "/undo")
        assert last_toast(chat) == "The messages are back in “one”."
        assert len(said(chat)) == 4
        assert "not answered" not in on_screen(chat)

        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("alt+w")
        assert said(chat) == ["one", "an answer"]
        assert len(chat.session.conversations()) == 2

        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("shift+delete")
        assert "not answered" in on_screen(chat)
        await type_and_send(pilot, chat, "/retry")
        assert len(said(chat)) == 2
        assert "not answered" not in on_screen(chat)


async def test_the_tree_shows_jumps_names_and_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await type_and_send(pilot, chat, "one")
        await type_and_send(pilot, chat, "/retry temperature=2")
        await type_and_send(pilot, chat, "two")
        first, loud = chat.session.tree()[1], chat.session.path[1]
        await pilot.press("alt+t")
        tree = chat.app.screen
        assert isinstance(tree, TreeScreen)
        lines = [line.strip(" │") for line in on_screen_of(chat) if "●" in line or "○" in line]
        assert [" ".join(line.split()[:-1]) for line in lines] == [
            "● You one",
            "├─○ Reply · temperature 0.6 an answer",
            "└─● Reply · temperature 2 AN ANSWER",
            "● You two",
            "● Reply what follows",
        ]
        assert tree.query_one(TreeList).highlighted == 4
        await pilot.click(TreeList, offset=(5, 0))
        assert (tree.query_one(TreeList).highlighted, chat.app.screen is tree) == (0, True)
        await pilot.click(TreeList, offset=(5, 0))
        await pilot.pause()
        assert chat.screen.transcript.selected == chat.session.path[0].id, "a click on the shown row is enter"
        await pilot.press("escape", "alt+t")
        tree = chat.app.screen

        await pilot.press("left", "left", "f2")
        assert str(chat.app.screen.query_one("#rename", Button).label) == "Name"
        await pilot.press(*"calm", "enter")
        assert chat.store.message(first.id).branch_name == "calm"
        assert "calm" in "\n".join(on_screen_of(chat))
        await pilot.press("enter")
        assert chat.session.path[-1].id == first.id
        assert chat.screen.transcript.selected == first.id
        await settle(pilot, chat)
        assert "calm   ‹ 1/2 ›" in on_screen(chat)

        await pilot.press("alt+t")
        await pilot.press("right", "delete", "up", "down", "delete")
        assert len(chat.session.tree()) == 5, "another key in between"
        await pilot.press("escape", "alt+t", "home", "down", "down")
        assert (chosen := tree_of(chat)._chosen) is not None
        assert chosen.entry.id == loud.id
        assert loud.reply is not None
        chat.store.resume_reply(loud.id)
        await pilot.press("delete", "delete")
        # Its toast goes with the next tick: no other window writes a reply.
        assert [*chat.screen._errors][-1].startswith("This reply is being written already."), (
            "nothing is deleted"
        )
        chat.store.finish_reply(loud.id, loud.content, "complete", loud.reply)
        await pilot.press("delete", "delete")
        assert (
            last_toast(chat)
            == "Deleted, with the 2 messages that followed. ctrl+z here, or /undo in the prompt, brings it back."
        )
        assert [message.id for message in chat.session.tree()] == [1, first.id]
        with monkeypatch.context() as other_window:
            other_window.setattr(chat.store.branches, "outline", lambda _: [])
            await pilot.press("f2", "x", "enter")
            assert chat.app.screen is chat.screen, "the tree cannot be shown any more"
            assert (
                last_toast(chat)
                == "This conversation no longer exists: it was deleted, perhaps in another window."
            )
            await pilot.press("alt+t")
            assert chat.app.screen is chat.screen
        await pilot.press("alt+t", "home", "delete", "delete")
        assert chat.session.conversation is None
        assert chat.app.screen is chat.screen, "nothing is left to show"


async def test_the_tree_is_filtered_and_obeys_the_keys_of_the_chat(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat, (80, 24)) as pilot:
        await type_and_send(pilot, chat, "one")
        await type_and_send(pilot, chat, "two")
        one, answer, _, follows = chat.session.path
        await type_and_send(pilot, chat, "/retry")
        other = chat.session.path[-1]

        # Letters filter, `/` begins to; the arrows lead to the rows, enter opens.
        await pilot.press("alt+t", "slash", *"ANSWER")
        assert [row.entry.id for row in tree_of(chat)._rows] == [answer.id]
        await until(pilot, lambda: "1 of 5 messages" in "\n".join(on_screen_of(chat)))
        await pilot.press(*"x")
        await until(pilot, lambda: "No message has these words" in "\n".join(on_screen_of(chat)))
        await pilot.press("delete", "f2", "alt+w", "enter", "escape")  # there is nothing to act on
        assert tree_of(chat)._chosen_id == answer.id, "escape clears the filter first"
        assert not tree_of(chat)._filter.display
        await pilot.press(*"follows", "up", "enter")
        assert chat.session.path[-1].id == follows.id

        # A message off the screen is branched from, and what is on screen stays there.
        await type_and_send(pilot, chat, "three")
        shown = chat.session.path[-1].id
        await pilot.press("alt+t", *"what fol", "home")
        while tree_of(chat)._chosen_id != other.id:
            await pilot.press("down")
        await pilot.press("alt+w")
        await settle(pilot, chat)
        assert said(chat) == ["one", "an answer", "two", "what follows"]
        assert len(chat.session.conversations()) == 2
        chat.screen.open_conversation(one.conversation_id)
        assert chat.session.path[-1].id == shown

        # Deleted at once by the chat's key, and brought back by ctrl+z.
        await pilot.press("alt+t", "ctrl+z")
        assert last_toast(chat).startswith("Nothing was deleted in this tree")
        await pilot.press("shift+delete", "alt+k")
        assert last_toast(chat) == "Deleted. ctrl+z here, or /undo in the prompt, brings it back."
        await pilot.press("ctrl+z")
        assert len(tree_of(chat)._rows) == 7

        # Another key is for the message under the cursor, in the chat, or for the chat itself.
        await pilot.press("home", "alt+e")
        await settle(pilot, chat)
        assert chat.screen.prompt.text == "one"
        await pilot.press("escape", "alt+t", "alt+t")
        assert chat.app.screen is chat.screen
        await pilot.press("alt+t", "f1")
        await until(pilot, lambda: isinstance(chat.app.screen, HelpScreen))


def tree_of(chat: ChatApp) -> TreeScreen:
    assert isinstance(chat.app.screen, TreeScreen)
    return chat.app.screen


def on_screen_of(chat: ChatApp) -> list[str]:
    return [strip.text for strip in chat.app.screen._compositor.render_strips()]
