"""Flags that more than one subcommand has: the engine, and what the engines declare."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from ttchat_tui.config.schema import engine_choices
from ttchat_tui.engine.declaration import EngineDeclaration, EngineFlag
from ttchat_tui.engine.factory import ENGINES

Function = TypeVar("Function", bound=Callable[..., None])


def with_engine_flags(command: Function) -> Function:
    """Add `--engine` and the flags that engines declare to `command`, after its `model` parameter. It takes them as
    `**keywords`, and finds their values in `context.params`."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    place = 1 + next(index for index, each in enumerate(parameters) if each.name == "model")
    parameters[place:place] = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _parameters()
    ]
    command.__signature__ = signature.replace(  # pyright: ignore[reportFunctionMemberAccess]
        parameters=[each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    )
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def engine_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `--engine` and the engines' flags give, by their dotted names. A flag such as `--base-url` asks
    for its engine, unless `--engine` names one."""
    found: dict[str, Any] = {}
    for engine, flag in _flags():
        value = given[flag.option]
        if value is None:
            continue
        found[f"{engine.kind}.{flag.option}"] = value
        if flag.chooses_engine and value:
            found["model.engine"] = engine.kind
        if value:
            found.update({f"{engine.kind}.{name}": "" for name in flag.clears})
    if given["engine"]:
        found["model.engine"] = given["engine"]
    return found


def _flags() -> Iterator[tuple[EngineDeclaration, EngineFlag]]:
    for engine in ENGINES.values():
        for flag in engine.flags:
            yield engine, flag


def _parameters() -> Iterator[tuple[str, Any]]:
    """Names and annotations of the flags, for typer. A flag has its option's type; its range is checked with the config."""
    literal: Any = Literal
    choice = literal[tuple(engine_choices())]
    yield "engine", Annotated[choice | None, typer.Option(help="What runs the model.")]
    for engine, flag in _flags():
        kind = get_type_hints(engine.options)[flag.option]
        yield flag.option, Annotated[kind | None, typer.Option(help=flag.help)]
