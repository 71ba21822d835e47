"""The form of replies: set by command, shown in the panel, kept with the conversation, refused where nothing can follow it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from tests.fakes import UNFOLLOWED, Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.test_elsewhere import shown
from ttchat_tui.domain.constraint import MOST_CHARACTERS, Constraint, ConstraintKind
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.ui.services import Resume
from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel


async def test_a_constraint_is_set_by_command_and_shown_until_it_is_taken_out(tmp_path: Path) -> None:
    able = Capabilities().sampling | {"constraint"}
    chat = ChatApp(tmp_path, Script(honours=able))
    async with running(chat) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        assert not panel._constraint.display
        await pilot.press(*"/constrain regex [0-9]+", "enter")
        assert chat.session.sampling.constraint == Constraint("regex", "[0-9]+")
        await until(pilot, lambda: panel._constraint.display)
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
        chat.screen.command_constrain(f"regex {long}")
        await pilot.press(*"count")
        await until(pilot, lambda: "tok ─╯" in shown(chat).splitlines()[-2])
        border = shown(chat).splitlines()[-2]
        whole = r"╰─ regex \(yes\|no\|perhaps\|certainly\S*… · \S+ / 256 tok ─╯"
        assert re.search(whole, border), "it uses the room, and the token count stays beside it"
        await pilot.press("enter")
        await reply_ended(pilot, chat)
        assert "─ regex (yes|no|perhaps|certainly" in shown(chat)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "regex" not in shown(chat).splitlines()[-2])


@pytest.mark.parametrize("expression", ["a", "(yes|no|perhaps|certainly)", "漢字" * 40, "\x1b[31m\u202e"])
async def test_however_narrow_the_count_of_tokens_is_whole_beside_the_constraint(
    tmp_path: Path, expression: str
) -> None:
    chat = ChatApp(tmp_path, Script(honours=Capabilities().sampling | {"constraint"}))
    async with running(chat, (80, 20)) as pilot:
        chat.screen.command_constrain(f"regex {expression}")
        await settle(pilot, chat)
        chat.screen.prompt.set_attachments("12 files")
        chat.screen.prompt.set_token_hint("9 / 256 tok")
        for width in (*range(37, 80, 3), 37):
            await pilot.resize_terminal(width, 20)
            await until(pilot, lambda: shown(chat).splitlines()[-2].endswith(" · 12 files · 9 / 256 tok ─╯"))
            assert "─ regex" in shown(chat).splitlines()[-2]
        chat.screen.prompt.set_attachments("12 files", "nothing.py: no such file, sent as text")
        for width in range(46, 80, 5):
            await pilot.resize_terminal(width, 20)
            await until(pilot, lambda: shown(chat).splitlines()[-2].endswith(" · 9 / 256 tok ─╯"))
            assert re.search("─ regex.* · 12 files · nothi", shown(chat).splitlines()[-2])


async def test_choices_are_shown_as_they_are_typed_and_refused_ones_stay_in_the_prompt(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("no",), honours=Capabilities().sampling | {"constraint"}))
    async with running(chat) as pilot:
        await pilot.press(*'/constrain choices yes,"no, thanks"', "enter")
        await until(pilot, lambda: '─ choices yes, "no, thanks" ─' in shown(chat).splitlines()[-2])
        assert 'Constraint: choices yes, "no, thanks", from the next reply on.' in chat.toasts()
        await pilot.press(*"/constrain choices yes,yes", "enter")
        refusal = "/constrain: choices 1 and 2 are the same: take one out."
        await until(pilot, lambda: refusal in chat.toasts()[-1])
        assert chat.screen.prompt.text == "/constrain choices yes,yes"
        chat.screen.prompt.set_draft("")
        await pilot.press(*"well?", "enter")
        await reply_ended(pilot, chat)
        stored = chat.session.path[-1].reply
        assert stored is not None
        assert stored.sampling is not None
        assert stored.sampling.constraint == Constraint("choices", 'yes,"no, thanks"')
    able = Script(honours=Capabilities().sampling | {"constraint"})
    again = ChatApp(tmp_path, able, resume=Resume({}))
    async with running(again) as pilot:
        await until(pilot, lambda: '─ choices yes, "no, thanks" ─' in shown(again).splitlines()[-2])


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
        chat.screen.command_constrain("choices a,b")
        await until(pilot, lambda: "scripted cannot constrain a reply by choices.\n" in chat.toasts()[-1])


def ways(chat: ChatApp, kind: str) -> dict[str, Callable[[], object]]:
    """What a user does to set a constraint that cannot be followed, from the content of a file or typed."""
    constraint = {"kind": kind, "text": f"{UNFOLLOWED},no"}
    library = chat.screen.library
    library.presets_dir.mkdir(parents=True, exist_ok=True)
    preset = (
        f"[sampling]\ntemperature = 0.1\nconstraint = {{ kind = '{kind}', text = '{constraint['text']}' }}\n"
    )
    (library.presets_dir / "bad.toml").write_text(preset)
    library.read()
    file = chat.screen.services.paths.data_dir / "form.txt"
    file.write_text(f'{{"title": "{UNFOLLOWED}"}}' if kind == "json-schema" else UNFOLLOWED)
    typed = constraint["text"] if kind in ("choices", "regex") else file
    return {
        "command": lambda: chat.screen.command_constrain(f"{kind} {typed}"),
        "preset": lambda: chat.screen.command_preset("bad"),
        "panel": lambda: chat.screen.on_sampling_panel_preset_chosen(SamplingPanel.PresetChosen("bad")),
    }


@pytest.mark.parametrize("way", ["command", "preset", "panel"])
@pytest.mark.parametrize("kind", get_args(ConstraintKind))
async def test_one_that_cannot_be_followed_is_nowhere_said_to_be_set(
    tmp_path: Path, way: str, kind: str
) -> None:
    chat = ChatApp(tmp_path, Script(honours=Capabilities().sampling | {"constraint"}))
    async with running(chat, (120, 40)) as pilot:
        chat.screen.command_constrain("regex [0-9]+")
        await until(pilot, lambda: "─ regex [0-9]+ ─" in shown(chat))
        before = len(chat.toasts())
        ways(chat, kind)[way]()
        await until(pilot, lambda: any("cannot be used" in each for each in chat.toasts()))
        said = "\n".join(chat.toasts()[before:])
        assert said.count("cannot be used") == 1
        assert "regex [0-9]+ stays." in said
        assert f"Constraint: {kind}" not in said
        assert UNFOLLOWED not in said
        assert "─ regex [0-9]+ ─" in shown(chat)
        assert chat.session.sampling.constraint == Constraint("regex", "[0-9]+")
        chat.screen.prompt.clear_draft()
        await pilot.press(*"hello", "enter")
        await reply_ended(pilot, chat)


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00\x01", b"x" * (MOST_CHARACTERS + 1)])
@pytest.mark.parametrize("kind", ["json-schema", "grammar"])
async def test_a_file_that_cannot_be_read_leaves_the_constraint_before(
    tmp_path: Path, kind: str, content: bytes | None
) -> None:
    chat = ChatApp(tmp_path, Script(honours=Capabilities().sampling | {"constraint"}))
    async with running(chat) as pilot:
        chat.screen.command_constrain("regex [0-9]+")
        await until(pilot, lambda: "Constraint: regex [0-9]+, from the next reply on." in chat.toasts())
        file = tmp_path / "form"
        if content is not None:
            file.write_bytes(content)
        chat.screen.command_constrain(f"{kind} {file}")
        await until(pilot, lambda: str(file) in chat.toasts()[-1])
        assert chat.session.sampling.constraint == Constraint("regex", "[0-9]+")


async def test_while_the_model_loads_it_is_said_when_it_is_checked(tmp_path: Path) -> None:
    gate = Gate()
    gate.release(4)
    able = Capabilities().sampling | {"constraint"}
    chat = ChatApp(tmp_path, Script(honours=able, stepped_load=True), gate)
    async with running(chat) as pilot:
        chat.screen.action_reload_model()
        await until(pilot, lambda: chat.session.engine_state == "loading")
        chat.screen.command_constrain(f"regex {UNFOLLOWED}")
        checked = f"Constraint: regex {UNFOLLOWED}. It is checked when a model is loaded."
        await until(pilot, lambda: checked in chat.toasts())
        gate.open()
        await until(pilot, lambda: "The regex cannot be used." in chat.toasts()[-1])
        assert "Replies have any form." in chat.toasts()[-1]
        assert chat.session.sampling.constraint is None


async def test_a_message_that_comes_too_early_returns_and_the_next_one_is_answered(tmp_path: Path) -> None:
    gate = Gate()
    gate.release(4)
    able = Capabilities().sampling | {"constraint"}
    chat = ChatApp(tmp_path, Script(replies=("Hi.",), honours=able, stepped_load=True), gate)
    async with running(chat) as pilot:
        chat.screen.action_reload_model()
        await until(pilot, lambda: chat.session.engine_state == "loading")
        chat.screen.command_constrain(f"regex {UNFOLLOWED}")
        await pilot.press(*"hello", "enter")
        gate.release(4)
        await until(pilot, lambda: chat.screen.prompt.text == "hello")
        await until(pilot, lambda: chat.toasts()[-1] == "Replies have any form.")
        assert sum("cannot be used" in each for each in chat.toasts()) == 1
        assert UNFOLLOWED not in shown(chat).splitlines()[-2]
        await pilot.press("enter")
        await reply_ended(pilot, chat)
        assert [each.content for each in chat.session.path] == ["hello", "Hi."]
