"""`ttchat-tui score`: how probable a text is to a model, token by token."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from msgspec import structs

from ttchat_tui.cli import chat
from ttchat_tui.cli.choices import engine_settings, with_engine_flags
from ttchat_tui.cli.invocation import Invocation, bare_invocation
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.cli.recorded_run import record, require_following
from ttchat_tui.cli.standard_output import write_json, write_line
from ttchat_tui.cli.tables import OutputChoice
from ttchat_tui.cli.token_lines import as_json, is_tinted, write_tinted
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.generation import GenerationRequest, Given
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import ALTERNATIVES, Likelihood, Recording
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import why_no_text
from ttchat_tui.ui.widgets.inspector.doubt import BY_ENTROPY, BY_PROBABILITY, Doubt

_PLAIN: Final = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)
_TINTS: Final = {"probability": BY_PROBABILITY, "entropy": BY_ENTROPY}


class UnusableText(AppError):
    kind = "usage"


@with_engine_flags
def score(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A text in UTF-8; - is stdin.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Model, as for the chat.")] = "",
    output: OutputChoice = "text",
    tint: Annotated[
        Literal["probability", "entropy"],
        typer.Option(help="What the text on a terminal is tinted by."),
    ] = "probability",
    alternatives: Annotated[
        int, typer.Option(min=0, max=ALTERNATIVES, help="With --output json: how many of each token.")
    ] = 0,
    **_engine_flags: Any,
) -> None:
    """Print the perplexity of a text under a model, and how probable each token is.

    The text is tokenized as it is, without a chat template. One that is longer than the context is read in windows: each
    token after the first window has at least half a context before it.
    """
    text = _read(file)
    flags = engine_settings(context.params)
    if model:
        flags["model.name"] = model
    invocation = structs.replace(
        bare_invocation(os.environ), flags=flags, config_file=context.obj, paths=find_paths(os.environ)
    )
    info, recording = _scored(invocation, text)
    if output == "json":
        write_json(_result(info, recording, text, alternatives))
    else:
        if is_tinted():
            _write_text(recording, _TINTS[tint])
        for label, value in _rows(info, recording, text):
            write_line(f"{label:<16} {value}")


def _read(file: str) -> str:
    """Raises UnusableText."""
    name = "stdin" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UnusableText(f"{name} cannot be read: {error.strerror}.", "Correct the path.") from error
    if not data:
        raise UnusableText(f"{name} is empty.", "Give a text.")
    if why := why_no_text(data):
        reason, cure = why
        raise UnusableText(f"{name} cannot be scored: {reason}.", cure)
    return data.decode()


def _scored(invocation: Invocation, text: str) -> tuple[EngineInfo, Recording]:
    """Raises EngineError."""
    engine, prepare = chat.engine_alone(invocation)
    progress = ProgressLine()
    request = GenerationRequest(
        id=1, messages=(), sampling=_PLAIN, seed=0, record="full", given=Given(text=text)
    )
    try:
        info = engine.load(prepare(progress), progress)
        require_following(info)
        scored = record(engine, request, lambda done, total: progress.count("scoring", done, total))
        return info, scored.recording
    finally:
        progress.close()
        engine.close()


def _write_text(recording: Recording, doubt: Doubt) -> None:
    write_tinted(recording, lambda place: doubt.tint_of(recording.tokens[place]))
    write_line("")
    unsure = "" if os.environ.get("NO_COLOR") else f" · yellow: {doubt.unsure_words}"
    write_line(f"underlined: {doubt.measure} {doubt.words}{unsure}")
    write_line("")


def _rows(info: EngineInfo, recording: Recording, text: str) -> Iterator[tuple[str, str]]:
    likelihood = _likelihood(recording)
    mean = likelihood.mean_logprob
    yield "model", f"{info.model} · {info.label}"
    yield "tokens", f"{len(recording.tokens):,}"
    if mean is None:
        yield "perplexity", "– (a text of one token has nothing before it)"
        return
    yield "perplexity", f"{math.exp(-mean):,.2f}"
    yield "log-probability", f"{mean:.3f} nats a token on average"
    yield "bits per byte", f"{_bits_per_byte(recording, text):.3f}"
    greedy = likelihood.greedy_share
    if greedy is not None:
        yield "most probable", f"{greedy:.1%} of the tokens"
    if 0 < info.context_length < len(recording.tokens):
        yield "windows", f"of {info.context_length:,} tokens, each half a window after the one before"


def _likelihood(recording: Recording) -> Likelihood:
    likelihood = Likelihood()
    likelihood.take(recording.tokens)
    return likelihood


def _bits_per_byte(recording: Recording, text: str) -> float:
    """Of all scored tokens, by the bytes of the whole text: comparable between tokenizers."""
    nats = -sum(token.logprob for token in recording.tokens if token.logprob is not None)
    return nats / math.log(2) / len(text.encode())


def _result(info: EngineInfo, recording: Recording, text: str, alternatives: int) -> dict[str, Any]:
    """One object; the first token has no `logprob` if the model has no beginning of a text."""
    likelihood = _likelihood(recording)
    mean = likelihood.mean_logprob
    return {
        "model": info.model,
        "engine": info.label,
        "context_length": info.context_length,
        "window_stride": info.context_length // 2,
        "token_count": len(recording.tokens),
        "mean_logprob": mean,
        "perplexity": None if mean is None else math.exp(-mean),
        "bits_per_byte": None if mean is None else _bits_per_byte(recording, text),
        "greedy_share": likelihood.greedy_share,
        "tokens": [as_json(recording, token, alternatives or None) for token in recording.tokens],
    }
