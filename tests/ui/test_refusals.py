"""A refused message returns to the prompt, whatever is in it by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, running, until
from tests.ui.test_elsewhere import shown
from ttchat_tui.config.schema import Config, EditingStyle, UiSettings
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import DraftReturned
from ttchat_tui.ui.screens.candidates import CandidatesScreen

RETURNED = DraftReturned("refused", ErrorInfo(kind="constraint", message="It cannot be answered."))


async def test_while_a_message_is_edited_it_joins_the_draft_below(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: chat.screen.has_answered)
        await pilot.press(*"since", "alt+e", "1")
        chat.screen.show_updates([RETURNED])
        assert chat.screen.prompt.text == "hello1", "what is edited stays as it is"
        await pilot.press("escape")
        assert chat.screen.prompt.text == chat.session.draft == "refused\n\nsince"


async def test_the_text_of_a_file_that_is_gone_returns_with_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.txt").write_text("kept")
    draft = "compare @kept.txt with @gone.txt"
    gone = "Attached file gone.txt:\n```\nlost?\n```"
    sent = f"{draft}\n\nAttached file kept.txt:\n```\nkept\n```\n\n{gone}"
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.screen.show_updates([DraftReturned(sent, RETURNED.error)])
        assert chat.screen.prompt.text == f"{draft}\n\n{gone}"
        await pilot.press("enter")
        await until(pilot, lambda: chat.screen.has_answered)
        content = chat.engine.requests[-1].messages[-1].content
        assert sorted(content.split("\n\n")) == sorted(sent.split("\n\n"))


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ([], "refused\n\nsince"),
        (["up"], "refused\n\nsince"),
        (["up", "up"], "refused\n\nsince"),
        (["up", "end", "1"], "refused\n\nsince\n\nsecond1"),
        (["up", "end", "1", "up", "end", "2"], "refused\n\nsince\n\nsecond1\n\nfirst2"),
        (["up", "end", "1", "home", "down"], "refused\n\nsince\n\nsecond1"),
    ],
)
async def test_on_the_way_through_earlier_prompts_it_joins_what_was_typed(
    tmp_path: Path, keys: list[str], left: str
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.screen.prompt.set_history(["first", "second"])
        await pilot.press(*"since", *keys)
        chat.screen.show_updates([RETURNED])
        assert chat.screen.prompt.text == chat.session.draft == left


@pytest.mark.parametrize("editing", ["default", "vi", "emacs"])
@pytest.mark.parametrize(
    ("keys", "prompt"),
    [
        ("a b", "refused\n\na b"),
        ("left a", "refusead"),
        ("backspace a", "refusea"),
        ("ctrl+j a", "refused\na"),
        ("a enter", ""),
        ("enter", ""),
        ("/ f o o enter", "refused\n\n/foo"),
        ("/ t e m p l a t e space x enter", "refused\n\n/template x"),
        ("/ c o n s t r a i n space o f f enter", "refused"),
        ("/ c o n s t r a i n space o f f enter a", "refused\n\na"),
        ("/ c o n s t r a i n space o f f enter enter", ""),
        ("/ x left left backspace", "refused\n/x"),
    ],
)
async def test_what_is_typed_after_a_returned_message_is_not_glued_to_it(
    tmp_path: Path, keys: str, prompt: str, editing: EditingStyle
) -> None:
    chat = ChatApp(tmp_path, config=Config(ui=UiSettings(editing=editing)))
    async with running(chat) as pilot:
        chat.screen.show_updates([RETURNED])
        if editing == "vi" and not chat.screen.prompt.is_writing:
            await pilot.press("i")
        await pilot.press(*keys.replace("a b", "a space b").split())
        await until(pilot, lambda: chat.screen.prompt.text == prompt)
        sent = [each.content for each in chat.session.path if each.role == "user"]
        assert sent == ([] if prompt else ["refused\n\na" if keys.startswith("a") else "refused"])
        chat.screen.keep_draft()
        assert chat.session.draft == prompt


async def test_a_command_below_a_returned_message_is_completed_and_recalled(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.screen.show_updates([RETURNED])
        await pilot.press(*"/constr")
        await until(pilot, lambda: "Constrain the form of replies" in shown(chat))
        await until(pilot, lambda: chat.engine.calls[-1] == "count")
        assert chat.session.context.draft == "refused", "the command is not sent"
        await pilot.press("tab", *"off", "enter")
        await until(pilot, lambda: chat.screen.prompt.text == "refused")
        await pilot.press("up")
        assert chat.screen.prompt.text == "/constrain off"
        await pilot.press("down")
        assert chat.screen.prompt.text == "refused"


@pytest.mark.parametrize(
    ("before", "pasted", "after"), [("", "also", ""), ("al", "", "so"), ("al", "so", "")]
)
async def test_what_is_typed_or_pasted_around_a_returned_message_is_a_paragraph_below_it(
    tmp_path: Path, before: str, pasted: str, after: str
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*before)
        chat.screen.show_updates([RETURNED])
        if pasted:
            chat.screen.prompt.paste(pasted)
        await pilot.press(*after)
        assert chat.screen.prompt.text == "refused\n\nalso"


async def test_a_command_that_was_begun_when_a_message_came_back_is_not_sent_with_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"/constr")
        chat.screen.show_updates([RETURNED])
        await pilot.press(*"ain", "space", *"off", "enter")
        await until(pilot, lambda: chat.screen.prompt.text == "refused")
        assert not chat.engine.requests


@pytest.mark.parametrize("message", ["/constrain off", "/nothing", "//new", "/usr/bin is", "// so"])
async def test_a_message_that_looks_like_a_command_is_sent_again_as_it_was(
    tmp_path: Path, message: str
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.screen.show_updates([DraftReturned(message, RETURNED.error)])
        await until(pilot, lambda: chat.session.context.draft == message)
        await pilot.press(*"//a", "enter")
        await until(pilot, lambda: chat.screen.has_answered)
        assert chat.session.path[0].content == f"{message}\n\n/a"
        assert chat.screen.prompt.text == ""


@pytest.mark.parametrize("sent", ["/constrain off", "hello"])
async def test_what_is_typed_or_sent_again_before_the_screen_knows_is_neither_lost_nor_repeated(
    tmp_path: Path, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ChatApp(tmp_path)
    ran: list[str] = []
    async with running(chat) as pilot:
        monkeypatch.setattr(chat.screen, "command_constrain", ran.append)
        prompt = chat.screen.prompt
        prompt.set_draft(sent)
        prompt.action_send()
        prompt.action_send()
        prompt.write("more")
        await until(pilot, lambda: prompt.text == "more")
        await pilot.pause()
        assert ran == ["off"] * sent.startswith("/")
        assert len([each for each in chat.session.path if each.role == "user"]) == (not ran)
        assert not chat.session.queue.messages


async def test_why_candidates_were_refused_is_said_once_their_screen_has_closed(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(batch_sizes=(1, 4), context_length=16))
    text = "word " * 20 + "end"
    async with running(chat) as pilot:
        chat.screen.prompt.set_draft(f"/candidates 3 {text}")
        await pilot.press("enter")
        await until(pilot, lambda: chat.app.screen is chat.screen and chat.screen.prompt.text == text)
        await until(pilot, lambda: any("The message needs" in each for each in chat.toasts()))


async def test_candidates_whose_screen_has_closed_draw_and_close_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[CandidatesScreen] = []
    mount = CandidatesScreen.on_mount

    def noted(screen: CandidatesScreen) -> None:
        opened.append(screen)
        mount(screen)

    monkeypatch.setattr(CandidatesScreen, "on_mount", noted)
    chat = ChatApp(tmp_path, Script(batch_sizes=(1, 4), context_length=16))
    async with running(chat) as pilot:
        chat.screen.prompt.set_draft("/candidates 3 " + "word " * 20)
        await pilot.press("enter")
        await until(pilot, lambda: opened and chat.app.screen is chat.screen)
        opened[0].flush()  # as a call that was made before it closed
        assert chat.app.screen is chat.screen
