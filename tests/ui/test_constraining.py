"""The form of replies: set by command, shown in the panel, kept with the conversation, refused where nothing can follow it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.test_elsewhere import shown
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.model_spec import Capabilities


async def test_a_constraint_is_set_by_command_and_shown_until_it_is_taken_out(tmp_path: Path) -> None:
    able = Capabilities().sampling | {"constraint"}
    chat = ChatApp(tmp_path, Script(honours=able))
    async with running(chat) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        assert not panel._constraint.display
        await pilot.press(*"/constrain regex [0-9]+", "enter")
        assert chat.session.sampling.constraint == Constraint("regex", "[0-9]+")
        assert panel._constraint.display
        assert str(panel._constraint.render()) == "regex [0-9]+"
        assert str(chat.screen.prompt.border_subtitle) == "regex [0-9]+"
        assert "Constraint: regex [0-9]+, from the next reply on." in chat.toasts()
        await pilot.press(*"/constrain json-schema /missing", "enter")
        refusal = "/constrain: /missing cannot be read: No such file or directory."
        await until(pilot, lambda: refusal in chat.toasts()[-1])
        assert chat.session.sampling.constraint is not None
        chat.screen.prompt.set_draft("")
        await pilot.press(*"/constrain off", "enter")
        assert chat.session.sampling.constraint is None
        assert not panel._constraint.display
        assert not chat.screen.prompt.border_subtitle


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_where_one_writes_the_constraint_of_the_conversation_is_named(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    long = "(yes|no|perhaps|certainly|never)\x1b[31m"
    chat = ChatApp(tmp_path, Script(honours=Capabilities().sampling | {"constraint"}))
    async with running(chat, size) as pilot:
        chat.screen._constrain(Constraint("regex", long))
        await pilot.press(*"count")
        await until(pilot, lambda: "tok ─╯" in shown(chat).splitlines()[-2])
        border = shown(chat).splitlines()[-2]
        assert "─ regex (yes|no|perhaps|c… · " in border, "the token count stays beside it"
        await pilot.press("enter")
        await reply_ended(pilot, chat)
        assert "─ regex (yes|no|perhaps|c… ─" in shown(chat)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "regex" not in shown(chat).splitlines()[-2])


@pytest.mark.parametrize("expression", ["a", "(yes|no|perhaps|certainly)", "漢字" * 40, "\x1b[31m\u202e"])
async def test_however_narrow_the_count_of_tokens_is_whole_beside_the_constraint(
    tmp_path: Path, expression: str
) -> None:
    chat = ChatApp(tmp_path, Script(honours=Capabilities().sampling | {"constraint"}))
    async with running(chat, (80, 20)) as pilot:
        chat.screen._constrain(Constraint("regex", expression))
        await settle(pilot, chat)
        chat.screen.prompt.set_attachments("12 files")
        chat.screen.prompt.set_token_hint("9 / 256 tok")
        for width in (*range(37, 80, 3), 37):
            await pilot.resize_terminal(width, 20)
            await until(pilot, lambda: shown(chat).splitlines()[-2].endswith(" · 12 files · 9 / 256 tok ─╯"))
            assert "─ regex" in shown(chat).splitlines()[-2]


async def test_an_engine_without_constraints_is_named(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"/constrain regex a", "enter")
        assert chat.session.sampling.constraint is None
        assert "cannot constrain replies." in chat.toasts()[-1]
        able = Capabilities(
            sampling=Capabilities().sampling | {"constraint"}, constraints=frozenset({"json-schema"})
        )
        chat.session._host._loads.set_capabilities(able)
        chat.screen.command_constrain("regex a")
        await pilot.pause()
        assert chat.session.sampling.constraint is None
        assert (
            "scripted cannot constrain a reply by a regex.\nIt takes json-schema; in-process engines take all."
            in chat.toasts()[-1]
        )
        assert [name for name, _ in chat.screen.choices_constrain()] == ["json-schema ", "off"]
