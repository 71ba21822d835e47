"""Every command that lists something: a heading over each column, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.fakes import Script
from tests.session.test_chat import Chat
from ttchat_tui.cli import tables
from ttchat_tui.cli.main import app
from ttchat_tui.models import hub_search
from ttchat_tui.models.hub_search import HubModel

LISTINGS = {
    "export --list": ("number", "updated", "messages", "title"),
    "replay --list": ("number", "written", "model", "engine", "tokens", "begins", "last"),
    "models list": ("model", "state", "size", "parameters", "context", "licence", "source"),
    "models search": ("size", "weights", "model"),
    "prompts list": ("name", "kind", "variables", "description"),
    "presets list": ("name", "gives", "description"),
}
ARGUMENTS = {"models search": ("qwen",)}


def commands(group: Any, *names: str) -> Iterator[str]:
    """Those that list something, by their names or their flag."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        elif name in ("list", "search"):
            yield " ".join((*names, name))
        elif any("--list" in parameter.opts for parameter in command.params):
            yield " ".join((*names, name, "--list"))


def test_every_listing_is_tested_here() -> None:
    assert set(commands(typer.main.get_command(app))) == LISTINGS.keys()


@pytest.fixture
def run(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Something to list: two replies, of which one is the last, a template, a model of the hub."""
    chat = Chat(own_folders / "data" / "conversations.db", Script())
    chat.ask("One.")
    chat.ask("Two\tor three.")
    chat.close()
    (own_folders / "config" / "prompts").mkdir(parents=True)
    (own_folders / "config" / "prompts" / "review.md").write_text(
        '+++\ndescription = "Review"\n[variables.code]\ndescription = "what"\n+++\n{{code}}\n'
    )
    hits = [HubModel("org/a:Q4_K_M", "Q4_K_M", 98_000_000), HubModel("org/b", "", 0)]
    monkeypatch.setattr(hub_search, "search", lambda *_: iter(hits))
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize("command", LISTINGS)
def test_each_column_has_a_heading_and_json_has_the_same_rows(
    run: Callable[..., Result], command: str
) -> None:
    arguments = (*command.split(), *ARGUMENTS.get(command, ()))
    listed = run(*arguments)
    assert listed.exit_code == 0
    head, *rows = listed.stdout.splitlines()
    assert tuple(head.split("\t" if "\t" in head else None)) == LISTINGS[command]
    assert rows
    if "\t" in head:
        assert {row.count("\t") for row in rows} == {head.count("\t")}
    found = json.loads(run(*arguments, "--output", "json").stdout)
    assert len(found) == len(rows)
    assert len({tuple(each) for each in found}) == 1, "every object has the same fields"


@pytest.mark.parametrize("command", LISTINGS)
def test_json_of_nothing_is_an_empty_array_or_what_is_built_in(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(hub_search, "search", lambda *_: iter(()))
    done = CliRunner().invoke(app, [*command.split(), *ARGUMENTS.get(command, ()), "--output", "json"])
    assert (done.exit_code, type(json.loads(done.stdout))) == (0, list)


def test_the_reply_that_last_means_is_marked(run: Callable[..., Result]) -> None:
    found = json.loads(run("replay", "--list", "--output", "json").stdout)
    assert [each["is_last"] for each in found] == [True, False]
    rows = run("replay", "--list").stdout.splitlines()[1:]
    assert [row.split("\t")[6] for row in rows] == ["last", ""]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("replay", "--list", "--precision", "fp32"), "--list: it loads no model"),
        (("replay", "--list", "-m", "x"), "--list: it loads no model"),
        (("export", "--list", "--format", "json"), "--format: with --list it is --output"),
        (("export", "--output", "json"), "--output: it is for --list"),
    ],
)
def test_a_flag_that_would_have_no_effect_is_refused(arguments: tuple[str, ...], named: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in " ".join(done.stderr.split())


def test_a_row_has_as_many_cells_as_there_are_heads() -> None:
    for write in (tables.write_tabbed, tables.write_aligned):
        with pytest.raises(ValueError, match="zip"):
            write(("one", "two"), [("1", "2"), ("1", "2", "3")])
