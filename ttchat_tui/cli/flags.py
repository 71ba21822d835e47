"""The flags of the chat: names, help, and the setting that each one gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import typer

from ttchat_tui.cli.choices import engine_settings
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.setting_names import FLAGS
from ttchat_tui.domain import model_spec
from ttchat_tui.domain.candidates import MOST
from ttchat_tui.domain.constraint import Constraint, ConstraintError, ConstraintKind, constraint_from_file
from ttchat_tui.domain.logit_bias import typed_bias
from ttchat_tui.domain.recording import ALTERNATIVES, RecordLevel
from ttchat_tui.domain.sampling import Thinking
from ttchat_tui.domain.text import decoded

OutputFormat: TypeAlias = Literal["text", "json", "jsonl"]

Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Alias, hub id, folder with safetensors, .gguf file, or remote:ID."),
]
ContextLength: TypeAlias = Annotated[
    int | None, typer.Option(help="Tokens of prompt and reply; 0: the model's own.")
]
Isolation: TypeAlias = Annotated[model_spec.Isolation | None, typer.Option(help="Where the engine runs.")]
Record: TypeAlias = Annotated[
    RecordLevel | None, typer.Option(help="What is stored of each token's probability and alternatives.")
]
Prompt: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        "-p",
        help="Answer this on stdout and exit; without a text, or with -, read it from stdin.",
    ),
]
Template: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="NAME",
        help="Answer this prompt template on stdout and exit, with the text of -p and stdin below it; or take it as the system prompt, if it is one.",
    ),
]
Values: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--var", "-V", metavar="NAME=VALUE", help="A variable of --template; may be repeated."),
]
Preset: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="System prompt, sampling and model of this preset; other flags override it."
    ),
]
Attach: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="With -p: send this file or folder list too; may be repeated."),
]
System: TypeAlias = Annotated[str | None, typer.Option(help="System prompt.")]
MaxTokens: TypeAlias = Annotated[int | None, typer.Option(help="Longest reply, in tokens.")]
Temperature: TypeAlias = Annotated[float | None, typer.Option(help="0 is greedy.")]
TopP: TypeAlias = Annotated[float | None, typer.Option(help="1 keeps all.")]
TopK: TypeAlias = Annotated[int | None, typer.Option(help="0 keeps all.")]
MinP: TypeAlias = Annotated[float | None, typer.Option(help="0 drops none.")]
RepetitionPenalty: TypeAlias = Annotated[float | None, typer.Option(help="1 changes nothing.")]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="The same seed gives the same reply.")]
Stop: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="End the reply before this text; may be repeated.")
]
LogitBias: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT=AMOUNT",
        help='Add this to the logit of a token, of -100 to 100; -100 bans it: " the=-100". May be repeated.',
    ),
]
JsonSchema: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The reply is JSON that is valid against this schema.")
]
Choices: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT,TEXT,…", help='The reply is one of these texts: yes,no,"well, maybe".'),
]
Regex: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION", help="The whole reply matches this regular expression (Rust's syntax)."
    ),
]
Grammar: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The reply is in the language of this grammar (Lark).")
]
Think: TypeAlias = Annotated[
    Thinking | None,
    typer.Option(help="Whether, or how long, the model thinks, if its chat template understands it."),
]
Output: TypeAlias = Annotated[OutputFormat, typer.Option(help="With -p: what goes to stdout.")]
Thoughts: TypeAlias = Annotated[
    bool, typer.Option("--thoughts", help="With -p: print the model's thoughts too, before its answer.")
]
Candidates: TypeAlias = Annotated[
    int, typer.Option(min=1, max=MOST, help="With -p: this many replies at once, each with its own seed.")
]
Logprobs: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=ALTERNATIVES,
        help="With --output jsonl: each token's probability and this many alternatives.",
    ),
]
NoSave: TypeAlias = Annotated[bool, typer.Option("--no-save", help="Do not store this conversation.")]
Continue: TypeAlias = Annotated[
    bool, typer.Option("--continue", "-c", help="Continue the latest conversation.")
]
Plain: TypeAlias = Annotated[
    bool, typer.Option("--plain", help="Line by line, for dumb terminals and screen readers.")
]
Theme: TypeAlias = Annotated[str | None, typer.Option(help="Theme of the screen.")]
ConfigFile: TypeAlias = Annotated[Path | None, typer.Option("--config", help="Another config.toml.")]

_SETTINGS: Final = {flag.removeprefix("--").replace("-", "_"): setting for setting, flag in FLAGS.items()}
"""Parameter → the setting that it gives, by its name in config.toml."""
_TEXTS: Final = frozenset({"system", "stop"})
"""Texts for the model. The others may be paths, and keep their bytes."""


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a command line's parameters give, by their dotted names.

    Raises:
        ConfigError, typer.BadParameter
    """
    found = engine_settings(given)
    for name, setting in _SETTINGS.items():
        value = given[name]
        # A repeatable flag that was not given is an empty list.
        if value is not None and value not in ([], ()):
            found[setting] = (
                _biases(value) if name == "logit_bias" else _text(value) if name in _TEXTS else value
            )
    if (constraint := _constraint(given)) is not None:
        found["sampling.constraint"] = msgspec.to_builtins(constraint)
    return found


_CONSTRAINTS: Final[dict[str, ConstraintKind]] = {
    "choices": "choices",
    "json_schema": "json-schema",
    "regex": "regex",
    "grammar": "grammar",
}


def _constraint(given: Mapping[str, Any]) -> Constraint | None:
    """
    Raises:
        typer.BadParameter: there are two.
        ConfigError: the file cannot be read, or is none of this kind; or the choices cannot be used.
    """
    names = [name for name in _CONSTRAINTS if given[name] is not None]
    if not names:
        return None
    name = names[-1]
    if len(names) > 1:
        raise typer.BadParameter("a reply has one constraint", param_hint=" and ".join(map(_flag, names)))
    if name == "regex":
        if not given[name]:
            raise ConfigError("--regex", "it needs an expression")
        return Constraint("regex", decoded(given[name]))
    try:
        if name == "choices":
            return Constraint("choices", decoded(given[name]))
        return constraint_from_file(_CONSTRAINTS[name], Path(given[name]))
    except ConstraintError as error:
        raise ConfigError(_flag(name), str(error)) from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _text(value: str | Sequence[str]) -> str | list[str]:
    return decoded(value) if isinstance(value, str) else [decoded(each) for each in value]


def _biases(typed: Sequence[str]) -> dict[str, float]:
    """Raises ConfigError."""
    try:
        return dict(typed_bias(decoded(each)) for each in typed)
    except ValueError as error:
        raise ConfigError("--logit-bias", str(error)) from error
