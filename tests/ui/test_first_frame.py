"""The start up to the first frame, and from there to the sidebars, while a person may already type."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.css.scalar import Scalar
from textual.css.stylesheet import Stylesheet
from textual.geometry import Region

from tests.ui.chat_app import ChatApp, running
from ttchat_tui.ui import deferred, style_sheets
from ttchat_tui.ui.screens.chat import ChatScreen

HEAVY = frozenset(
    {
        *("markdown_it", "pygments", "ttchat_tui.ui.markdown.document"),
        *("typer", "httpx", "zipfile"),
        *("ttchat_tui.models.prepare", "ttchat_tui.models.catalog", "ttchat_tui.models.fetch"),
    }
)
"""What only replies, the full command line and downloads need."""

START = """
import json, sys
from pathlib import Path
from ttchat_tui.cli import chat, main
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.screens.chat import ChatScreen

report, loaded = Path(sys.argv.pop()), {}
mount_sidebars, import_the_rest = ChatScreen._mount_sidebars, TtchatApp._import_the_rest

async def first_frame_is_out(screen):
    loaded["at the first frame"] = sorted(sys.modules)
    await mount_sidebars(screen)

async def rest_is_imported(app):
    await import_the_rest(app)
    loaded["soon after"] = sorted(sys.modules)
    report.write_text(json.dumps(loaded))
    app.exit()

ChatScreen._mount_sidebars = first_frame_is_out
TtchatApp._import_the_rest = rest_is_imported
chat.FIRST_FRAME_S = 60.0  # on a busy machine the first frame takes longer than the load of a model waits for it
main()
"""
"""The whole program, on no terminal and without an engine's libraries; it ends as soon as it is whole."""


def start(folder: Path) -> dict[str, set[str]]:
    """The modules that are loaded at two points of a start without arguments."""
    report = folder / "modules.json"
    environ = os.environ | {
        f"TTCHAT_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE")
    }
    environ |= {"TTCHAT_ENGINE": "remote", "TEXTUAL_DRIVER": "textual.drivers.headless_driver:HeadlessDriver"}
    with subprocess.Popen(
        [sys.executable, "-c", START, str(report)], env=environ, stdin=subprocess.PIPE
    ) as app:
        assert app.wait(timeout=60) == 0
    return {moment: set(names) for moment, names in json.loads(report.read_text()).items()}


def test_the_first_frame_waits_for_no_module_that_it_does_not_show(tmp_path: Path) -> None:
    loaded = start(tmp_path)
    deferred_modules = set(deferred.MODULES.values())
    assert "ttchat_tui.ui.widgets.prompt.prompt" in loaded["at the first frame"]
    assert loaded["at the first frame"] & (deferred_modules | HEAVY) == set()
    assert deferred_modules <= loaded["soon after"]


def test_type_checkers_see_the_modules_that_are_deferred() -> None:
    tree = ast.parse(inspect.getsource(deferred))
    imports = [
        node
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    ]
    seen = {name.asname: f"{node.module}.{name.name}" for node in imports for name in node.names}
    assert seen == deferred.MODULES


def test_a_deferred_module_is_the_module_and_an_unknown_name_raises() -> None:
    from ttchat_tui.ui.screens import help as imported

    assert deferred.help is imported
    with pytest.raises(AttributeError, match="no attribute 'hlep'"):
        deferred.hlep  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


async def test_no_style_sheet_is_parsed_twice_before_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[tuple[str, str]] = []
    parse_rules = Stylesheet._parse_rules
    mount_sidebars = ChatScreen._mount_sidebars

    def counted(
        sheet: Stylesheet, css: str, read_from: tuple[str, str], *args: object, **options: object
    ) -> object:
        key = (css, read_from, *args, *options.values())
        if key not in sheet._parse_cache:
            parsed.append(read_from)
        return parse_rules(sheet, css, read_from, *args, **options)  # type: ignore[arg-type]

    before: list[tuple[str, str]] = []

    async def first_frame_is_out(screen: ChatScreen) -> None:
        before.extend(parsed)
        await mount_sidebars(screen)

    monkeypatch.setattr(Stylesheet, "_parse_rules", counted)
    monkeypatch.setattr(ChatScreen, "_mount_sidebars", first_frame_is_out)
    chat = ChatApp(tmp_path)
    async with running(chat):
        sheets = [path for path, variable in before if not variable]
        assert len(sheets) == len(set(sheets)) > 0
        assert {str(path) for path in style_sheets.FIRST} <= set(sheets)
        assert {str(path) for path in style_sheets.LATER} & set(sheets) == set()
        assert all((str(path), "") in chat.app.stylesheet.source for path in style_sheets.LATER)


async def test_a_dialog_opened_before_the_sidebars_has_its_usual_style(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_sidebars = ChatScreen._mount_sidebars

    async def key_comes_first(screen: ChatScreen) -> None:
        await screen.app.push_screen(deferred.help.HelpScreen({}))
        await mount_sidebars(screen)

    monkeypatch.setattr(ChatScreen, "_mount_sidebars", key_comes_first)
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.pause()
        box = chat.app.screen.query_one("DialogBox")
        assert (box.styles.width, box.styles.border_top[0]) == (Scalar.parse("84"), "round")


async def test_keys_typed_before_the_sidebars_follow_the_stored_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_sidebars = ChatScreen._mount_sidebars
    before: list[str] = []

    async def typing_comes_first(screen: ChatScreen) -> None:
        before.append(screen.prompt.text)
        screen.prompt.insert(" and on")
        await mount_sidebars(screen)

    monkeypatch.setattr(ChatScreen, "_mount_sidebars", typing_comes_first)
    chat = ChatApp(tmp_path)
    chat.session.save_draft("kept from yesterday")
    async with running(chat):
        assert before == ["kept from yesterday"]
        assert chat.screen.prompt.text == "kept from yesterday and on"


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_nothing_jumps_when_the_sidebars_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    mount_sidebars, lay_out = ChatScreen._mount_sidebars, ChatScreen._refresh_layout
    regions: list[Region] = []

    async def first_frame_is_out(screen: ChatScreen) -> None:
        regions.append(screen.prompt.region)
        await mount_sidebars(screen)

    def laid_out(screen: ChatScreen, *args: Any, **options: Any) -> None:
        lay_out(screen, *args, **options)
        if regions:
            regions.append(screen.prompt.region)

    monkeypatch.setattr(ChatScreen, "_mount_sidebars", first_frame_is_out)
    monkeypatch.setattr(ChatScreen, "_refresh_layout", laid_out)
    chat = ChatApp(tmp_path)
    async with running(chat, (width, 30)):
        assert len(regions) > 1
        assert len(set(regions)) == 1


async def test_keys_for_the_sidebars_may_come_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_sidebars = ChatScreen._mount_sidebars

    async def keys_come_first(screen: ChatScreen) -> None:
        for action in ("next_conversation", "focus_history", "focus_sampling", "new", "toggle_sampling"):
            await screen.run_action(action)
        await mount_sidebars(screen)

    monkeypatch.setattr(ChatScreen, "_mount_sidebars", keys_come_first)
    chat = ChatApp(tmp_path)
    async with running(chat):
        assert chat.screen.is_whole


async def test_the_screen_reports_when_it_is_ready(tmp_path: Path) -> None:
    stood: list[bool] = []
    chat = ChatApp(tmp_path)
    chat.app.services.on_screen_ready = lambda: stood.append(chat.screen.is_whole)
    async with running(chat):
        assert stood == [True]
