"""Search over everything said, and the walk through what was found in the open conversation."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from tests.storage.examples import FINISHED, STARTED, answer
from tests.ui.chat_app import ChatApp, running, settle, until
from tests.ui.shell_app import screen_text
from ttchat_tui.domain.conversation import Message
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_scratch_store
from ttchat_tui.storage.search.thread import SearchThread
from ttchat_tui.ui.markdown.visual import Hit
from ttchat_tui.ui.screens.search import SearchDialog
from ttchat_tui.ui.widgets.find_bar import FindBar
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.message_format import clock_time


def said(store: ConversationStore, text: str, reply: str = "I see.") -> Message:
    """A reply in a conversation of its own."""
    asked = store.add_user_message(store.create_conversation().id, None, text)
    return answer(store, asked, reply)


def sibling(store: ConversationStore, of: Message, text: str) -> Message:
    """Another reply to the same question; the older one stays on screen."""
    reply = store.begin_reply(of.conversation_id, of.parent_id or 0, STARTED)
    store.finish_reply(reply.id, text, "complete", FINISHED)
    store.set_head(of.conversation_id, of.id)
    return reply


async def searched(pilot: Pilot[None], chat: ChatApp, typed: str) -> SearchDialog:
    """The dialog with the answer to `typed`."""
    await pilot.press("alt+s")
    dialog = chat.app.screen
    assert isinstance(dialog, SearchDialog)
    dialog.query_one(Input).value = typed
    await until(pilot, lambda: dialog._results.asked == typed and dialog._results.indexed == 1)
    return dialog


def marked(chat: ChatApp) -> list[str]:
    """What is marked in the mounted messages, in order."""
    return [
        chunk.rows[hit.row].plain[hit.start : hit.end]
        for message in chat.screen.transcript._mounted()
        for chunk in message.chunks
        for hit in chunk.hits
    ]


async def test_enter_opens_a_hit_in_its_branch_and_marks_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    shown = said(chat.store, "Which animal?", "A horse.")
    wanted = sibling(chat.store, shown, "A **zebra**, of course.")
    async with running(chat) as pilot:
        dialog = await searched(pilot, chat, 'zebra "of course"')
        text = "\n".join(screen_text(chat.app))
        assert "1 found" in text
        assert "A **zebra**, of course." in text
        assert clock_time(chat.session.message(wanted.id).created_at) in text
        await pilot.press("enter")
        await until(pilot, lambda: chat.app.screen is chat.screen and not dialog.is_attached)
        await until(pilot, lambda: marked(chat) == ["zebra", "of course"])
        assert [message.id for message in chat.session.path] == [shown.parent_id, wanted.id]
        assert chat.screen.transcript.selected == wanted.id
        assert isinstance(chat.app.focused, FindBar)
        await until(pilot, lambda: "alt+e edit" in screen_text(chat.app)[-1])
        assert screen_text(chat.app)[-1].split()[:2] == ["n", "next"]
        await pilot.press("alt+slash")  # the same words find the same
        assert chat.screen.query_one(FindBar).text == 'zebra "of course"'
        assert marked(chat) == ["zebra", "of course"]


async def test_a_selection_goes_along_with_the_walk_and_each_hit_has_its_place(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    first = said(chat.store, "Which mesh?", "A mesh, or a mesh of a mesh.")
    asked = chat.store.add_user_message(first.conversation_id, first.id, "And a mesh then?")
    async with running(chat) as pilot:
        await searched(pilot, chat, "role:user And")
        await pilot.press("enter")
        await until(pilot, lambda: chat.screen.transcript.selected == asked.id)
        bar = chat.screen.query_one(FindBar)
        bar.open("mesh", to_walk=True)
        chat.screen.on_find_bar_changed(FindBar.Changed("mesh"))
        for key, selected, place in (
            ("N", first.id, "hit 3 of 3 · 2 of 3 messages"),
            ("N", first.id, "hit 2 of 3 · 2 of 3 messages"),
            ("n", first.id, "hit 3 of 3 · 2 of 3 messages"),
            ("n", asked.id, "3 of 3 messages"),
        ):
            await pilot.press(key)
            await until(pilot, lambda place=place: str(bar._count.content) == place)
            assert chat.screen.transcript.selected == selected
        await chat.screen.command_find("which")
        assert chat.screen.transcript.selected == first.parent_id, "not the message that has gone out of view"
        await chat.screen.command_find("no such words")
        assert chat.screen.transcript.selected == first.parent_id


async def test_the_list_follows_the_keys_and_a_newer_query(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    said(chat.store, "A mesh of devices")
    said(chat.store, "A mess of vices")
    async with running(chat) as pilot:
        dialog = await searched(pilot, chat, "a mes")
        hits = dialog.query_one(OptionList)
        assert hits.option_count == 2
        await pilot.press("down")
        assert hits.highlighted == 1
        said(chat.store, "A mesh, newer than both", "Yes.")
        chosen = dialog._results.hits[1]
        dialog._search.ask(dialog.typed, dialog._answer)
        await until(pilot, lambda: hits.option_count == 3)
        assert hits.highlighted is not None
        assert dialog._results.hits[hits.highlighted] == chosen, "the hit, not its number"
        await pilot.press("h")
        await until(pilot, lambda: hits.option_count == 2)
        assert hits.highlighted == 0
        assert isinstance(chat.app.focused, Input)


async def test_enter_waits_for_the_answer_to_what_was_typed(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    reply = said(chat.store, "A horse?", "A zebra.")
    async with running(chat) as pilot:
        dialog = await searched(pilot, chat, "horse")
        dialog.query_one(Input).value = ""
        await pilot.press(*"zebra", "enter")
        await until(pilot, lambda: chat.screen.transcript.selected == reply.id)


async def test_a_search_opens_with_the_last_query(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    said(chat.store, "A mesh")
    async with running(chat) as pilot:
        await searched(pilot, chat, "mesh")
        await pilot.press("escape", "alt+s")
        assert chat.app.screen.query_one(Input).value == "mesh"


async def test_a_title_opens_its_conversation(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    reply = said(chat.store, "Which animal?")
    chat.store.rename(reply.conversation_id, "Striped ones")
    said(chat.store, "Something newer")
    async with running(chat) as pilot:
        await searched(pilot, chat, "striped")
        await pilot.press("enter")
        await until(pilot, lambda: chat.session.conversation is not None)
        assert chat.session.conversation is not None
        assert chat.session.conversation.id == reply.conversation_id


async def test_a_hit_deleted_meanwhile_is_reported(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    reply = said(chat.store, "A mesh", "No.")
    async with running(chat) as pilot:
        await searched(pilot, chat, "mesh")
        chat.store.delete(reply.conversation_id)
        await pilot.press("enter")
        await until(pilot, lambda: bool(chat.toasts()))
        assert "no longer exists" in chat.toasts()[0]
        assert chat.session.conversation is None


async def test_without_a_file_there_is_nothing_to_search(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, store=open_scratch_store())
    async with running(chat) as pilot:
        await pilot.press("alt+s")
        assert chat.app.screen is chat.screen
        assert "not kept on disk" in chat.toasts()[0]


async def test_hostile_text_in_a_hit_is_only_text(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    said(chat.store, "[bold]needle[/bold] \x1b[31m[link='x']")
    async with running(chat) as pilot:
        await searched(pilot, chat, "needle")
        text = "\n".join(screen_text(chat.app))
        assert "[bold]needle[/bold] ␛[31m[link='x']" in text


@pytest.mark.parametrize("size", [(60, 20), (200, 50)])
async def test_the_field_stays_in_place_while_hits_come_and_go(tmp_path: Path, size: tuple[int, int]) -> None:
    chat = ChatApp(tmp_path)
    for number in range(30):
        said(chat.store, f"needle {number}")
    async with running(chat, size) as pilot:
        dialog = await searched(pilot, chat, "")
        before = dialog.query_one(Input).region
        dialog.query_one(Input).value = "needle"
        await until(pilot, lambda: dialog._results.count == 30)
        await pilot.pause()
        assert dialog.query_one(Input).region == before


# --- in the open conversation


async def long_conversation(chat: ChatApp) -> list[Message]:
    """28 turns; every fourth reply has two needles, one of them in code."""
    conversation = chat.store.create_conversation().id
    parent: int | None = None
    replies: list[Message] = []
    for number in range(28):
        asked = chat.store.add_user_message(conversation, parent, f"Question {number}?")
        text = f"A needle.\n\n```python\nneedle = {number}\n```\n" if number % 4 == 0 else "Nothing. " * 30
        replies.append(answer(chat.store, asked, text))
        parent = replies[-1].id
    chat.session.open(conversation)
    chat.screen.show_updates(chat.session.open(conversation))
    return replies


def current(chat: ChatApp) -> tuple[int, int] | None:
    return chat.screen.transcript._at_hit


async def test_hits_are_walked_through_messages_that_are_not_mounted(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        replies = await long_conversation(chat)
        wanted = [(reply.id, index) for reply in replies[::4] for index in (0, 1)]
        await pilot.press("alt+slash", *"needle")
        await until(pilot, lambda: current(chat) == wanted[-2])
        await pilot.press("enter")
        seen = []
        for _ in wanted:
            await pilot.press("n")
            await pilot.pause()
            seen.append(current(chat))
        assert seen == [wanted[-1], *wanted[:-1]]
        await pilot.press("N")
        assert current(chat) == wanted[-3]
        assert set(marked(chat)) == {"needle"}


async def test_the_current_hit_is_in_view(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        await long_conversation(chat)
        await pilot.press("alt+slash", *"needle", "enter")
        for _ in range(8):
            await pilot.press("n")
            await pilot.pause()
            await pilot.pause()
            assert any("needle" in row for row in screen_text(chat.app)[1:17])


async def test_escape_removes_the_marks_from_the_walk_and_from_the_prompt_that_other_letters_reach(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await long_conversation(chat)
        await pilot.press("alt+slash", *"needle", "enter")
        await until(pilot, lambda: bool(marked(chat)))
        await pilot.press("escape")
        assert marked(chat) == []
        assert isinstance(chat.app.focused, Prompt)
        assert not chat.screen.is_finding
        await pilot.press("alt+slash", *"needle", "enter", *"what now")
        assert chat.screen.prompt.text == "what now"
        assert chat.screen.escape_does() == "end find"
        await pilot.press("escape")
        assert marked(chat) == []


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_in_a_new_conversation_nothing_is_searched(tmp_path: Path, is_deleted: bool) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await long_conversation(chat)
        await pilot.press("alt+slash", *"needle", "enter")
        assert chat.screen.escape_does() == "end find"
        chat.screen.action_delete() if is_deleted else chat.screen.action_new()
        await until(pilot, lambda: not chat.screen.is_finding)
        await settle(pilot, chat)
        assert chat.session.conversation is None
        assert chat.screen.escape_does() != "end find"
        assert isinstance(chat.app.focused, Prompt)


async def test_words_that_stream_in_are_marked(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        replies = await long_conversation(chat)
        await pilot.press("alt+slash", *"needle")
        transcript = chat.screen.transcript
        transcript.follow()
        key = replies[-1].id
        transcript.begin(transcript._views[-1])
        transcript.feed(key, "\n\n" + "More words. " * 2000 + "\n\nOne more needle here.")
        transcript.flush()
        await pilot.pause()
        assert [each.hit_count for each in transcript._mounted() if each.view.key == key] == [1]


async def test_the_slash_command_finds_words(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (120, 40)) as pilot:
        await long_conversation(chat)
        chat.screen.prompt.set_draft('/find-here "a needle" every')
        await pilot.press("enter")
        await until(pilot, lambda: set(marked(chat)) == {"A needle"})
        await pilot.pause()
        assert any("7 of 7 messages" in row for row in screen_text(chat.app))


async def test_a_thousand_hits_in_a_reply_are_not_laid_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out: list[Hit] = []
    line_of = MessageChunk.line_of

    def counted(self: MessageChunk, hit: Hit, width: int) -> int:
        laid_out.append(hit)
        return line_of(self, hit, width)

    monkeypatch.setattr(MessageChunk, "line_of", counted)
    chat = ChatApp(tmp_path)
    said(chat.store, "How?", "A sea of eels. " * 350)
    async with running(chat, (120, 40)) as pilot:
        chat.screen.open_conversation(chat.session.conversations()[0].id)
        chat.screen.prompt.set_draft("/find-here e")
        await pilot.press("enter")
        await until(pilot, lambda: len(marked(chat)) == 1050)
        await pilot.press("n", "n")
        await until(pilot, lambda: (current(chat) or (0, 0))[1] == 2)
        await pilot.pause()
        assert 1 <= len(laid_out) <= 3, "those that are shown, of 1,050"


async def test_another_conversation_has_hits_of_its_own(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (120, 40)) as pilot:
        other = said(chat.store, "Something else")
        await long_conversation(chat)
        chat.screen.prompt.set_draft("/find-here needle")
        await pilot.press("enter")
        await until(pilot, lambda: any("7 of 7 messages" in row for row in screen_text(chat.app)))
        chat.screen.open_conversation(other.conversation_id)
        await until(pilot, lambda: any("not found" in row for row in screen_text(chat.app)))


async def test_a_long_indexing_is_announced_and_its_end_too(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        for share in (0.0, 1.0, 0.0, 0.3, 0.6, 1.0, 1.0):
            chat.screen.post_message(chat.screen.Indexed(share))
        await pilot.pause()
        assert [toast.split()[0] for toast in chat.toasts()] == ["What", "Everything"]


async def test_a_question_is_answered_although_the_index_is_brought_up_to_date(tmp_path: Path) -> None:
    """As after an import, or once the modules are imported that the first frame did not need."""
    chat = ChatApp(tmp_path)
    said(chat.store, "A mesh of devices")
    async with running(chat) as pilot:
        await pilot.press("alt+s")
        await until(pilot, lambda: isinstance(chat.app.screen, SearchDialog))
        dialog = chat.app.screen
        assert isinstance(dialog, SearchDialog)
        for letter in "mesh":
            await pilot.press(letter)
            chat.screen.start_search()
        await until(pilot, lambda: dialog._results.asked == "mesh")
        assert len(dialog._results.hits) == 1
        await pilot.press("escape")
        await until(pilot, lambda: not dialog.is_attached)
        thread = chat.session.search
        assert isinstance(thread, SearchThread)
        assert (thread._asked, thread._report) == (None, chat.screen._report_index)
