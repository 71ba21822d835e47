"""The `ttchat-tui` command: flags of the chat, and subcommands."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from ttchat_tui import __version__
from ttchat_tui.cli import chat, choices, flags, imports, models, prompts, repair, score, serve, transcripts
from ttchat_tui.cli.bench import command as bench
from ttchat_tui.cli.doctor import command as doctor
from ttchat_tui.cli.errors import USAGE_ERROR, notify
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.prompt_argument import prompt_text, with_stdin_named
from ttchat_tui.cli.replay import command as replay
from ttchat_tui.cli.standard_output import visible_streams, write_line
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.toml_file import require_file
from ttchat_tui.domain.prompt_template import TemplateKind

_NOT_OF_TYPE: Final = re.compile(r"is not a valid (int|float)\w*(?: range)?\Z")
_OUT_OF_RANGE: Final = re.compile(r"is not in the range (\S+)<=x<=(-?[\d.]*\d)\Z")
"""At the end of a refusal: what comes before may be a value that the user typed."""
_INVALID: Final = "Invalid value for "
_QUOTE: Final = "'"
_ParserRefusal: Final[Any] = typer.BadParameter.__base__
"""Of all that the parser refuses. It is in click or, from typer 0.26 on, in typer itself, without a public name."""
_HELP_INSTEAD: Final = "NoArgsIsHelpError"
"""The name of the error by which `ttchat-tui models` alone shows its help."""


@contextmanager
def _refusals_in_words(command: str) -> Generator[None, None, None]:
    """Report what the parser refuses as all other errors are: one line, and exit code 2. `command`: that is being parsed."""
    try:
        yield
    except _ParserRefusal as error:
        if type(error).__name__ == _HELP_INSTEAD:
            raise
        where = error.ctx.command_path if error.ctx is not None else command
        notify(f"{_in_words(error.format_message())}. See `{where} --help`.")
        raise typer.Exit(USAGE_ERROR) from error


def _in_words(refused: str) -> str:
    """What the parser refused, without Python's names of types and without the full stop."""
    place, colon, what = refused.partition(": ")
    if place.startswith(_INVALID):
        refused = f"{place.removeprefix(_INVALID).replace(_QUOTE, '')}{colon}{what}"
    refused = refused.removesuffix(".")
    text = _NOT_OF_TYPE.sub(lambda match: f"is not a {'whole ' * (match[1] == 'int')}number", refused)
    return _OUT_OF_RANGE.sub(r"is not in the range \1 to \2", text)


class Program(TyperGroup):
    """The commands, with output streams that make control characters visible."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        with visible_streams():
            return super().main(*arguments, **options)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _refusals_in_words("ttchat-tui"):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        words = (ctx.command_path, *ctx._protected_args)
        with _refusals_in_words(" ".join(words)):  # subcommands parse their flags here
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does, except that the text of `-p` is optional and one argument."""
        parameters = self.get_params(ctx)
        takes_value = {
            name: not getattr(each, "is_flag", False)
            for each in parameters
            for name in getattr(each, "opts", ())
        }
        left = super().parse_args(ctx, with_stdin_named(args, takes_value))
        command = next(iter(ctx._protected_args), None)
        if ctx.params.get("prompt") is not None and command not in (None, *self.commands):
            ctx.fail("The text of -p must be one argument: put it in quotes.")
        return left


app = typer.Typer(
    cls=Program,
    name="ttchat-tui",
    help="A full-screen chat for language models that run in-process, on a Tenstorrent card or on the CPU.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # Standard output would show the parser's colours as codes.
    context_settings={"help_option_names": ["-h", "--help"], "color": False},
    invoke_without_command=True,
)
app.add_typer(models.app, name="models")
app.add_typer(prompts.prompts, name="prompts")
app.add_typer(prompts.presets, name="presets")
app.command("export")(transcripts.export)
app.command("import")(imports.import_)
app.command("repair")(repair.repair)
app.command("serve")(serve.serve)
app.command("bench")(bench.bench)
app.command("replay")(replay.replay_command)
app.command("score")(score.score)
app.command("doctor")(doctor.doctor)
app.command("paths")(doctor.paths)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        write_line(f"ttchat-tui {__version__}")
        raise typer.Exit


@app.callback()
@choices.with_engine_flags
def start(
    context: typer.Context,
    model: flags.Model = None,
    context_length: flags.ContextLength = None,
    isolation: flags.Isolation = None,
    record: flags.Record = None,
    prompt: flags.Prompt = None,
    template: flags.Template = None,
    var: flags.Values = None,
    preset: flags.Preset = None,
    attach: flags.Attach = None,
    system: flags.System = None,
    max_tokens: flags.MaxTokens = None,
    temperature: flags.Temperature = None,
    top_p: flags.TopP = None,
    top_k: flags.TopK = None,
    min_p: flags.MinP = None,
    repetition_penalty: flags.RepetitionPenalty = None,
    seed: flags.Seed = None,
    stop: flags.Stop = None,
    logit_bias: flags.LogitBias = None,
    choices: flags.Choices = None,
    json_schema: flags.JsonSchema = None,
    regex: flags.Regex = None,
    grammar: flags.Grammar = None,
    think: flags.Think = None,
    output: flags.Output = "text",
    thoughts: flags.Thoughts = False,
    candidates: flags.Candidates = 1,
    logprobs: flags.Logprobs = None,
    no_save: flags.NoSave = False,
    resume: flags.Continue = False,
    plain: flags.Plain = False,
    theme: flags.Theme = None,
    config: flags.ConfigFile = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    **_engine_flags: Any,
) -> None:
    """Chat with a language model that runs in-process."""
    context.obj = config
    if context.invoked_subcommand is not None:
        if config is not None and context.invoked_subcommand != "doctor":  # which has a line for it
            require_file(config)
        _refuse_chat_flags(context, context.invoked_subcommand)
    else:
        raise typer.Exit(chat.run(_reported_invocation(context.params)))


def check_page_flags(arguments: list[str]) -> None:
    """Refuse, before `serve` starts, what each page would refuse with nobody to see it.

    Raises:
        ConfigError, typer.BadParameter
        typer.Exit: there is no such flag, which has been reported.
    """
    command = typer.main.get_command(app)
    page: Any = command.make_context("ttchat-tui", arguments)
    after = "only flags of the full screen come after --"
    if words := [*page._protected_args, *page.args]:
        raise typer.BadParameter(after, param_hint=words[0])
    if page.params["prompt"] is not None or page.params["plain"]:
        raise typer.BadParameter(after, param_hint="-p or --plain")
    invocation = _invocation(page.params)
    if invocation.prompt is not None:
        raise typer.BadParameter(after, param_hint="--template")
    load_config(invocation.paths, environ=os.environ, file=invocation.config_file, flags=invocation.flags)


def _refuse_chat_flags(context: typer.Context, command: str) -> None:
    """Refuse `-m NAME bench`, which would measure a model other than NAME."""
    for each in context.command.params:
        source = context.get_parameter_source(each.name or "")
        if source is not None and source.name == "COMMANDLINE" and each.name not in ("config", "version"):
            context.fail(f"{each.opts[0]} is a flag of the chat. Flags of {command} come after its name.")


def _reported_invocation(given: dict[str, Any]) -> Invocation:
    """The invocation of a parsed command line. An error in what a flag names or gives (a file, a preset, the prompt) is
    the result that `--output` asks for, as any other error in the settings.

    Raises:
        ConfigError, typer.BadParameter
    """
    try:
        return _invocation(given)
    except ConfigError as error:
        if given["prompt"] is not None or given["template"] is not None:
            chat.report_failure(given["output"], given["candidates"], error.info)
        raise


def _invocation(given: dict[str, Any]) -> Invocation:
    """The invocation of a parsed command line. `given`: the parameters of `start`, as typed.

    Raises:
        ConfigError, typer.BadParameter
    """
    typed = flags.settings(given)
    preset = prompts.preset_settings(given["preset"]) if given["preset"] else {}
    template = _template(given)
    prompt = prompt_text(given["prompt"], template.get("prompt", ""))
    for name, usual in (
        ("output", "text"),
        ("thoughts", False),
        ("candidates", 1),
        ("attach", None),
        ("logprobs", None),
    ):
        if prompt is None and given[name] and given[name] != usual:
            raise typer.BadParameter("it needs -p", param_hint=f"--{name}")
    recorded = _recorded(given["logprobs"], given["output"], typed)
    system = {"system_prompt": template["system"]} if "system" in template else {}
    return Invocation(
        flags=preset | typed | system | recorded,
        model_flag="--preset" if "model.name" in preset and "model.name" not in typed else "--model",
        config_file=given["config"],
        paths=find_paths(os.environ),
        prompt=prompt,
        attached=tuple(given["attach"] or ()),
        output=given["output"],
        thoughts=given["thoughts"],
        candidates=given["candidates"],
        alternatives=given["logprobs"],
        save=not given["no_save"],
        resume=given["resume"],
        plain=given["plain"],
    )


def _recorded(alternatives: int | None, output: str, typed: dict[str, Any]) -> dict[str, Any]:
    """The settings that `--logprobs` needs.

    Raises:
        typer.BadParameter
    """
    if alternatives is None:
        return {}
    if output != "jsonl":
        raise typer.BadParameter("it needs --output jsonl", param_hint="--logprobs")
    if typed.get("engine.record", "full") != "full":
        raise typer.BadParameter("it needs --record full", param_hint="--logprobs")
    return {"engine.record": "full", "remote.logprobs": True}


def _template(given: dict[str, Any]) -> dict[TemplateKind, str]:
    """The text of `--template` under its kind; empty without the flag.

    Raises:
        ConfigError, typer.BadParameter
    """
    if given["template"] is None:
        if given["var"]:
            raise typer.BadParameter("it needs --template", param_hint="-V")
        return {}
    kind, text = prompts.filled_template(given["template"], given["var"] or ())
    if kind == "system" and given["system"] is not None:
        raise typer.BadParameter("it is a system prompt, as --system is", param_hint="--template")
    return {kind: text}
