"""The flags of the chat: what each is called, what its help says, and which setting it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from ttchat_tui.cli.choices import engine_settings
from ttchat_tui.domain.text import decoded


class PrecisionChoice(str, Enum):
    auto = "auto"
    fp32 = "fp32"
    f16 = "f16"
    bf16 = "bf16"
    int8 = "int8"
    int4 = "int4"


class IsolationChoice(str, Enum):
    process = "process"
    thread = "thread"


class OutputChoice(str, Enum):
    text = "text"
    json = "json"
    jsonl = "jsonl"


Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Alias, hub id, folder with safetensors, .gguf file, or remote:ID."),
]
Precision: TypeAlias = Annotated[PrecisionChoice | None, typer.Option(help="Weights of the CPU engine.")]
Threads: TypeAlias = Annotated[int | None, typer.Option(help="Threads of the CPU engine; 0 measures.")]
ContextLength: TypeAlias = Annotated[
    int | None, typer.Option(help="Tokens of prompt and reply; 0: the model's own.")
]
Isolation: TypeAlias = Annotated[IsolationChoice | None, typer.Option(help="Where the engine runs.")]
Prompt: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--prompt", "-p", help="Answer this on stdout and leave; without a text, or with -, what stdin has."
    ),
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
Output: TypeAlias = Annotated[OutputChoice, typer.Option(help="With -p: what goes to stdout.")]
Candidates: TypeAlias = Annotated[
    int, typer.Option(min=1, help="With -p: so many replies at once, from seeds of their own.")
]
NoSave: TypeAlias = Annotated[bool, typer.Option("--no-save", help="Keep nothing of this on disk.")]
Continue: TypeAlias = Annotated[
    bool, typer.Option("--continue", "-c", help="Continue the latest conversation.")
]
Plain: TypeAlias = Annotated[
    bool, typer.Option("--plain", help="Line by line: dumb terminals and screen readers.")
]
Theme: TypeAlias = Annotated[str | None, typer.Option(help="Theme of the screen.")]
ConfigFile: TypeAlias = Annotated[Path | None, typer.Option("--config", help="Another config.toml.")]

_SETTINGS: Final[dict[str, str]] = {
    "model": "model.name",
    "precision": "model.precision",
    "threads": "model.threads",
    "context_length": "model.context_length",
    "isolation": "model.isolation",
    "system": "system_prompt",
    "theme": "ui.theme",
    **{
        name: f"sampling.{name}"
        for name in (
            "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop",
        )
    },
}  # fmt: skip
"""Parameter → the setting that it gives, as config.toml calls it."""
_TEXTS: Final = frozenset({"system", "stop"})
"""What goes to a model; the others may be paths, and keep their bytes."""


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the parameters of a command line give, by their dotted names."""
    found = engine_settings(given["engine"], given["base_url"])
    for name, setting in _SETTINGS.items():
        value = given[name]
        if value is not None and value not in ([], ()):  # a flag that may be repeated, and was not given
            found[setting] = _text(value) if name in _TEXTS else getattr(value, "value", value)
    return found


def _text(value: str | Sequence[str]) -> str | list[str]:
    return decoded(value) if isinstance(value, str) else [decoded(each) for each in value]
