"""A message about a setting names it as the user gave it: by its flag, its variable, or its place in the file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

import ttchat_tui
from ttchat_tui.cli.main import app
from ttchat_tui.config.describe import _find  # pyright: ignore[reportPrivateUsage]
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import given as given_by
from ttchat_tui.config.load import load_config, place_of
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.schema import config_type
from ttchat_tui.config.setting_names import FLAGS, SettingSource, flag_of, named_as_given
from ttchat_tui.engine.factory import ENGINES

SETTINGS = [
    f"{section}.{name}"
    for section in config_type().__struct_fields__
    for name in getattr(getattr(config_type()(), section), "__struct_fields__", ())
]
OF_ENGINES = {f"{kind}.{flag.option}": flag_of(f"{kind}.{flag.option}")
              for kind, engine in ENGINES.items() for flag in engine.flags}  # fmt: skip
NUMBERS = [
    setting
    for setting in (*FLAGS, *OF_ENGINES)
    if isinstance(_find(setting.split(".")), (inspect.IntType, inspect.FloatType))
]
VALUES = st.sampled_from(("", "host", "q8", "true", "3", "0.5", "http://127.0.0.1:8000/v1"))


def commands(group: Any) -> Iterator[Any]:
    yield group
    for command in getattr(group, "commands", {}).values():
        yield from commands(command)


def test_every_flag_of_a_setting_is_one_of_the_command_line() -> None:
    known = {
        option
        for each in commands(typer.main.get_command(app))
        for parameter in each.params
        for option in parameter.opts
    }
    assert {*FLAGS.values(), *OF_ENGINES.values()} <= known
    assert {
        flag_of("sampling.constraint", {"kind": kind}) for kind in ("json-schema", "regex", "grammar")
    } <= known


def error_of(
    tmp_path: Path,
    file: str = "",
    *,
    flags: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
) -> str:
    environ = environ or {}
    paths = find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path), **environ})
    paths.config_file.write_text(file)
    with pytest.raises(ConfigError) as raised:
        load_config(paths, environ=environ, flags=flags)
    return str(raised.value)


@pytest.mark.parametrize("setting", NUMBERS)
def test_a_number_out_of_range_names_where_it_was_given(setting: str, tmp_path: Path) -> None:
    section, _, name = setting.partition(".")
    flag, variable = flag_of(setting), f"TTCHAT_{section}__{name}".upper()
    words = r"is too (small|large); give a (whole )?number \S.*"
    assert re.fullmatch(f"{flag} {words}", error_of(tmp_path, flags={setting: -(10**9)}))
    assert re.fullmatch(
        f"{variable}: {setting} {words}", error_of(tmp_path, environ={variable: str(-(10**9))})
    )
    in_file = error_of(tmp_path, f"[{section}]\n{name} = -1_000_000_000\n")
    assert re.fullmatch(f"{re.escape(str(tmp_path))}/config.toml: {setting} {words}", in_file)


def test_other_wrong_values_name_their_flag_too(tmp_path: Path) -> None:
    cure = "give at most 16 texts, each of 1 to 256 characters"
    for texts, what in (
        ([""], "is empty"),
        (["x" * 257], "is longer than 256 characters"),
        (["x"] * 17, "has more than 16 entries"),
    ):
        assert error_of(tmp_path, flags={"sampling.stop": texts}) == f"--stop {what}; {cure}"
    assert error_of(tmp_path, flags={"model.engine": "x"}).startswith("--engine is 'x', which is not among")
    paths = find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path)})
    assert place_of("ui.theme", paths, environ={}, flags={"ui.theme": "x"}) == "--theme"


@given(setting=st.sampled_from(SETTINGS), value=VALUES, way=st.sampled_from(("file", "variable", "flag", "")))
def test_a_setting_in_an_engines_words_is_named_as_it_was_given(setting: str, value: str, way: str) -> None:
    section, _, name = setting.partition(".")
    mention = f'[{section}] {name} = "{value}"' if value else f"[{section}] {name}"
    variable, flag = f"TTCHAT_{section}__{name}".upper(), flag_of(setting)
    found: dict[str, SettingSource | None] = {
        "file": SettingSource("file", "config.toml", setting),
        "variable": SettingSource("variable", variable, setting),
        "flag": SettingSource("flag", flag, setting),
        "": None,
    }
    shown = named_as_given(
        f"Set {mention}, and load again.", lambda wanted: found[way] if wanted == setting else None
    )
    expected = mention
    if way == "variable":
        expected = f"{variable}={value}" if value else variable
    elif way != "file" and flag:
        expected = f"{flag} {value}" if value else flag
    assert shown == f"Set {expected}, and load again."


@given(
    setting=st.sampled_from(SETTINGS),
    path=st.sampled_from(
        ("/m/{}.gguf", "/m/{}/x.gguf", "/a {}/x", "~/a-{}-b", "C:\\\\m\\\\{}\\\\x", "x.{}_2", "./{}-00001")
    ),
)
def test_a_path_that_holds_the_words_of_a_setting_stays(setting: str, path: str) -> None:
    section, _, name = setting.partition(".")
    text = f"{path.format(f'[{section}] {name}')} cannot be read."
    assert named_as_given(text, lambda _: SettingSource("flag", "--x", setting)) == text


def test_a_value_without_quotes_ends_before_the_sentence_does() -> None:
    def by_variable(_: str) -> SettingSource:
        return SettingSource("variable", "TTCHAT_TT__TRACE", "tt.trace")

    assert named_as_given("Set [tt] trace = false.", by_variable) == "Set TTCHAT_TT__TRACE=false."
    assert named_as_given("The array is [tt] long.", by_variable) == "The array is [tt] long."


def test_the_last_way_counts_and_an_old_name_in_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[model]\nthreads = 2\n")
    paths = find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path)})

    def name(environ: dict[str, str], flags: dict[str, Any]) -> str:
        return named_as_given(
            "[cpu] threads = 9", lambda setting: given_by(setting, paths, environ=environ, flags=flags)
        )

    assert name({}, {}) == "[model] threads = 9"
    assert name({"TTCHAT_CPU__THREADS": "9"}, {}) == "TTCHAT_CPU__THREADS=9"
    assert name({"TTCHAT_CPU__THREADS": "3"}, {"cpu.threads": 9}) == "--threads 9"


def texts(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else " " for part in node.values)  # pyright: ignore
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_setting_that_the_program_mentions_exists() -> None:
    """As `[section] name`, which is how an engine writes one; and no engine's text names a flag of a setting."""
    sections = "|".join(config_type().__struct_fields__)
    flags = re.compile("|".join(rf"{each}(?![\w-])" for each in (*FLAGS.values(), *OF_ENGINES.values())))
    package = Path(ttchat_tui.__file__).parent
    mentioned: set[str] = set()
    for file in package.rglob("*.py"):
        for text in texts(file):
            mentioned.update(".".join(each) for each in re.findall(rf"\[({sections})\] (\w+)", text))
            if file.is_relative_to(package / "engine") and file.name != "declaration.py":
                assert not (flags.findall(text) and "--model" not in text and "--engine" not in text), text
    assert len(mentioned) > 10
    assert mentioned <= {*SETTINGS}


JUNK = (
    -1,
    10**30,
    1e300,
    "",
    "x" * 100_000,
    True,
    [],
    [""],
    ["x"] * 1000,
    [1],
    {"a": 1},
    {"a": "b"},
    {"a": {"b": 1}},
)


def complaint_about(setting: str, value: Any, tmp_path: Path) -> str:
    """Empty: the value can be used."""
    try:
        load_config(find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path)}), environ={}, flags={setting: value})
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("setting", [*SETTINGS, "system_prompt", "keys"])
def test_no_value_brings_up_words_of_python(setting: str, tmp_path: Path) -> None:
    python = re.compile(r"`(str|int|float|bool|array|object|null)`|Expected|Object|None|Invalid enum")
    said = [complaint_about(setting, value, tmp_path) for value in JUNK]
    assert any(said)
    for each in filter(None, said):
        assert each.startswith(flag_of(setting) or "command line")
        assert not python.search(each)
