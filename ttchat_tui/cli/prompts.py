"""Prompt templates and presets on the command line: `--template`, `--preset`, and the lists of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from msgspec import structs

from ttchat_tui.cli.errors import ENGINE_ERROR, notify
from ttchat_tui.cli.standard_output import write_json
from ttchat_tui.cli.tables import OutputChoice, write_aligned
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.prompt_library import PromptLibrary
from ttchat_tui.domain.preset import BUILT_IN, Preset
from ttchat_tui.domain.prompt_template import PromptTemplate, TemplateKind, ValueProblem
from ttchat_tui.domain.text import decoded

prompts = typer.Typer(help="List the prompt templates.", no_args_is_help=True, rich_markup_mode=None)
presets = typer.Typer(help="List the presets.", no_args_is_help=True, rich_markup_mode=None)


@prompts.callback()
@presets.callback()
def keep_list_a_command() -> None:
    """Without it, typer runs the only command of a group without its name."""


@prompts.command("list")
def list_prompts(output: OutputChoice = "text") -> None:
    """The templates in the prompts folder (`ttchat-tui paths`)."""
    library = _read_library()
    templates = library.templates.values()
    if output == "json":
        write_json([_template_json(each) for each in templates])
    else:
        write_aligned(("name", "kind", "variables", "description"), map(_template_row, templates))
    if not (library.templates or library.template_faults):
        notify(f"There are no templates yet. Put a file NAME.md into {library.prompts_dir}")
    _report(library.template_faults)


@presets.command("list")
def list_presets(output: OutputChoice = "text") -> None:
    """The built-in presets and your own.

    Yours are in the presets folder (`ttchat-tui paths`).
    """
    library = _read_library()
    if output == "json":
        write_json([_preset_json(each) for each in library.presets.values()])
    else:
        write_aligned(("name", "gives", "description"), map(_preset_row, library.presets.values()))
    if not (library.presets.keys() - BUILT_IN or library.preset_faults):
        notify(f"For presets of your own, put a file NAME.toml into {library.presets_dir}")
    _report(library.preset_faults)


def filled_template(name: str, assignments: Sequence[str]) -> tuple[TemplateKind, str]:
    """The kind and the text of the template `name` with the values of `-V NAME=VALUE`.

    Raises:
        ConfigError: there is no such template, its file cannot be used, or a value is missing or not allowed.
    """
    template = PromptLibrary(find_paths(os.environ)).template(name)
    given: dict[str, str] = {}
    for assignment in assignments:
        variable, equals, value = decoded(assignment).partition("=")
        if not equals:
            raise ConfigError("-V", f"{assignment!r} is not NAME=VALUE")
        given[variable.strip()] = value
    try:
        return template.kind, template.filled(template.values(given))
    except ValueProblem as problem:
        info = problem.info
        is_known = problem.variable in template.variables
        cure = f"{info.cure.rstrip('.')}: -V {problem.variable}=…" if is_known else info.cure
        raise ConfigError("-V", structs.replace(info, cure=cure).line) from problem


def preset_settings(name: str) -> dict[str, Any]:
    """What the preset `name` gives, by the names of config.toml.

    Raises:
        ConfigError: there is no such preset, or its file cannot be used.
    """
    preset = PromptLibrary(find_paths(os.environ)).preset(name)
    settings: dict[str, Any] = {f"sampling.{key}": value for key, value in preset.sampling.given.items()}
    if preset.model:
        settings["model.name"] = preset.model
    if preset.system_prompt is not None:
        settings["system_prompt"] = preset.system_prompt
    return settings


def _read_library() -> PromptLibrary:
    library = PromptLibrary(find_paths(os.environ))
    library.read()
    return library


def _template_row(template: PromptTemplate) -> list[str]:
    needed = (name if each.default is None else f"[{name}]" for name, each in template.variables.items())
    return [template.name, template.kind, " ".join(needed), template.description]


def _template_json(template: PromptTemplate) -> dict[str, Any]:
    variables = [{"name": name, **structs.asdict(each)} for name, each in template.variables.items()]
    return {
        "name": template.name,
        "kind": template.kind,
        "variables": variables,
        "description": template.description,
    }


def _preset_row(preset: Preset) -> list[str]:
    return [preset.name, preset.gives, preset.description]


def _preset_json(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "is_built_in": preset.name in BUILT_IN,
        "description": preset.description,
        "model": preset.model or None,
        "system_prompt": preset.system_prompt,
        "sampling": preset.sampling.given,
    }


def _report(faults: Mapping[str, ConfigError]) -> None:
    """Name the files that cannot be used. The others are listed: the exit code is that of work that failed in part."""
    for error in faults.values():
        notify(str(error))
    if faults:
        raise typer.Exit(ENGINE_ERROR)
