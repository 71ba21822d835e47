"""Prompt templates and presets as files in the config folder: `prompts/NAME.md` and `presets/NAME.toml`.

A template is Markdown with TOML front matter between lines `+++`. Files are written only when the user saves one in the app,
and never replaced.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
import tomli_w

from ttchat_tui.config.describe import problem
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.toml_file import parsed_toml, read_text
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.preset import BUILT_IN, Preset, PresetContent
from ttchat_tui.domain.prompt_template import (
    NAME,
    PromptTemplate,
    TemplateHead,
    TemplateKind,
    Variable,
    placeholders,
)
from ttchat_tui.domain.sampling import MODEL_DEFAULT, SamplingParams

Content = TypeVar("Content")

TEMPLATE_SUFFIX: Final = ".md"
PRESET_SUFFIX: Final = ".toml"
_FENCE: Final = "+++"
_YAML_FENCE: Final = "---"
_MOST_BYTES: Final = 1_000_000
"""Larger files are no prompts. The whole folder is read whenever one of its files changes."""
_UNUSABLE: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|^[.\s-]|[.\s]$')
"""In a name that the app gives to a file: what some system does not allow, and what hides a file or looks like a flag."""
_LONGEST_NAME: Final = 200
"""Bytes; most file systems allow 255 with the suffix."""


class _Sampling(msgspec.Struct):
    """The part of a preset whose ranges are in `SamplingParams`, not in `SamplingDefaults`."""

    sampling: SamplingParams = SamplingParams()


def files_in(folder: Path, suffix: str) -> list[Path]:
    """The files with `suffix` in a folder, by name; none if it is missing. Raises ConfigError: it cannot be read."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(
            str(folder), f"cannot be read ({error.strerror})", cure="make it readable for you"
        ) from error
    return [folder / name for name in sorted(names) if name.endswith(suffix) and not name.startswith(".")]


def named_file(folder: Path, suffix: str, name: str, what: str, more: tuple[str, ...] = ()) -> Path:
    """The file of the template or preset (`what`) called `name`.

    Args:
        more: names that need no file.
    Raises:
        ConfigError: there is none; with the names that there are.
    """
    names = {file.name.removesuffix(suffix): file for file in files_in(folder, suffix)}
    if name in names:
        return names[name]
    known = [*names, *more]
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        cure = f"did you mean {close[0]}?"
    else:
        cure = f"there are {', '.join(known)}" if known else f"put a file NAME{suffix} there"
    raise ConfigError(str(folder), f"there is no {what} {name}", cure=cure)


def read_template(file: Path) -> PromptTemplate:
    """Raises ConfigError: with the file, the place in it, and a cure."""
    where = str(file)
    front, text = _split(_text(file), where)
    values = parsed_toml(front, where)
    variables = values.get("variables")
    if isinstance(variables, dict):  # each by itself: an error then has its name
        for name, variable in cast("dict[str, Any]", variables).items():
            _converted(variable, Variable, where, f"$.variables.{name}")
    head = _converted(values, TemplateHead, where)
    for name, variable in head.variables.items():
        setting = f"$.variables.{name}"
        if NAME.fullmatch(name) is None:
            cure = "use letters, digits, _ and -, and begin with a letter"
            raise ConfigError(where, f"{name!r} cannot be the name of a variable", setting=setting, cure=cure)
        if name not in placeholders(text):
            cure = f"write {{{{{name}}}}} where its value belongs, or take the variable out"
            raise ConfigError(where, f"{{{{{name}}}}} is not in the text", setting=setting, cure=cure)
        if variable.choices and variable.default not in (None, *variable.choices):
            what = f"{variable.default!r} is not among the choices"
            raise ConfigError(
                where, what, setting=f"{setting}.default", cure="add it to them, or take it out"
            )
    if not text.strip():
        raise ConfigError(where, "there is no text", cure=f"write it below the second {_FENCE}")
    return PromptTemplate(
        name=file.name.removesuffix(TEMPLATE_SUFFIX), text=text, **msgspec.structs.asdict(head)
    )


def read_preset(file: Path) -> Preset:
    """Raises ConfigError: with the file, the key in it, and a cure."""
    where, name = str(file), file.name.removesuffix(PRESET_SUFFIX)
    if name in (*BUILT_IN, MODEL_DEFAULT):
        raise ConfigError(where, f"{name} is the name of a built-in preset", cure="rename the file")
    values = parsed_toml(_text(file), where)
    content = _converted(values, PresetContent, where)
    _converted(values, _Sampling, where, schema=PresetContent)
    return Preset(name=name, **msgspec.structs.asdict(content))


def template_text(template: PromptTemplate) -> str:
    """The template as the text of its file."""
    head = msgspec.to_builtins(template)
    del head["name"], head["text"]
    return f"{_FENCE}\n{tomli_w.dumps(head)}{_FENCE}\n{template.text}\n"


def preset_text(preset: Preset) -> str:
    """The preset as the text of its file."""
    content = msgspec.to_builtins(preset)
    del content["name"]
    return tomli_w.dumps(content, multiline_strings=True)


def name_problem(folder: Path, suffix: str, name: str) -> str:
    """Why a new file cannot have this name, in a sentence; empty if it can."""
    if not name:
        return "Enter a name."
    if len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        return "The name is too long."
    if _UNUSABLE.search(name):
        return 'A name has no / \\ : * ? " < > | and no dot or hyphen at its start.'
    if suffix == PRESET_SUFFIX and name in (*BUILT_IN, MODEL_DEFAULT):
        return f"{name} is a built-in preset; choose another name."
    if os.path.lexists(folder / f"{name}{suffix}"):
        return f"{name}{suffix} exists, and is not replaced; choose another name."
    return ""


def save_template(folder: Path, name: str, description: str, kind: TemplateKind, text: str) -> Path:
    """Write a new template; each `{{name}}` in its text becomes a variable. Raises ConfigError, as `write_new`."""
    variables = {each: Variable() for each in placeholders(text)}
    template = PromptTemplate(name=name, description=description, kind=kind, variables=variables, text=text)
    return write_new(folder, TEMPLATE_SUFFIX, name, template_text(template))


def save_preset(folder: Path, name: str, description: str, preset: Preset) -> Path:
    """Write a new preset. Raises ConfigError, as `write_new`."""
    text = preset_text(msgspec.structs.replace(preset, description=description))
    return write_new(folder, PRESET_SUFFIX, name, text)


def write_new(folder: Path, suffix: str, name: str, text: str) -> Path:
    """Write a new file, whole or not at all. Its folder is made.

    Raises:
        ConfigError: the name cannot be used, or the file exists or cannot be written.
    """
    file = folder / f"{name}{suffix}"
    if fault := name_problem(folder, suffix, name):
        raise ConfigError(str(file), fault)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with open(descriptor, "w", encoding="utf-8", newline="\n") as output:
                output.write(text)
                output.flush()
                os.fsync(output.fileno())
            _put_in_place(temporary, file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    except FileExistsError as error:
        raise ConfigError(str(file), "exists, and is not replaced", cure="choose another name") from error
    except OSError as error:
        raise ConfigError(
            str(file), f"cannot be written ({error.strerror})", cure="make the folder writable for you"
        ) from error
    return file


def _put_in_place(temporary: str, file: Path) -> None:
    """Raises FileExistsError, OSError."""
    try:
        os.link(temporary, file)  # unlike a rename, it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.rename(temporary, file)


def _text(file: Path) -> str:
    """Raises ConfigError."""
    with contextlib.suppress(OSError):  # reading it reports the error
        if file.stat().st_size > _MOST_BYTES:
            what = f"is larger than {_MOST_BYTES // 1_000_000} MB"
            raise ConfigError(str(file), what, cure="move it out of the folder")
    return read_text(file).replace("\r\n", "\n")


def _split(text: str, where: str) -> tuple[str, str]:
    """The front matter as TOML, with its lines where they are in the file, and the text below it."""
    first, _, rest = text.partition("\n")
    fence, lines = first.rstrip(), rest.split("\n")
    ends = [place for place, line in enumerate(lines) if line.rstrip() == fence]
    if fence == _YAML_FENCE and ends:
        cure = f"write it as TOML between lines {_FENCE}"
        raise ConfigError(where, "line 1: the front matter is between ---, as for YAML", cure=cure)
    if fence != _FENCE:
        return "", text.strip("\n")
    if not ends:
        raise ConfigError(where, "line 1: the front matter has no end", cure=f"end it with a line {_FENCE}")
    return "\n".join(["", *lines[: ends[0]]]), "\n".join(lines[ends[0] + 1 :]).strip("\n")


def _converted(
    values: object, kind: type[Content], where: str, place: str = "$", schema: type | None = None
) -> Content:
    """`values` as a `kind`. `place`: of the values in the file. `schema`: with the ranges, if `kind` has none."""
    try:
        return msgspec.convert(values, decodable(kind))
    except msgspec.ValidationError as error:
        what, path, cure = problem(error, schema or kind)
        raise ConfigError(where, what, setting=path.replace("$", place, 1), cure=cure) from error
