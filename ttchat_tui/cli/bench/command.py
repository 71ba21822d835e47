"""`ttchat-tui bench`: load a model, run one prompt of a known length, print the figures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from ttchat_tui.cli import chat
from ttchat_tui.cli.bench.agreement import Reply, follow
from ttchat_tui.cli.bench.run import (
    Figures,
    StreamFigures,
    TracedReply,
    Workload,
    measure,
    measure_concurrently,
)
from ttchat_tui.cli.choices import engine_settings, with_engine_flags
from ttchat_tui.cli.invocation import Invocation, bare_invocation
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.cli.standard_output import write_json, write_line
from ttchat_tui.cli.tables import OldJson, OutputChoice
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.agreement import Agreement
from ttchat_tui.domain.model_spec import EngineKind, ModelSpec, TenstorrentOptions
from ttchat_tui.engine import base
from ttchat_tui.engine.factory import create_engine
from ttchat_tui.engine.tenstorrent.references import Reference, device_name, references_for
from ttchat_tui.storage.export import file_path, write_text
from ttchat_tui.storage.export_timeline import chrome_trace, timeline_csv


@with_engine_flags
def bench(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", "-m", help="Model, as for the chat.")] = "",
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of the prompt.")] = 128,
    tokens: Annotated[int, typer.Option(min=3, help="Length of the reply.")] = 128,
    batch: Annotated[int, typer.Option(min=1, max=32, help="Replies in one batch.")] = 1,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Parallel requests; only with --engine remote.")
    ] = 1,
    compare: Annotated[
        Literal["cpu", "tt"] | None,
        typer.Option(help="Let this engine follow the reply token by token, and count where it agrees."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Write where the time of the measured reply went: a Chrome trace for ui.perfetto.dev, or CSV if FILE ends with .csv.",
            metavar="FILE",
            dir_okay=False,
        ),
    ] = None,
    output: OutputChoice = "text",
    as_json: OldJson = False,
    **_engine_flags: Any,
) -> None:
    """Measure load, prefill and decode of any engine.

    The figures are defined as in tt-metal's simple_text_demo.
    """
    flags = engine_settings(context.params)
    # With speculation the rate depends on how often the text repeats itself.
    flags.setdefault("cpu.speculation", "off")
    if model:
        flags["model.name"] = model
    if batch > 1:
        # A card's batch size is fixed at load and a power of two; other engines ignore it.
        flags["tt.max_batch_size"] = 1 << (batch - 1).bit_length()
    if trace is not None and not trace.name:
        raise typer.BadParameter("give the name of a file", param_hint="--trace")
    if trace is not None and concurrency > 1:
        raise typer.BadParameter("it excludes --concurrency", param_hint="--trace")
    workload = Workload(prompt_tokens=prompt_tokens, tokens=tokens, batch=batch)
    figures, spec = _measured(flags, context.obj, workload, concurrency, compare, trace)
    beside = _references(spec) if figures.engine == "tt" else ()
    if as_json or output == "json":
        write_json({**msgspec.structs.asdict(figures), "references": beside})
    else:
        for line in lines(figures, beside):
            write_line(line)


def _measured(
    flags: dict[str, Any],
    config_file: Path | None,
    workload: Workload,
    concurrency: int,
    compare: EngineKind | None,
    trace: Path | None,
) -> tuple[Figures, ModelSpec]:
    """The figures, and the model that they are of. Raises EngineError; StorageError: `trace` cannot be written."""
    invocation = msgspec.structs.replace(
        bare_invocation(os.environ), flags=flags, config_file=config_file, paths=find_paths(os.environ)
    )
    engine, prepare = chat.engine_alone(invocation)
    others: list[base.Engine] = []
    progress = ProgressLine()

    def follow_reply(reply: Reply) -> Agreement:
        engine.close()  # Its memory may be needed.
        named = {**invocation.flags, "model.engine": compare, "model.name": spec.path or spec.name}
        return _followed(msgspec.structs.replace(invocation, flags=named), reply, progress)

    try:
        spec = prepare(progress)
        if compare and (concurrency > 1 or spec.engine == "remote"):
            raise typer.BadParameter(
                "it needs an engine of this machine: servers report no token ids", param_hint="--compare"
            )
        if concurrency == 1:
            figures = measure(
                engine,
                spec,
                workload,
                progress,
                follow_reply if compare else None,
                partial(_write_trace, trace) if trace is not None else None,
            )
            return figures, spec
        if spec.engine != "remote" or workload.batch > 1:
            raise typer.BadParameter(
                "it needs --engine remote and excludes --batch", param_hint="--concurrency"
            )
        others = [create_engine("remote") for _ in range(concurrency)]
        return measure_concurrently(others, spec, workload, progress), spec
    finally:
        progress.close()
        for each in (engine, *others):
            each.close()


def _write_trace(file: Path, traced: TracedReply) -> None:
    """Raises StorageError: the file cannot be written."""
    conversation, message = traced.as_stored()
    write = timeline_csv if file.suffix.lower() == ".csv" else chrome_trace
    text = write(conversation, [message], {message.id: traced.recording})
    write_text(file_path(str(file)), text, lambda _: True)


def _followed(invocation: Invocation, reply: Reply, progress: ProgressLine) -> Agreement:
    """The agreement of the engine that `invocation` names."""
    engine, prepare = chat.engine_alone(invocation)
    try:
        info = engine.load(prepare(progress), progress)
        return follow(engine, info, reply)
    finally:
        engine.close()


def _references(spec: ModelSpec) -> tuple[Reference, ...]:
    """Upstream's figures of this model on the mesh that is used here."""
    return references_for(spec.name, device_name(spec.options_as(TenstorrentOptions), os.environ))


def lines(figures: Figures, references: tuple[Reference, ...]) -> list[str]:
    """The figures as text, with upstream's below them."""
    f = figures
    is_many = f.concurrency > 1
    unit = "tokens by pieces" if f.is_by_pieces else "tokens"
    network = "  with network" if f.engine == "remote" else ""
    mean = "  (mean)" if is_many else ""
    everything = (
        (
            "all streams",
            _text(f.total_tps, "tok/s") + f"  ({f.concurrency} at once, first request to last token)",
        )
        if is_many
        else ("decode, all", _text(f.decode_tps, "tok/s") + f"  ({f.batch} at once)")
    )
    rows = [
        ("model", f"{f.model} · {f.label}"),
        ("load", _text(f.load_s, "s", 2)),
        ("compile prefill", _text(f.compile_prefill_s, "s", 3) + "  (the first after the load)"),
        (
            "TTFT",
            _text(f.ttft_ms, "ms")
            + f"{network}{mean}  ({f.prompt_tokens} prompt tokens, {f.cached_tokens} cached)",
        ),
        ("prefill", _text(f.prefill_tps, "tok/s")),
        ("decode", _text(f.decode_tps_user, "tok/s/user") + f"{mean}  ({f.tokens} {unit}{_per_forward(f)})"),
        everything,
        *(_stream_row(number, each) for number, each in enumerate(f.streams, start=1)),
        *(_agreement_rows(f.agreement) if f.agreement is not None else ()),
        *((f"step {step}", _text(value, "ms", 2)) for step, value in f.token_ms.items()),
    ]
    text = [f"{label:<16} {value}" for label, value in rows]
    for each in references:
        text.append(
            f"{'upstream':<16} {each.model} on {each.device}, batch {each.batch}: {each.decode_tps_user} tok/s/user, "
            f"TTFT {each.ttft_ms:.0f} ms"
        )
    text.extend(f"{'':<16} source: {source}" for source in dict.fromkeys(each.source for each in references))
    return text


def _per_forward(figures: Figures) -> str:
    """`, 2.1 a forward by prompt lookup`, or that there is no speculation, in an engine that can have it."""
    if not figures.is_speculating:
        return ", without speculation" if figures.engine == "cpu" else ""
    if figures.tokens_per_forward is None:  # a batch has none
        return ""
    return f", {figures.tokens_per_forward:.1f} a forward by prompt lookup"


def _agreement_rows(agreement: Agreement) -> Iterator[tuple[str, str]]:
    share = 100 * agreement.agreed / agreement.compared
    first = f", first other token: {agreement.first_difference}" if agreement.first_difference else ""
    yield (
        "agreement",
        f"{agreement.agreed} of {agreement.compared} tokens ({share:.1f} %) are those of {agreement.label}{first}",
    )


def _stream_row(number: int, stream: StreamFigures) -> tuple[str, str]:
    ttft, rate = _text(stream.ttft_ms, "ms"), _text(stream.decode_tps, "tok/s")
    return f"stream {number}", f"TTFT {ttft}, {rate}  ({stream.tokens} tokens)"


def _text(value: float | None, unit: str, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f} {unit}"
