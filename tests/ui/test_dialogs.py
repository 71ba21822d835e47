"""The dialogs: each gives its result by keyboard and by mouse, Escape gives none, and all fit 60x20."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, RadioButton, RadioSet

from tests.size import sized
from tests.ui.chat_app import until
from tests.ui.shell_app import ShellApp, screen_text
from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.imports import ImportReport
from ttchat_tui.domain.prompt_template import PromptTemplate, Variable
from ttchat_tui.domain.text import visible
from ttchat_tui.models.library import ModelRow
from ttchat_tui.ui.screens.dialog import LEAST_BESIDE, Dialog, DialogBox
from ttchat_tui.ui.screens.help import HelpScreen
from ttchat_tui.ui.screens.import_files import ImportFiles
from ttchat_tui.ui.screens.model_picker import ModelPicker
from ttchat_tui.ui.screens.prompt_picker import PromptEntry, PromptPicker
from ttchat_tui.ui.screens.rename import Rename
from ttchat_tui.ui.screens.rest_of_reply import RestOfReply, _end_of
from ttchat_tui.ui.screens.save import SaveTranscript, Saving
from ttchat_tui.ui.screens.save_prompt import SavePrompt
from ttchat_tui.ui.screens.save_several import SaveSeveral
from ttchat_tui.ui.screens.template_form import TemplateForm
from ttchat_tui.ui.screens.theme_picker import ThemePicker

UNANSWERED = object()

MODELS = (
    ModelRow(name="smollm2-135m-instruct", path=Path("/m/small.gguf"), size_bytes=98_000_000),
    ModelRow(name="qwen3-0.6b", size_bytes=1_500_000_000),
    ModelRow(name="llama-3.1-8b-instruct", size_bytes=16_000_000_000, is_gated=True),
)

TEMPLATE = PromptTemplate(
    name="t",
    text="text\n" * 99,
    variables={"a": Variable(), "b": Variable(choices=("x", "y")), "c": Variable(default="")},
)

Act = Callable[[Pilot[None]], Awaitable[None]]


async def result_of(dialog: Dialog[Any], act: Act, size: tuple[int, int] = (60, 20)) -> object:
    results: list[object] = []
    app = ShellApp()
    async with app.run_test(size=size) as pilot:
        app.push_screen(dialog, results.append)
        await pilot.pause()
        await act(pilot)
        await pilot.pause()
    return results[0] if results else UNANSWERED


def pressing(*keys: str) -> Act:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press(*keys)

    return act


def clicking(selector: str | None, offset: tuple[int, int] = (0, 0)) -> Act:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.click(selector, offset=offset)

    return act


def saving(folder: Path, name: str, code_suffix: str = "") -> SaveTranscript:
    return SaveTranscript(
        folder, name, preview=lambda *chosen: lambda: f"{chosen}\n" * 99, code_suffix=code_suffix
    )


def every_dialog() -> list[Dialog[Any]]:
    return [
        Rename("A title"),
        saving(Path("/nowhere"), "a-title"),
        SaveSeveral(Path("/nowhere"), 3),
        ImportFiles(lambda file, report, is_dry_run: ImportReport()),
        ModelPicker(MODELS, "qwen3-0.6b"),
        ThemePicker(),
        HelpScreen({}),
        PromptPicker(
            "Prompts", lambda: [PromptEntry("x", "about", "text\n" * 99)] * 30, Path("/nowhere"), lambda: None
        ),
        TemplateForm(TEMPLATE),
        SavePrompt("Save", {"The draft": "text\n" * 99, "The system prompt": "x"}, lambda name: ""),
    ]


@pytest.mark.parametrize("act", [pressing("escape"), clicking(None, (0, 19))], ids=["escape", "click"])
async def test_escape_and_a_click_beside_the_box_give_no_result(act: Act) -> None:
    app = ShellApp()
    results: list[object] = []
    async with app.run_test(size=(60, 20)) as pilot:
        for dialog in every_dialog():
            app.push_screen(dialog, results.append)
            await pilot.pause()
            await act(pilot)
            await pilot.pause()
            assert results == [None], dialog
            results.clear()


async def test_every_dialog_is_whole_at_60_by_20() -> None:
    app = ShellApp()
    async with app.run_test(size=(60, 20)) as pilot:
        for dialog in every_dialog():
            app.push_screen(dialog)
            await pilot.pause()
            box, shown = dialog.query_one(DialogBox), "\n".join(screen_text(app))
            assert dialog.region.contains_region(box.region), dialog
            for field in dialog.query("Input, Button, RadioButton"):
                if all(each.display for each in field.ancestors_with_self):
                    assert box.region.contains_region(field.region), field
                    assert not isinstance(field, RadioButton) or str(field.label) in shown, field
            assert box.scrollbars_enabled == (False, False), dialog
            assert "esc closes" in shown, dialog
            app.pop_screen()


async def test_a_dialog_leaves_a_readable_part_of_the_chat_beside_it_or_nothing() -> None:
    """Also while the terminal is resized, and on both sides alike."""
    app = ShellApp()
    widths = (60, 80, 120, *range(62, 125, sized(7, 1)), 60)
    async with app.run_test(size=(60, 20)) as pilot:
        for dialog in every_dialog():
            if isinstance(dialog, ThemePicker):
                continue  # it shows the theme on the chat beside it
            await pilot.resize_terminal(60, 20)
            app.push_screen(dialog)
            await pilot.pause()
            box, seen = dialog.query_one(DialogBox), set[bool]()
            for width in widths:
                await pilot.resize_terminal(width, 20)
                await pilot.pause()
                left, right = box.region.x, width - box.region.right
                assert (left, right) == (0, 0) or min(left, right) >= LEAST_BESIDE, (dialog, width)
                seen.add(left > 0)
            assert seen == {False, True}, dialog
            app.pop_screen()


# --- rename


async def test_rename_offers_the_old_title_selected_and_gives_the_new_one_on_one_line() -> None:
    assert await result_of(Rename("Old"), pressing(*"New one ", "enter")) == "New one"
    assert await result_of(Rename("Old"), clicking("#rename")) == "Old"
    assert await result_of(Rename("Old\nwith a line \x1b[31m"), pressing("enter")) == "Old with a line"


async def test_a_blank_title_is_not_accepted() -> None:
    assert await result_of(Rename("Old"), pressing("backspace", "space", "enter")) is UNANSWERED


# --- save


async def test_save_suggests_a_markdown_file_of_the_given_name(tmp_path: Path) -> None:
    chosen = await result_of(saving(tmp_path, "mesh-devices-how"), pressing("enter"))
    assert chosen == Saving("markdown", tmp_path / "mesh-devices-how.md", "branch")


async def test_another_format_changes_the_ending(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        def marked() -> list[str]:
            return [line.split("●")[1].split()[0] for line in screen_text(pilot.app) if "●" in line]

        pilot.app.screen.query_one("#formats", RadioSet).focus()
        assert marked() == ["Branch", "Markdown"], "by more than its colour"
        await pilot.press("right", "right", "enter")
        assert marked() == ["Branch", "JSONL"]
        await pilot.click("#save")

    assert await result_of(saving(tmp_path, "a"), act) == Saving("jsonl", tmp_path / "a.jsonl", "branch")


async def test_an_unknown_suffix_is_reported_and_not_accepted(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        field = pilot.app.screen.query_one(Input)
        field.value = "~/notes.pdf"
        await pilot.press("enter")
        await until(pilot, lambda: any("Unknown format" in line for line in screen_text(pilot.app)))
        field.value = "~/notes.JSON"
        await pilot.press("enter")

    assert await result_of(saving(tmp_path, "a"), act) == Saving("json", Path.home() / "notes.JSON", "branch")


async def test_a_folder_that_will_be_created_is_announced(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        field = pilot.app.screen.query_one(Input)
        field.value = "new/talk.md"
        await pilot.pause()
        assert any("In a new folder: new" in line for line in screen_text(pilot.app))
        field.value = "new/"
        await pilot.press("enter")

    assert await result_of(saving(tmp_path, "a"), act) == Saving("markdown", Path("new/a"), "branch")


async def test_existing_names_and_folders_are_announced_and_a_blank_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.md").touch()

    async def act(pilot: Pilot[None]) -> None:
        assert any("gets a number" in line for line in screen_text(pilot.app))
        field = pilot.app.screen.query_one(Input)
        field.value = "  "
        await pilot.press("enter")
        await until(pilot, lambda: any("Enter the name" in line for line in screen_text(pilot.app)))
        field.value = str(tmp_path)
        await pilot.pause()
        assert any("Saves into this folder" in line for line in screen_text(pilot.app))
        await pilot.press("enter")

    assert await result_of(saving(tmp_path, "a"), act) == Saving("markdown", tmp_path, "branch")


async def test_the_preview_follows_what_is_chosen(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        assert any("('markdown', 'branch', True)" in line for line in screen_text(pilot.app))
        pilot.app.screen.query_one("#parts", RadioSet).focus()
        await pilot.press("right", "right", "enter")
        await pilot.pause()
        assert any("('markdown', 'message', True)" in line for line in screen_text(pilot.app))
        pilot.app.screen.query_one(Input).focus()
        await pilot.press("enter")

    assert await result_of(saving(tmp_path, "a"), act) == Saving("markdown", tmp_path / "a.md", "message")


async def test_all_branches_need_a_format_that_can_hold_them(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#parts", RadioSet).focus()
        await pilot.press("right", "enter")
        await pilot.pause()
        await pilot.pause()
        pilot.app.screen.query_one(Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: any("All branches need JSON" in line for line in screen_text(pilot.app)))
        pilot.app.screen.query_one("#formats", RadioSet).focus()
        await pilot.press("right", "enter")
        await pilot.pause()
        pilot.app.screen.query_one(Input).focus()
        await pilot.press("enter")

    assert await result_of(saving(tmp_path, "a"), act) == Saving("json", tmp_path / "a.json", "all")


async def test_a_code_block_is_saved_under_the_suffix_of_its_language(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#parts", RadioSet).focus()
        await pilot.press("left", "enter")
        await pilot.pause()
        assert pilot.app.screen.query_one("#formats").disabled
        pilot.app.screen.query_one(Input).focus()
        await pilot.press("enter")

    chosen = await result_of(saving(tmp_path, "a", ".py"), act)
    assert chosen == Saving("markdown", tmp_path / "a.py", "code")


async def test_json_can_have_recordings_and_nothing_else_can(tmp_path: Path) -> None:
    def choosing(*names: str) -> Act:
        async def act(pilot: Pilot[None]) -> None:
            buttons = {each.name: each for each in pilot.app.screen.query(RadioButton)}
            for name in names:
                buttons[name].value = True
                await pilot.pause()
            row, box = pilot.app.screen.query_one("#recordings"), pilot.app.screen.query_one(DialogBox)
            assert row.display == (names[-1] == "json")
            shown = "Input, Button, #recordings RadioButton" if row.display else "Input, Button"
            for field in pilot.app.screen.query(shown):
                assert box.content_region.contains_region(field.region), "at 60x20"
            pilot.app.screen.query_one(Input).focus()
            await pilot.press("enter")

        return act

    file = tmp_path / "a"
    for names, chosen in (
        (("json",), Saving("json", file.with_suffix(".json"))),
        (("json", "recorded", "json"), Saving("json", file.with_suffix(".json"), has_recordings=True)),
        (("json", "recorded", "timeline"), Saving("timeline", file.with_suffix(".trace"))),
        (("json", "recorded", "code"), Saving("json", file.with_suffix(".py"), "code")),
    ):
        assert await result_of(saving(tmp_path, "a", ".py"), choosing(*names)) == chosen


# --- models


async def test_the_model_picker_starts_on_the_present_one_and_shows_what_is_here() -> None:
    async def act(pilot: Pilot[None]) -> None:
        shown = screen_text(pilot.app)
        assert any(line.strip("│ ").startswith("▌ qwen3-0.6b") for line in shown)
        assert any("smollm2" in line and line.rstrip("│ ").endswith("here") for line in shown)
        assert any("llama" in line and line.rstrip("│ ").endswith("gated download") for line in shown)
        await pilot.press("enter")

    assert await result_of(ModelPicker(MODELS, "qwen3-0.6b"), act, size=(80, 24)) == "qwen3-0.6b"


async def test_arrows_move_while_typing_filters() -> None:
    assert await result_of(ModelPicker(MODELS, ""), pressing("down", "enter")) == "qwen3-0.6b"
    assert await result_of(ModelPicker(MODELS, ""), pressing(*"8b", "enter")) == "llama-3.1-8b-instruct"
    assert await result_of(ModelPicker(MODELS, ""), clicking("OptionList", (4, 1))) == "qwen3-0.6b"


async def test_a_name_that_is_not_listed_can_be_typed() -> None:
    assert await result_of(ModelPicker(MODELS, ""), pressing(*"org/x", "enter")) == "org/x"
    assert await result_of(ModelPicker((), ""), pressing("enter")) is UNANSWERED


@pytest.mark.parametrize("rows", [18, 20, 24, 50])
async def test_the_last_line_of_a_long_list_of_models_is_on_screen(rows: int) -> None:
    async def act(pilot: Pilot[None]) -> None:
        box = pilot.app.screen.query_one(DialogBox)
        assert box.content_region.contains_region(pilot.app.screen.query_one(".hint").region)
        assert not box.show_vertical_scrollbar

    many = tuple(ModelRow(name=f"model-{number}") for number in range(60))
    await result_of(ModelPicker(many, "model-59"), act, size=(60, rows))


@pytest.mark.parametrize("columns", [60, 80, 120])
async def test_a_model_has_one_line_with_its_size_and_state(columns: int) -> None:
    async def act(pilot: Pilot[None]) -> None:
        shown = screen_text(pilot.app)
        for name in ("smollm2-1.7b-instruct", "llama-3.1-8b-instruct"):
            line = next(line for line in shown if name in line)
            assert "16.00 GB  gated download" in line
        await pilot.resize_terminal(50, 20)
        await pilot.pause()
        assert any("16.00 GB  gated download" in line and "…" in line for line in screen_text(pilot.app))

    large = {"size_bytes": 16_000_000_000, "is_gated": True}
    names = ("smollm2-1.7b-instruct", "llama-3.1-8b-instruct", *(f"m{number}" for number in range(20)))
    await result_of(ModelPicker([ModelRow(name=n, **large) for n in names]), act, size=(columns, 20))


async def test_a_model_that_is_listed_twice_has_one_row() -> None:
    async def act(pilot: Pilot[None]) -> None:
        assert pilot.app.screen.query_one(OptionList).option_count == len(MODELS) + 1
        await pilot.press("down", "enter")

    twice = (*MODELS, *MODELS, ModelRow(name="", endpoint="lab"), ModelRow(name="", endpoint="lab"))
    assert await result_of(ModelPicker(twice, "qwen3-0.6b"), act) == "llama-3.1-8b-instruct"


# --- themes


async def theme_after(act: Act) -> tuple[str, object]:
    results: list[object] = []
    app = ShellApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.push_screen(ThemePicker(), results.append)
        await pilot.pause()
        await act(pilot)
        await pilot.pause()
        return app.theme, results[0] if results else UNANSWERED


async def test_moving_through_the_themes_previews_each_and_enter_keeps_it() -> None:
    assert await theme_after(pressing("down")) == ("tenstorrent-light", UNANSWERED)
    assert await theme_after(pressing("down", "enter")) == ("tenstorrent-light", "tenstorrent-light")
    assert await theme_after(clicking("OptionList", (3, 0))) == ("ansi-16", "ansi-16")


async def test_escape_brings_the_theme_from_before_back() -> None:
    assert await theme_after(pressing("down", "down", "escape")) == ("tenstorrent-dark", None)


async def test_the_picker_offers_the_apps_themes_not_textuals() -> None:
    async def act(pilot: Pilot[None]) -> None:
        names = {option.id for option in pilot.app.screen.query_one(OptionList).options}
        assert {"tenstorrent-dark", "paper"} <= names
        assert "textual-dark" not in names

    await theme_after(act)


async def test_the_save_dialog_has_its_buttons_in_view_with_everything_it_may_show(tmp_path: Path) -> None:
    long = tmp_path / "a folder that is new" / "and has a long name"
    dialog = SaveTranscript(long, "a", preview=lambda *chosen: lambda: "line\n" * 99, offers_thoughts=True)

    async def act(pilot: Pilot[None]) -> None:
        button = dialog.query_one("#save").region
        assert dialog.query_one(DialogBox).content_region.contains_region(button)
        dialog.query_one("#thoughts", RadioSet).focus()
        await pilot.press("right", "enter")
        await pilot.click("#save")

    chosen = await result_of(dialog, act)
    assert chosen == Saving("markdown", long / "a.md", has_thoughts=False)


async def test_enter_saves_from_the_choices_too_and_the_suffix_stays_in_view() -> None:
    app = ShellApp()
    results: list[Any] = []
    async with app.run_test(size=(60, 20)) as pilot:
        app.push_screen(
            saving(Path("/nowhere/of/mine"), "a-very-long-story-about-a-lighthouse"), results.append
        )
        await pilot.pause()
        await pilot.press("shift+tab", *["right"] * 5, "enter")
        shown = "\n".join(screen_text(app))
        assert results == [], "what is not chosen yet is chosen first"
        assert "a-very-long-story-about-a-lighthouse.trace " in shown
        await pilot.press("enter")
        await pilot.pause()
    assert [(each.format, each.target.suffix) for each in results] == [("timeline", ".trace")]


BEFORE: Final = {
    "a paragraph": "A clock that nobody had wound for years began to tick in the night. " * 20,
    "lines": "".join(f"step_{number} = {number}\n" for number in range(200)),
    "no blanks": "とけい" * 300,
    "control characters": "\x1b[31m\r\n" * 100 + "tick ",
    "nothing": "",
}


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
@pytest.mark.parametrize("kind", BEFORE)
async def test_what_is_before_the_words_that_are_written_is_shown_up_to_the_cursor(
    size: tuple[int, int], kind: str
) -> None:
    before = BEFORE[kind]
    app = ShellApp()
    async with app.run_test(size=size) as pilot:
        app.push_screen(RestOfReply(before.encode(), b" x", UiSettings()))
        await pilot.pause()
        await pilot.pause()
        rows = [line.strip("│ ") for line in screen_text(app)]
        (last,) = [row for row in rows if row.endswith("▏")]
        end = visible(before).rstrip("\n").splitlines()[-1].rstrip()[-5:] if before else ""
        assert end in f"{rows[rows.index(last) - 1]}{last}".replace("▏", "")
        assert any("Write what follows" in row for row in rows)
        assert any("enter: the model continues" in row for row in rows)
    first = _end_of(before).split()[:1]
    assert not first or kind != "a paragraph" or first[0].strip("…") in before.split()


def test_half_a_character_is_not_shown_before_what_is_to_be_written() -> None:
    assert RestOfReply("a fox 🦊".encode()[:-1], b"\x8a", UiSettings())._before == "a fox "
