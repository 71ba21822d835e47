"""A message about a setting names it as the user gave it: by its flag, its variable, or its place in the file."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

import ttchat_tui
from ttchat_tui.cli.main import app
from ttchat_tui.config.describe import _find  # pyright: ignore[reportPrivateUsage]
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import config_and_names, load_config, place_of
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.schema import config_type
from ttchat_tui.config.setting_names import FLAGS, flag_of
from ttchat_tui.domain.constraint import ConstraintKind
from ttchat_tui.domain.given_settings import set_names
from ttchat_tui.domain.given_settings import setting as written
from ttchat_tui.domain.sampling import SamplingParams

SETTINGS = [
    f"{section}.{name}"
    for section in config_type().__struct_fields__
    for name in getattr(getattr(config_type()(), section), "__struct_fields__", ())
]
NUMBERS = [
    setting
    for setting in FLAGS
    if isinstance(_find(setting.split(".")), (inspect.IntType, inspect.FloatType))
]
TYPED = (inspect.IntType, inspect.FloatType, inspect.StrType, inspect.BoolType, inspect.LiteralType)
VALUES = st.sampled_from(("", '"host"', '"q8"', "true", "3", "0.5", '"http://127.0.0.1:8000/v1"'))


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
    assert {*FLAGS.values()} <= known
    assert len(FLAGS) == len({*FLAGS.values()})
    assert {flag_of("sampling.constraint", {"kind": kind}) for kind in get_args(ConstraintKind)} <= known


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
def test_a_message_names_a_setting_as_it_was_given(setting: str, value: str, way: str) -> None:
    section, _, name = setting.partition(".")
    variable, flag = f"TTCHAT_{section}__{name}".upper(), flag_of(setting)
    bare = value.strip('"')
    expected = f"[{section}] {name}{f' = {value}' * bool(value)}"
    given: dict[str, str] = {}
    if way == "variable":
        given, expected = {setting: variable}, f"{variable}{f'={bare}' * bool(value)}"
    elif way == "flag" and flag:
        given, expected = {setting: flag}, f"{flag}{f' {bare}' * bool(value)}"
    elif way == "file":
        given = {setting: f"[{section}] {name}"}
    set_names(given)
    assert written(setting, value) == expected


@pytest.mark.parametrize("setting", [each for each in SETTINGS if isinstance(_find(each.split(".")), TYPED)])
def test_the_last_way_that_gives_a_setting_names_it(setting: str, tmp_path: Path) -> None:
    section, _, name = setting.partition(".")
    variable, in_file = f"TTCHAT_{section}__{name}".upper(), f"[{section}] {name}"
    paths = find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path)})
    defaults = SamplingParams() if section == "sampling" else getattr(config_type()(), section)
    value = 1 if (usual := getattr(defaults, name)) is None else usual
    text = json.dumps(value)

    def name_of(environ: dict[str, str], flags: dict[str, Any]) -> str | None:
        return config_and_names(paths, environ=environ, flags=flags)[1].get(setting)

    flag = flag_of(setting) or None
    assert name_of({}, {}) == flag
    paths.config_file.write_text(f"[{section}]\n{name} = {text}\n")
    assert name_of({}, {}) == in_file
    assert name_of({variable: text.strip('"')}, {}) == variable
    assert name_of({variable: text.strip('"')}, {setting: value}) == (flag or variable)


def test_a_config_that_is_a_pipe_is_read_once() -> None:
    """`--config <(…)`"""
    reading, writing = os.pipe()
    os.write(writing, b"[cpu]\nthreads = 2\n")
    os.close(writing)
    config, names = config_and_names(find_paths({}), environ={}, file=Path(f"/dev/fd/{reading}"))
    os.close(reading)
    assert (config.options_of("cpu").threads, names["cpu.threads"]) == (2, "[cpu] threads")


def test_an_old_name_in_a_file_is_the_one_that_messages_have(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[model]\nthreads = 2\n")
    paths = find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path)})
    assert config_and_names(paths, environ={})[1]["cpu.threads"] == "[model] threads"


def test_a_table_in_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    (file := tmp_path / "other.toml").write_text('[sampling.logit_bias]\n" the" = 2\n[cpu]\nthreads = 2\n')
    _, names = config_and_names(find_paths({"TTCHAT_CONFIG_DIR": str(tmp_path)}), environ={}, file=file)
    assert names["sampling.logit_bias"] == f"[sampling] logit_bias in {file}"
    assert names["cpu.threads"] == "[cpu] threads"


def test_a_wrong_name_and_a_wrong_value_in_a_table_are_reported_apart(tmp_path: Path) -> None:
    cure = 'give each token a number from -100 to 100, which bans it at -100: { " the" = -100 }'
    for entry, what in (('"" = 1', " has a name that is empty"), ("x = 200", "[...] is too large")):
        said = error_of(tmp_path, f"[sampling.logit_bias]\n{entry}\n")
        assert said == f"{tmp_path}/config.toml: sampling.logit_bias{what}; {cure}"


def texts(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else " " for part in node.values)  # pyright: ignore
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def calls(file: Path) -> Iterator[str]:
    """The settings that `setting(…)` is called with in `file`."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setting":
            path = node.args[0]
            if isinstance(path, ast.Constant):
                yield str(path.value)


def test_every_setting_that_a_message_names_exists_and_no_message_writes_one_itself() -> None:
    """Docstrings apart, and the lists of flags that the declarations are."""
    sections = "|".join(config_type().__struct_fields__)
    flags = re.compile("|".join(rf"{each}(?![\w-])" for each in FLAGS.values()))
    package = Path(ttchat_tui.__file__).parent
    named: set[str] = set()
    for file in package.rglob("*.py"):
        named.update(calls(file))
        is_engine = file.is_relative_to(package / "engine") and file.name != "declaration.py"
        documented = {
            node.value.value
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for text in texts(file):
            named.update(re.findall(r"\{setting\[([\w.]+)[\] ]", text) if file.parent.name == "cures" else ())
            if text not in documented:
                assert not re.search(rf"\[({sections})\] \w", text), (file, text)
                if is_engine:
                    assert not (flags.findall(text) and "--model" not in text and "--engine" not in text), (
                        text
                    )
    assert len(named) > 20
    assert named <= {*SETTINGS}


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
