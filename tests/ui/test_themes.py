"""Themes: shipped ones are readable everywhere, the user's override them, and broken ones are reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Static

from tests.ui.chat_app import ChatApp, running, until
from tests.ui.contrast import faintest, ratio, resolve
from ttchat_tui.config.paths import shipped
from ttchat_tui.config.schema import Config, UiSettings
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.ui import file_watch
from ttchat_tui.ui import themes as themes_module
from ttchat_tui.ui.themes import DEFAULT_THEME, ThemeError, load_themes, read_theme

SHIPPED, SHIPPED_ERRORS = load_themes([])

SURFACES = ("background", "surface", "panel")
TEXTS = (
    "foreground", "text", "text-muted", "primary", "secondary", "accent", "success", "warning", "error",
    "text-primary", "text-secondary", "text-accent", "text-success", "text-warning", "text-error",
)  # fmt: skip
PAIRS = (
    ("block-cursor-foreground", "block-cursor-background"),
    ("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
    ("footer-key-foreground", "footer-background"),
    ("footer-description-foreground", "footer-background"),
    ("footer-foreground", "footer-background"),
    ("foreground", "input-selection-background"),
    ("foreground", "block-cursor-blurred-background"),
    ("text-muted", "block-cursor-blurred-background"),
    ("button-color-foreground", "primary"),
    ("button-color-foreground", "error"),
)
"""Texts on other backgrounds than the three surfaces."""

ENOUGH = 4.5


async def test_a_highlighted_row_and_a_placeholder_are_readable_as_they_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
    chat = ChatApp(tmp_path)
    made = chat.store.create_conversation(title="one")
    chat.store.add_user_message(made.id, None, "Hi")
    async with running(chat, (80, 24)) as pilot:
        for theme in ("paper", "ansi-16-light"):
            chat.app.theme = theme
            await pilot.press("ctrl+f")
            field = chat.screen.query_one("FilterInput")
            assert faintest(chat.app, field, 0) > ENOUGH, theme
            await pilot.press("tab")
            rows = chat.screen.query_one("ConversationList")
            assert rows.has_focus
            assert faintest(chat.app, rows, 1) > ENOUGH, theme
            await pilot.press("ctrl+p")
            await pilot.pause()
            await until(pilot, lambda: bool(chat.app.screen.query("CommandList.--visible")))
            await pilot.pause()
            palette = chat.app.screen.query_one("CommandList")
            assert min(faintest(chat.app, palette, row) for row in (1, 2)) > ENOUGH, theme
            await pilot.press("escape", "escape")


@pytest.mark.parametrize(
    ("colours", "wanted", "shown"),
    [
        ("standard", "tenstorrent-dark", "ansi-16"),
        ("standard", "paper", "ansi-16-light"),
        ("standard", "ansi-16-light", "ansi-16-light"),
        ("256", "paper", "paper"),
    ],
)
def test_a_terminal_of_16_colours_begins_with_a_theme_of_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: str, wanted: str, shown: str
) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", colours)
    monkeypatch.delenv("NO_COLOR", raising=False)
    chat = ChatApp(tmp_path, ui_state=UiState(theme=wanted))
    assert chat.app.theme == shown
    chat.session.close()
    chat.store.close()


MINIMAL = """
name = "mine"
[colors]
primary = "#aabbff"
foreground = "#eeeeee"
background = "#101010"
"""


def by_name(name: str) -> Theme:
    return next(theme for theme in SHIPPED if theme.name == name)


def contrasts(theme: Theme) -> dict[tuple[str, str], float]:
    """Every text with each of its backgrounds, by the theme's resolved variables."""
    variables = theme.to_color_system().generate()
    paper = Color.parse("#000000" if theme.dark else "#ffffff")
    ink = Color.parse("#e5e5e5" if theme.dark else "#000000")

    def back(name: str) -> Color:
        found = resolve(
            "ansi_default" if variables[name] == "transparent" else variables[name], paper, default=paper
        )
        return paper.blend(found, found.a)

    def one(text: str, surface: str) -> float:
        # `input-selection-foreground: transparent` and the like keep the text's own colour.
        return ratio(resolve(variables[text], back(surface), default=ink), back(surface))

    pairs = [*((text, surface) for text in TEXTS for surface in SURFACES), *PAIRS]
    if theme.ansi:
        # With ANSI colours a selection sets both, and the coloured buttons are the terminal's reverse.
        skipped = {
            ("foreground", "input-selection-background"),
            *(p for p in PAIRS if p[0].startswith("button")),
        }
        pairs = [
            *(p for p in pairs if p not in skipped),
            ("input-selection-foreground", "input-selection-background"),
        ]
    return {pair: one(*pair) for pair in pairs}


def test_at_least_six_themes_are_shipped_with_a_light_a_high_contrast_and_an_ansi_one() -> None:
    names = {theme.name for theme in SHIPPED}
    assert SHIPPED_ERRORS == []
    assert len(names) >= 6
    assert {"tenstorrent-dark", "tenstorrent-light", "high-contrast", "ansi-16"} <= names
    assert DEFAULT_THEME in names


@pytest.mark.parametrize("theme", SHIPPED, ids=lambda theme: theme.name)
def test_every_text_has_a_contrast_of_4_5_on_its_background(theme: Theme) -> None:
    poor = {pair: round(value, 2) for pair, value in contrasts(theme).items() if value < ENOUGH}
    assert poor == {}


def test_high_contrast_reaches_7_on_its_surfaces() -> None:
    theme = by_name("high-contrast")
    assert {pair: round(v, 2) for pair, v in contrasts(theme).items() if pair[1] in SURFACES and v < 7} == {}


def test_the_contrast_check_finds_a_grey_that_cannot_be_read() -> None:
    pale = Theme(
        name="pale",
        primary="#aabbff",
        foreground="#eeeeee",
        background="#101010",
        variables={"text-muted": "#555555"},
    )
    assert contrasts(pale)["text-muted", "background"] < ENOUGH


@pytest.mark.parametrize("name", ["ansi-16", "ansi-16-light"])
def test_ansi_themes_name_only_the_terminals_own_colours(name: str) -> None:
    theme = by_name(name)
    colors = [
        theme.primary,
        theme.secondary,
        theme.accent,
        theme.foreground,
        theme.background,
        *(value for key, value in theme.variables.items() if not key.endswith("-style")),
    ]
    assert theme.ansi
    assert all(color and color.startswith("ansi_") for color in colors)


def test_a_users_theme_wins_over_a_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(MINIMAL.replace("mine", "paper"))
    themes, errors = load_themes([tmp_path])
    assert errors == []
    assert [theme.primary for theme in themes if theme.name == "paper"] == ["#aabbff"]


def test_a_missing_user_folder_is_no_error(tmp_path: Path) -> None:
    themes, errors = load_themes([tmp_path / "nowhere"])
    assert len(themes) == len(SHIPPED)
    assert errors == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("#aabbff", "bluu"), "colors.primary: 'bluu' is not a colour; write #rrggbb"),
        (("primary", "primry"), "colors: there is no key `primry`"),
        (('name = "mine"', ""), "the key `name` is missing"),
        (("mine", "My Theme"), "must be lower-case letters"),
        (('"#aabbff"', "7"), "colors.primary is a whole number, not text"),
        (("[colors]", "[colors"), "is not TOML"),
        (
            ("[colors]", '[variables]\ntext-mutd = "red"\n[colors]'),
            "variables.text-mutd: there is no such variable",
        ),
        (
            ("[colors]", '[variables]\ntext-muted = "#12"\n[colors]'),
            "variables.text-muted: '#12' is not a colour",
        ),
        (("[colors]", '[variables]\nborder = "redd"\n[colors]'), "variables.border: 'redd' is not a colour"),
        (
            ("[colors]", '[variables]\nborder = "red 6O%"\n[colors]'),
            "variables.border: 'red 6O%' is not a colour",
        ),
    ],
)
def test_a_broken_theme_is_one_line_with_file_path_and_cure_and_the_rest_loads(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(MINIMAL.replace(*change))
    themes, errors = load_themes([tmp_path])
    assert len(themes) == len(SHIPPED)
    assert [
        str(file) in str(error) and said in str(error) and "\n" not in str(error) for error in errors
    ] == [True]


def test_bytes_that_are_not_text_are_reported(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ThemeError, match="UTF-8"):
        read_theme(tmp_path / "own.toml")


def test_a_theme_with_a_wrong_key_names_a_file_that_shows_every_key(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(MINIMAL.replace("primary", "primery"))
    with pytest.raises(ThemeError) as caught:
        read_theme(tmp_path / "own.toml")
    example = str(caught.value).rpartition("; ")[2].removesuffix(" shows every key")
    assert read_theme(Path(example)).name == DEFAULT_THEME


def test_the_shipped_folder_holds_toml_files_only() -> None:
    assert {file.suffix for file in shipped("themes").iterdir()} == {".toml"}


async def test_a_broken_theme_file_is_named_on_screen_and_the_apps_own_theme_shown(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "themes"
    folder.mkdir(parents=True)
    (folder / "own.toml").write_text(MINIMAL.replace("primary", "primery"))
    chat = ChatApp(tmp_path, config=Config(ui=UiSettings(theme="mine")))
    async with running(chat):
        assert chat.app.theme == DEFAULT_THEME
        (said,) = chat.toasts()
        assert "own.toml" in said
        assert "primery" in said
        assert "There is no theme mine" in said


async def test_a_theme_made_while_the_app_runs_can_be_chosen_and_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = asyncio.Event()

    async def awatch(folder: Path, *, recursive: bool):
        await saved.wait()
        saved.clear()
        yield {folder}

    monkeypatch.setattr(file_watch.watchfiles, "awatch", awatch)
    chat = ChatApp(tmp_path)
    file = tmp_path / "config" / "themes" / "own.toml"
    async with running(chat) as pilot:
        file.parent.mkdir(parents=True)
        file.write_text(MINIMAL)
        chat.screen.prompt.set_draft("/theme mine")
        await pilot.press("enter")
        await pilot.pause()
        assert (chat.app.theme, chat.toasts()) == ("mine", [])
        file.write_text(MINIMAL.replace("#aabbff", "#abcdef"))
        saved.set()
        await until(pilot, lambda: chat.app.available_themes["mine"].primary == "#abcdef")


@pytest.mark.parametrize("command", ["/theme mine", "/theme"])
async def test_a_broken_theme_made_while_the_app_runs_says_why_it_is_missing(
    tmp_path: Path, command: str
) -> None:
    chat = ChatApp(tmp_path)
    file = tmp_path / "config" / "themes" / "mine.toml"
    async with running(chat) as pilot:
        file.parent.mkdir(parents=True)
        file.write_text(MINIMAL.replace("primary", "primery"))
        chat.screen.prompt.set_draft(command)
        await pilot.press("enter")
        await pilot.pause()
        (said,) = chat.toasts()
        assert "mine.toml" in said
        assert "primery" in said
        assert ("There is no theme mine." in said) == (command == "/theme mine")


async def test_a_missing_remembered_theme_is_reported(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, ui_state=UiState(theme="gone"))
    async with running(chat):
        assert chat.app.theme == DEFAULT_THEME
        assert chat.toasts() == ["There is no theme gone; tenstorrent-dark is used. /theme lists all themes."]


async def test_an_error_in_another_theme_is_reported_once_while_one_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config" / "themes"
    folder.mkdir(parents=True)
    saved: asyncio.Queue[None] = asyncio.Queue()

    async def awatch(*_: object, **__: object) -> AsyncIterator[set[Path]]:
        while True:
            await saved.get()
            yield {folder}

    monkeypatch.setattr(file_watch.watchfiles, "awatch", awatch)
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        (folder / "broken.toml").write_text("nothing")
        saved.put_nowait(None)
        await until(pilot, lambda: len(chat.toasts()) == 1)
        chat.app.clear_notifications()
        (folder / "own.toml").write_text(MINIMAL)
        saved.put_nowait(None)
        await until(pilot, lambda: "mine" in chat.app.available_themes)
        await pilot.pause()
        assert chat.toasts() == []


class WholeStyle(App[None]):
    """Every style sheet of the app, as it will read the themes' variables."""

    CSS_PATH = sorted((Path(themes_module.__file__).parent / "styles").glob("*.tcss"))


async def test_every_theme_defines_every_variable_that_the_style_sheets_use() -> None:
    app = WholeStyle()
    async with app.run_test(size=(40, 10)) as pilot:
        for theme in SHIPPED:
            app.register_theme(theme)
            app.theme = theme.name
            # An undefined variable ends the app with an error here.
            await pilot.pause()
            assert app.current_theme.name == theme.name


class Colourful(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.register_theme(by_name(DEFAULT_THEME))
        self.theme = DEFAULT_THEME

    def compose(self) -> ComposeResult:
        yield Static("one accent", id="text")

    def on_mount(self) -> None:
        self.query_one("#text").styles.color = "red"


async def is_coloured() -> bool:
    app = Colourful()
    async with app.run_test(size=(20, 3)):
        shown = app.query_one("#text").render_lines(app.query_one("#text").size.region)
        colors = [
            s.style.color.triplet
            for line in shown
            for s in line
            if s.style and s.style.color and s.style.color.triplet
        ]
        assert colors
        return any(len({c.red, c.green, c.blue}) > 1 for c in colors)


async def test_no_color_leaves_greys_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert await is_coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not await is_coloured()
