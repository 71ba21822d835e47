"""README and docs say what is true: the key table is the action table, linked files and commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from textual.binding import Binding
from typer.testing import CliRunner

from ttchat_tui.cli.main import app
from ttchat_tui.domain.sampler_rules import RULES
from ttchat_tui.storage.export_recording import FileRecording, FileToken
from ttchat_tui.ui.commands import TABLE, keys_of
from ttchat_tui.ui.keys import key_label
from ttchat_tui.ui.screens.inspector import InspectorScreen
from ttchat_tui.ui.widgets.inspector.token_text import TokenText

ROOT = Path(__file__).parents[1]


def table_of(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Markdown."""
    head, *lines = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join((head, f"|{'---|' * len(heads)}", *lines))


def test_the_docs_have_the_table_of_actions_and_that_of_the_samplers_rules() -> None:
    """A failure shows the table that belongs into the page."""
    actions = (
        (
            " ".join(f"`{key_label(key)}`" for key in keys_of(action, {})),
            f"`{action.usage}`" if action.slash else "",
            action.help,
        )
        for action in TABLE
    )
    rules = (
        (str(number), rule.name, ", ".join(f"`{field}`" for field in rule.fields), rule.effect)
        for number, rule in enumerate(RULES, 1)
    )
    for page, heads, rows in (
        ("using.md", ("key", "command", "what it does"), actions),
        ("sampling.md", ("", "rule", "setting", "effect"), rules),
    ):
        table = table_of(heads, rows)
        assert table in (ROOT / "docs" / page).read_text(encoding="utf-8"), table


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_file_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert missing == []


def test_the_page_on_recordings_names_every_field_in_its_order() -> None:
    page = (ROOT / "docs" / "recordings.md").read_text("utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert named == [*FileRecording.__struct_fields__, *FileToken.__struct_fields__]


def test_the_keys_of_the_inspector_are_explained() -> None:
    (about,) = re.findall(
        r"^- \*\*Inspector\*\* .*?(?=^- )",
        (ROOT / "docs" / "using.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    own = (*InspectorScreen.BINDINGS, *TokenText.BINDINGS)
    bindings = [each for each in own if isinstance(each, Binding)]
    keys = {key_label(each.key.partition(",")[0]) for each in bindings}
    arrows = {key for key in keys if key in ("←", "→", "↑", "↓")}
    assert len(arrows) == 4
    assert "the arrows" in about
    missing = {key for key in keys - arrows if f"`{key}`" not in about}
    assert missing <= {"pgup", "pgdn", "home", "end"}, "these are the same everywhere"


def test_every_flag_and_subcommand_they_show_exists() -> None:
    lines = [line for page in PAGES for line in page.read_text("utf-8").splitlines()]
    shown = "\n".join(line.split("  #")[0] for line in lines if line.startswith(("ttchat-tui", "git diff")))
    known = CliRunner().invoke(app, ["--help"]).output
    for command in ("export", "import", "models", "serve"):
        known += CliRunner().invoke(app, [command, "--help"]).output
    flags = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown))
    assert flags
    assert {flag for flag in flags if flag not in known} == set()
