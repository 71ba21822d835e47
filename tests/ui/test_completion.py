"""Completion and attached files in the app: what is offered, which keys the list takes, what is sent, what is asked."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import pytest
from textual.events import Key, Paste
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets.text_area import Selection

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, until
from tests.ui.shell_app import screen_text
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import DraftReturned
from ttchat_tui.session import attachments
from ttchat_tui.ui.screens import attaching
from ttchat_tui.ui.screens.help import HelpScreen
from ttchat_tui.ui.textual_patches.key_gate import is_idle
from ttchat_tui.ui.widgets.prompt import completion_list
from ttchat_tui.ui.widgets.prompt.completion_list import CompletionList
from ttchat_tui.ui.widgets.prompt.typed import Offer
from ttchat_tui.ui.widgets.transcript.attached import AttachmentRow
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "src" / "chat.py").write_text("print('needle')\n")
    (work / "my notes.md").write_text("one\ntwo\n")
    (work / "picture.png").write_bytes(b"\x89PNG\0")
    monkeypatch.chdir(work)
    for module, limit in (
        (attaching, "READING_S"),
        (attaching, "ASKING_S"),
        (completion_list, "LONGEST_WAIT_S"),
    ):
        monkeypatch.setattr(module, limit, 60.0)  # not a question of the machine's load
    return work


def offered(chat: ChatApp) -> list[str]:
    """The rows of the open list."""
    lists = chat.screen.query(CompletionList)
    return [str(option.prompt) for option in lists.first().options] if lists and lists.first().is_open else []


async def burst(pilot: Pilot[None], chat: ChatApp, *keys: str | Paste) -> None:
    """Input without a pause in between: words letter by letter, keys by their name, pastes."""
    for key in keys:
        if isinstance(key, Paste):
            await chat.app._post_message(key)
        elif key in ("enter", "tab", "escape", "up", "down", "left", "end", "ctrl+u"):
            await chat.app._post_message(Key(key, None))
        else:
            for letter in key:
                await chat.app._post_message(Key(_character_to_key(letter), letter))
    # Keys that wait for each other are let in one by one; the last one has an effect when no handler waits any more.
    gate = chat.app._key_gate
    await until(pilot, lambda: gate._task is None and all(map(is_idle, gate._pumps())))


async def test_commands_and_their_arguments_complete(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    for title in ("Apple", "Apple [bold]plum[/]", "bell\x07\nline"):
        conversation = chat.store.create_conversation(title=title)
        chat.store.add_user_message(conversation.id, None, "Hi")
    async with running(chat, (60, 20)) as pilot:
        prompt, transcript = chat.screen.prompt, chat.screen.transcript.region
        await burst(pilot, chat, "/re")
        assert [row.split()[0] for row in offered(chat)[:4]] == ["/retry", "/recall", "/rename", "/reload"]
        assert offered(chat)[0].endswith("Regenerate a reply"), "the title, where the sentence would be cut"
        below = "tab accepts · ↑↓ choose · esc closes"
        await until(pilot, lambda: below in screen_text(chat.app)[prompt.region.y - 1])
        assert chat.screen.transcript.region == transcript, "the list must not move the text"
        await pilot.press("down", "down", "down", "enter")
        assert (prompt.text, offered(chat)) == ("/reload", [])
        await pilot.press("backspace")
        await until(pilot, lambda: any("tab accepts" in line for line in screen_text(chat.app)))
        await pilot.click(CompletionList, offset=(3, 1))
        assert (prompt.text, offered(chat), prompt.has_focus) == ("/reload", [], True)
        await burst(pilot, chat, "ctrl+u", "/re", "down")
        shown, typed = chat.screen.query_one(CompletionList), chat.screen._typed
        assert typed is not None
        await chat.screen.offer_for(typed, [Offer("/first", "found later"), *shown._offers])
        await burst(pilot, chat, "enter")
        assert prompt.text.strip() == "/recall", "what an arrow has chosen stays chosen while more is found"
        await burst(pilot, chat, "ctrl+u", "/tmpx", "enter")
        assert prompt.text == "/tmpx", "enter takes no guess"

        await burst(pilot, chat, "ctrl+u", "/the", "enter")
        assert prompt.text == "/theme ", "enter takes what completes the command"
        assert len(offered(chat)) > 3
        await burst(pilot, chat, "high-con", "tab", "enter")
        assert (prompt.text, chat.app.theme) == ("", "high-contrast")
        await burst(pilot, chat, "/model smol")
        assert "smollm2-135m-instruct" in offered(chat)[0]
        await burst(pilot, chat, "escape", "ctrl+u", "/import src/", "tab")
        assert prompt.text == "/import src/chat.py"
        await burst(pilot, chat, "ctrl+u", "/save ")
        endings = [row.split()[0].rpartition(".")[2] for row in offered(chat)]
        assert endings == ["md", "json", "jsonl", "html", "txt", "trace", "csv"]

        chat.store.retag([1], add=("rust", "work"))
        await burst(pilot, chat, "ctrl+u", "/tag ru", "tab", "wo")
        assert (prompt.text, offered(chat), highlighted(chat)) == ("/tag rust wo", ["work"], None)
        await burst(pilot, chat, "tab")
        assert (prompt.text, offered(chat)) == ("/tag rust work ", []), "no tag twice"
        await burst(pilot, chat, "ctrl+u", "/tag w rust", *["left"] * 5, "o", "tab")
        assert prompt.text == "/tag work rust", "the word at the cursor"
        await burst(pilot, chat, "end", " apples", "enter")
        await pilot.pause()
        no_message = "This conversation has no message yet."
        assert (prompt.text, chat.toasts()[-1]) == ("", no_message), "enter runs it: a tag may be new"
        await burst(pilot, chat, "ctrl+u", "/retry temp")
        await pilot.press("enter")
        await pilot.pause()
        assert prompt.text == "/retry temperature="
        assert [row.split() for row in offered(chat)] == [["0.6", "now", "·", "0", "to", "2"]]
        await burst(pilot, chat, "6")
        assert [row.split() for row in offered(chat)] == [["6", "0", "to", "2"]], "not 0.6"
        await pilot.press("backspace")
        await burst(pilot, chat, "1.3")
        assert [row.split() for row in offered(chat)] == [["1.3", "0", "to", "2"]]
        await burst(pilot, chat, " model=smol", "tab")
        assert prompt.text == "/retry temperature=1.3 model=smollm2-135m-instruct "
        assert not any(row.startswith(("model", "temperature")) for row in offered(chat)), "none twice"
        await burst(pilot, chat, "thin", "tab", "o", "tab")
        assert prompt.text.endswith(" thinking=auto ")

        prompt.clear_draft()
        await burst(pilot, chat, "/open ")
        assert len(offered(chat)) == 2, "a title that cannot be typed is not offered"
        await burst(pilot, chat, "plu")
        assert "Apple [bold]plum[/]" in offered(chat)[0]
        await burst(pilot, chat, "escape", "ctrl+u", "/open apple", "enter")
        assert chat.session.conversation is not None
        assert chat.session.conversation.title == "Apple", "not the newer one that contains it"
        await burst(pilot, chat, "/open quince", "enter")
        assert any("No conversation has the title “quince”" in toast for toast in chat.toasts())
        assert prompt.text == "/open quince", "a command that fails comes back"
        await burst(pilot, chat, "ctrl+u", "/open e", "enter")
        assert "3 conversations match “e”" in chat.toasts()[-1]
        assert chat.session.conversation.title == "Apple", "which of them is meant is not guessed"

        await burst(pilot, chat, "ctrl+u", "/find")
        assert (offered(chat)[0].split()[0], highlighted(chat)) == ("/find", None), "enter runs it"
        await burst(pilot, chat, "ctrl+u", "/save a")
        assert highlighted(chat) is None, "enter saves to a new file"
        await burst(pilot, chat, "ctrl+u", "/theme nord")
        assert (highlighted(chat), len(offered(chat)) > 0) == (None, True), "enter takes no guess"
        await pilot.press("enter")
        await pilot.pause()
        assert "There is no theme nord.\nThere are ansi-16, " in chat.toasts()[-1]
        assert prompt.text == "/theme nord"
        await burst(pilot, chat, "ctrl+u", "/open plu")
        assert highlighted(chat) == 0
        await pilot.press("enter")
        await pilot.pause()
        assert chat.session.conversation.title == "Apple [bold]plum[/]", "enter runs the only match"
        await burst(pilot, chat, "/find-here plum")
        prompt.report_draft()  # the pause in typing
        await burst(pilot, chat, "enter")
        stored = chat.store.conversation(chat.session.conversation.id)
        assert stored.draft == "", "no command is left as a draft"
        chat.screen.action_focus_prompt()
        await burst(pilot, chat, "/open Apple", "ctrl+u", "/open plu", "enter")
        assert prompt.text == "", "a command that is typed in one go runs"
        await burst(pilot, chat, "/exit", "enter")  # another name of /quit
        assert chat.app.is_leaving


def highlighted(chat: ChatApp) -> int | None:
    return chat.screen.query_one(CompletionList).highlighted


FILES_IN_COMMANDS = [
    (("/constrain js", "tab", "src/", "tab"), "/constrain json-schema src/chat.py"),
    (("/constrain grammar my", "enter"), "/constrain grammar my notes.md"),
    (("/constrain regex my", "tab", "tab"), "/constrain regex my"),
    (("/constrain ch", "tab", "my,src", "tab"), "/constrain choices my,src"),
    (("/retry constraint='json-schema src/", "tab"), "/retry constraint='json-schema src/chat.py'"),
    (("/model ./src", "tab"), "/model ./src/"),
    (("/import nothing", "tab"), "/import nothing"),
    (("look at @nothing", "tab"), "look at @nothing"),
]


async def test_every_file_in_a_command_completes_and_tab_stays_in_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (60, 20)) as pilot:
        prompt = chat.screen.prompt
        for typed, whole in FILES_IN_COMMANDS:
            await burst(pilot, chat, *typed)
            assert (prompt.text, prompt.has_focus) == (whole, True)
            await burst(pilot, chat, "escape")
            prompt.clear_draft()


async def test_enter_takes_the_row_that_is_highlighted_for_a_file(tmp_path: Path, folder: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        await burst(pilot, chat, "@not")
        await until(pilot, lambda: offered(chat))
        await burst(pilot, chat, "enter")
        assert (prompt.text, offered(chat)) == ('@"my notes.md" ', [])
        await burst(pilot, chat, "ctrl+u", Paste(f"{folder}/my notes.md"), "enter")
        assert prompt.text == f'@"{folder}/my notes.md" ', "an open question takes enter"
        assert chat.session.path == []


async def test_the_list_takes_no_key_that_was_typed_fast_and_escape_only_closes_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(stepped=True), gate := Gate())
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        prompt.set_history(["older", "/ret"])
        await burst(pilot, chat, "up", "up")
        assert (prompt.text, offered(chat)) == ("older", []), "a command from the history opens no list"
        await burst(pilot, chat, "down", "down", "/help", "enter")
        assert isinstance(chat.app.screen, HelpScreen)
        await burst(pilot, chat, "escape", "x@src", "tab")
        assert not prompt.has_focus, "without a list tab moves the focus"
        prompt.focus()
        await burst(pilot, chat, "ctrl+u", "@cha", "enter")
        assert (prompt.text, chat.session.path) == ("@src/chat.py ", []), "as when typed slowly"
        await burst(pilot, chat, "ctrl+u", "see @cha", "tab", "and @bob", "enter")
        assert chat.session.path[0].content.startswith(
            "see @src/chat.py and @bob\n\nAttached file src/chat.py:"
        )
        assert chat.session.is_answering
        await burst(pilot, chat, "@gone.md ")
        prompt.report_draft()
        await until(pilot, lambda: str(prompt.border_subtitle) == "gone.md: no such file, sent as text")
        await burst(pilot, chat, "ctrl+u", "/re", "escape")
        assert (prompt.text, offered(chat), chat.session.is_answering) == ("/re", [], True)
        assert chat.session.running is not None
        assert not chat.session.running.control.is_cancelled
        await burst(pilot, chat, "t")
        assert offered(chat) == [], "it stays closed while the same word is typed on"
        await burst(pilot, chat, "ctrl+u", "/")
        assert offered(chat)
        gate.open()


@pytest.mark.parametrize("key", ["ctrl+p", "f1", "ctrl+o", "alt+s"])
async def test_the_list_closes_when_a_dialog_takes_the_keys(tmp_path: Path, key: str) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        await pilot.press(*"/c")
        assert offered(chat)
        await pilot.press(key)
        await until(pilot, lambda: chat.app.screen is not chat.screen and not offered(chat))
        await until(pilot, lambda: "tab accepts" not in "\n".join(screen_text(chat.app)))
        await pilot.press("escape")
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert (chat.screen.prompt.text, offered(chat)) == ("/c", [])
        await pilot.press("o")
        assert offered(chat)


async def test_files_that_are_found_after_escape_do_not_open_the_list_again(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        await pilot.press(*"@s")
        await until(pilot, lambda: bool(offered(chat)))
        typed, shown = chat.screen._typed, chat.screen.query_one(CompletionList)
        assert typed is not None
        assert await shown.press("escape", 0.0)
        await chat.screen.offer_for(
            typed, [Offer("more", "more", "")]
        )  # the walk of the folder goes on meanwhile
        await until(pilot, lambda: not offered(chat))
        await pilot.press("enter")
        await until(
            pilot, lambda: len(chat.session.path) > 0
        )  # enter is not kept by a list that nothing fills


async def test_a_mentioned_file_is_counted_sent_folded_and_comes_back_as_its_mention(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(context_length=4000))
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        await burst(pilot, chat, "see @picture.png")
        prompt.report_draft()  # the pause in typing
        await until(pilot, lambda: "it is not text" in str(prompt.border_subtitle))
        await burst(pilot, chat, "enter")
        assert (prompt.text, chat.session.path) == ("see @picture.png", [])
        assert any("picture.png cannot be attached: it is not text" in toast for toast in chat.toasts())
        await burst(pilot, chat, "ctrl+u")
        assert "it is not text" not in str(prompt.border_subtitle), "it goes with what it is about"
        await burst(pilot, chat, "see @picture.pn")
        await until(pilot, lambda: bool(offered(chat)))
        chat.screen.count()
        counting = [worker for worker in chat.app.workers if worker.group == "count"]
        await until(pilot, lambda: all(worker.is_finished for worker in counting))
        assert counting
        assert "no such file" not in str(prompt.border_subtitle), "it may still become one"
        await burst(pilot, chat, "x @property")
        prompt.report_draft()
        cut = re.compile(r"picture\.pnx: no such fi[a-z, ]*… · ~?\d+ / 4,000 tok")
        await until(pilot, lambda: cut.fullmatch(str(prompt.border_subtitle)))

        draft = 'What? @"my notes.md" @src/chat.py'
        await burst(pilot, chat, "ctrl+u", 'What? @"my', "tab", "@src/chat.py")
        prompt.report_draft()
        await until(pilot, lambda: "2 files · " in str(prompt.border_subtitle))
        await burst(pilot, chat, "enter")
        await reply_ended(pilot, chat)
        sent = chat.session.path[0].content
        assert sent == (
            f"{draft}\n\nAttached file my notes.md:\n```markdown\none\ntwo\n```\n\n"
            "Attached file src/chat.py:\n```python\nprint('needle')\n```"
        )
        assert chat.engine.requests[-1].messages[-1].content == sent
        shown = "\n".join(screen_text(chat.app))
        assert "▸ my notes.md · 2 lines · 8 bytes" in shown
        assert "needle" not in shown

        rows = {chunk: chunk.rows[0] for chunk in chat.screen.query(MessageChunk) if chunk.rows}
        chips = [chunk for chunk, row in rows.items() if isinstance(row, AttachmentRow)]
        assert [row.source for row in rows.values() if isinstance(row, AttachmentRow)] == sent.split("\n\n")[
            1:
        ]
        await pilot.click(chips[0])
        assert re.search("▾ my notes.md.*\n.* one.*\n.* two", "\n".join(screen_text(chat.app)))
        await burst(pilot, chat, "/files", "enter")
        assert "needle" not in "\n".join(screen_text(chat.app)), "the open one is folded first"
        assert "▸ my notes.md" in "\n".join(screen_text(chat.app))
        await burst(pilot, chat, "/find-here needle", "enter")
        assert any("print('needle')" in line for line in screen_text(chat.app)), "a hit unfolds its file"

        chat.screen.show_updates([DraftReturned(sent, ErrorInfo(kind="busy", message="Not now."))])
        assert prompt.text == draft


async def test_what_is_typed_while_files_are_read_stays_and_a_second_enter_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ChatApp(tmp_path)
    is_answering = threading.Event()  # the disk
    read = attachments.attach_mentioned

    def read_late(draft: str) -> attachments.Attached:
        is_answering.wait(30)
        return read(draft)

    monkeypatch.setattr(attachments, "attach_mentioned", read_late)
    async with running(chat) as pilot:
        prompt = chat.screen.prompt
        prompt.set_draft("see @src/chat.py")
        prompt.action_send()
        await asyncio.sleep(0)
        prompt.write(" and more")
        prompt.action_send()
        is_answering.set()
        await until(pilot, lambda: bool(chat.session.path))
        await reply_ended(pilot, chat)
        await pilot.pause()
        assert [each.content[:16] for each in chat.session.path[::2]] == ["see @src/chat.py"]
        assert prompt.text == " and more"


async def test_a_pasted_path_asks_first(tmp_path: Path, folder: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        prompt, path = chat.screen.prompt, f"{folder}/my notes.md"
        await burst(pilot, chat, "in ", Paste(f"'{path}'"))
        assert [row.split("  ")[0] for row in offered(chat)] == ["Attach the file", "Keep as text"]
        await burst(pilot, chat, "down", "enter")
        assert (prompt.text, offered(chat)) == (f"in '{path}'", [])
        prompt.set_draft("")
        chat.screen.transcript.focus()
        await burst(pilot, chat, Paste(f"'{path}'"), "tab", "x")
        assert prompt.text == f'@"{path}" x'
        prompt.set_draft("hello old")
        prompt.focus()
        prompt.selection = Selection((0, 9), (0, 6))
        await burst(pilot, chat, Paste(f"{path}\n"), "tab")
        assert prompt.text == f'hello @"{path}" ', "also in place of words, and with the line's end"
        prompt.set_draft("")
        await burst(pilot, chat, Paste("no path at all"))
        assert offered(chat) == []
        await burst(pilot, chat, "ctrl+u", "/import ", Paste(path))
        assert offered(chat) == [], "a command attaches nothing"
