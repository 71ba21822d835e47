"""Many conversations kept in order with keys: chosen in the list, tagged, pinned, archived, saved, deleted, brought back."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Button, Input

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, paths_in, running, until
from tests.ui.shell_app import screen_text
from ttchat_tui.storage.opening import open_store
from ttchat_tui.ui.commands import BY_NAME
from ttchat_tui.ui.screens.rename import Rename
from ttchat_tui.ui.screens.save_several import SaveSeveral
from ttchat_tui.ui.screens.tags import TagDialog
from ttchat_tui.ui.widgets.history.groups import GroupRow


def rows(chat: ChatApp) -> list[str]:
    """The list: headers, and titles with their tags."""
    assert chat.screen.history_panel is not None
    shown = chat.screen.history_panel.conversations.rows
    return [row.title if isinstance(row, GroupRow) else " ".join((row.title, *row.tags)) for row in shown]


async def test_conversations_are_kept_in_order_with_the_keyboard(tmp_path: Path) -> None:
    store = open_store(paths_in(tmp_path).database)
    for title in ("one", "two", "three"):
        store.add_user_message(store.create_conversation(title=title).id, None, title)
    store.retag([1], add=["rust"])
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("Four",), stepped=True), gate, store=store)
    async with running(chat) as pilot:
        panel = chat.screen.history_panel
        assert panel is not None

        # Two are chosen and tagged; the known tag is completed.
        await pilot.press("ctrl+f", "down", "home", "space", "space", "alt+g")
        assert isinstance(chat.app.screen, TagDialog)
        await pilot.press(*"new ru", "tab")
        assert chat.app.screen.query_one(Input).value == "new rust "
        await pilot.press("enter")
        assert rows(chat) == ["Today", "three new rust", "two new rust", "one rust"]
        assert chat.toasts()[-1] == "2 conversations are tagged new, rust."

        # They stay chosen, also in another order: what they share is offered and can be taken away.
        await pilot.press("alt+p")
        assert rows(chat) == ["Pinned", "three new rust", "two new rust", "Today", "one rust"]
        assert panel.border_subtitle == "2 chosen"
        assert "alt+z archive" in " ".join(screen_text(chat.app)[-1].split())

        # Away from the list the keys are for the open conversation, and say that the chosen ones are left alone.
        await pilot.press("x", "alt+p")
        assert chat.toasts()[-1].startswith("This conversation has no message"), "none is open"
        assert "archive" not in screen_text(chat.app)[-1]
        chat.screen.open_conversation(1)
        await pilot.press("alt+p")
        assert chat.toasts()[-1] == (
            "“one” is pinned; the 2 chosen are not, since the focus is not in the list."
        )
        await pilot.press("alt+p", "backspace")
        chat.screen.action_new()
        await pilot.press("ctrl+f", "down")
        assert panel.border_subtitle == "2 chosen"
        await pilot.press("alt+g")
        await pilot.press("ctrl+u", *"new", "enter")
        assert rows(chat) == ["Pinned", "three new", "two new", "Today", "one rust"]
        assert chat.toasts()[-1] == "2 conversations are no longer tagged rust."
        await pilot.press("alt+p", "escape")

        # One is pinned, and the cursor goes with it; another archived and found again.
        await pilot.press("end", "alt+p")
        assert rows(chat) == ["Pinned", "one rust", "Today", "three new", "two new"]
        assert panel.conversations.highlighted_id == 1
        assert chat.toasts()[-1] == "“one” is pinned."
        await pilot.press("end", "alt+z")
        await chat.screen.run_command(BY_NAME["show_archived"], "")
        await pilot.pause()
        assert rows(chat) == ["Today", "two new"]
        await pilot.press("down", "asterisk", "alt+z")
        assert rows(chat) == []
        assert panel.filter_input.has_focus, "the empty list is hidden"
        await pilot.press("escape")
        assert rows(chat) == ["Pinned", "one rust", "Today", "three new", "two new"]
        assert chat.screen.prompt.has_focus

        # Several are archived, and one undo takes that back. Escape in the list returns from the archived to the others.
        await pilot.press("ctrl+f", "down", "end", "shift+up", "alt+z")
        assert rows(chat) == ["Pinned", "one rust"]
        assert chat.toasts()[-1].startswith("2 conversations are archived. /undo takes it back")
        await chat.screen.run_command(BY_NAME["show_archived"], "")
        await pilot.press("down", "escape")
        assert rows(chat) == ["Pinned", "one rust"]
        assert chat.screen.prompt.has_focus
        await chat.screen.run_command(BY_NAME["undo_delete"], "")
        await pilot.pause()
        assert rows(chat) == ["Pinned", "one rust", "Today", "three new", "two new"]
        assert chat.toasts()[-1] == "2 conversations are back in the list."

        # Filtered by tag, saved, deleted, and brought back by one undo.
        await pilot.press("ctrl+f", *"tag:new t", "down", "asterisk", "ctrl+s")
        assert isinstance(chat.app.screen, SaveSeveral)
        await pilot.press("enter")
        folder = chat.paths.exports_dir
        await until(pilot, lambda: len(list(folder.glob("*.md"))) == 2)
        await until(pilot, lambda: "saved in" in chat.toasts()[-1])
        assert panel.border_subtitle == "2 chosen"
        await pilot.press("delete", "delete")
        assert rows(chat) == []
        await chat.screen.run_command(BY_NAME["undo_delete"], "")
        await pilot.pause()
        assert chat.toasts()[-1] == "2 conversations are back."
        panel.clear_filter()
        await pilot.pause()
        assert rows(chat) == ["Pinned", "one rust", "Today", "three new", "two new"]

        # Slash commands are for the open conversation; the model names it.
        await chat.screen.run_command(BY_NAME["tags"], "a, #b")
        assert chat.screen.choices_tags()[0] == ("new", "")
        assert {tag for tag, _ in chat.screen.choices_untag()} == {"new", "a", "b"}
        await chat.screen.run_command(BY_NAME["untag"], "a new")
        assert "three b" in rows(chat)
        await chat.screen.run_command(BY_NAME["rename"], "")
        await pilot.pause()
        assert isinstance(chat.app.screen, Rename)
        chat.app.screen.query_one("#ask", Button).press()
        await until(pilot, lambda: "writing the title" in screen_text(chat.app)[0])
        assert chat.screen.escape_does() == "stop"
        gate.open()
        await until(pilot, lambda: "Four b" in rows(chat))
        await until(pilot, lambda: "writing" not in screen_text(chat.app)[0])
