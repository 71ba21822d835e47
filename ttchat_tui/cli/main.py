"""`ttchat-tui`: the flags of the chat, and where the subcommands hang."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ttchat_tui import __version__
from ttchat_tui.cli import bench, chat, doctor, models, repair, serve, transcripts
from ttchat_tui.cli.choices import EngineChoice
from ttchat_tui.cli.standard_output import visible_streams, write_line
from ttchat_tui.config.paths import find_paths
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


class Program(TyperGroup):
    """The commands, on streams that show what a terminal would obey."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        with visible_streams():
            return super().main(*arguments, **options)


app = typer.Typer(
    cls=Program,
    name="ttchat-tui",
    help="A full-screen chat for language models that run in-process, on a Tenstorrent card or on the CPU.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
app.add_typer(models.app, name="models")
app.command("export")(transcripts.export)
app.command("repair")(repair.repair)
app.command("serve")(serve.serve)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.command("paths")(doctor.paths)


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"ttchat-tui {__version__}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Alias, hub id, folder with safetensors, .gguf file, or remote:ID."
        ),
    ] = "",
    engine: Annotated[EngineChoice | None, typer.Option(help="What runs the model.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Server of the remote engine: http://127.0.0.1:8000/v1.")
    ] = None,
    precision: Annotated[PrecisionChoice | None, typer.Option(help="Weights of the CPU engine.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU engine; 0 measures.")] = None,
    context_length: Annotated[
        int | None, typer.Option(help="Tokens of prompt and reply; 0: the model's own.")
    ] = None,
    isolation: Annotated[IsolationChoice | None, typer.Option(help="Where the engine runs.")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="Answer this on stdout and leave; - reads stdin.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(help="1 keeps all.")] = None,
    top_k: Annotated[int | None, typer.Option(help="0 keeps all.")] = None,
    min_p: Annotated[float | None, typer.Option(help="0 drops none.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="1 changes nothing.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same reply.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End the reply before this text; may be repeated.")
    ] = None,
    output: Annotated[OutputChoice, typer.Option(help="With -p: what goes to stdout.")] = OutputChoice.text,
    candidates: Annotated[
        int, typer.Option(min=1, help="With -p: so many replies at once, from seeds of their own.")
    ] = 1,
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep nothing of this on disk.")] = False,
    resume: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the latest conversation.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Line by line: dumb terminals and screen readers.")
    ] = False,
    theme: Annotated[str | None, typer.Option(help="Theme of the screen.")] = None,
    config: Annotated[Path | None, typer.Option(help="Another config.toml.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Chat with a language model that runs in-process."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    if prompt is None and output is not OutputChoice.text:
        raise typer.BadParameter("it goes with -p TEXT", param_hint="--output")
    if prompt is None and candidates != 1:
        raise typer.BadParameter("it goes with -p TEXT", param_hint="--candidates")
    sampling = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
        "stop": [decoded(text) for text in stop or ()] or None,
    }
    flags: dict[str, object] = {
        "model.name": model or None,
        "model.engine": engine.value if engine else "remote" if base_url else None,
        "remote.base_url": base_url,
        "remote.endpoint": "" if base_url else None,
        "model.precision": precision.value if precision else None,
        "model.threads": threads,
        "model.context_length": context_length,
        "model.isolation": isolation.value if isolation else None,
        "system_prompt": None if system is None else decoded(system),
        "ui.theme": theme,
        **{f"sampling.{name}": value for name, value in sampling.items()},
    }
    chosen = chat.Invocation(
        flags={name: value for name, value in flags.items() if value is not None},
        config_file=config,
        paths=find_paths(os.environ),
        prompt=prompt_text(prompt),
        output=output.value,
        candidates=candidates,
        save=not no_save,
        resume=resume,
        plain=plain,
    )
    raise typer.Exit(chat.run(chosen))


def prompt_text(prompt: str | None) -> str | None:
    """`-p -` is stdin alone; piped stdin is appended to any other text, a blank line between. Line ends around what was
    piped are the shell's, not the prompt's; those of Windows, and its byte order mark, are no part of a text."""
    if prompt is None:
        return None
    piped = (
        ""
        if sys.stdin is None or sys.stdin.isatty()
        else sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    )
    piped = piped.replace("\r\n", "\n")
    parts = (piped,) if prompt == "-" else (decoded(prompt), piped)
    text = "\n\n".join(part.strip("\r\n") for part in parts if part.strip())
    if not text.strip():
        raise typer.BadParameter("the prompt is empty", param_hint="-p")
    return text
