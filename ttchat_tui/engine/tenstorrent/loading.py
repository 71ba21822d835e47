"""From a model folder to a model on the card: open the mesh, build, page the KV cache, compile, record."""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Generator
from typing import Any, Final, cast

import msgspec

from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.base import ProgressReporter
from ttchat_tui.engine.tenstorrent.adapter import CardModel, adapt, page_table
from ttchat_tui.engine.tenstorrent.buckets import prefill_buckets
from ttchat_tui.engine.tenstorrent.mesh import Mesh, mesh_shape, needed_trace_region, trace_region_bytes
from ttchat_tui.engine.tenstorrent.progress import BarStream, NativeProgress

BLOCK_SIZE: Final = 32
"""Positions in one page of the KV cache; upstream's own for single users."""

_LEAST_CONTEXT: Final = 1024
_KV_POSITIONS: Final = 32_768
"""Positions of all rows together when none are asked for: fits beside the weights wherever the model does."""


class LoadedCard(msgspec.Struct, kw_only=True):
    """What is on the card. `close` in any state."""

    mesh: Mesh
    model: CardModel | None
    parts: list[Any]
    """Generator, model, arguments and cache, kept alive here and dropped in this order."""
    profile: str
    context_length: int
    vocab_size: int

    def close(self) -> None:
        """Release traces, drop the model, close the mesh: the order of upstream's tests. Idempotent.

        Raises:
            EngineError: the mesh would not close.
        """
        try:
            if self.model is not None:
                self.model.close()
        finally:
            self.model = None
            while self.parts:
                self.parts.pop(0)
            gc.collect()
            self.mesh.close()


def context_positions(wanted: int, model_maximum: int, batch: int) -> int:
    """Positions of one row: a power of two (tt_transformers wants one), at least 1,024."""
    most = wanted or min(model_maximum, _KV_POSITIONS // batch)
    most = max(_LEAST_CONTEXT, min(most, model_maximum))
    return 1 << (most.bit_length() - 1)


def load_card(
    name: str,
    options: TenstorrentOptions,
    mesh_name: str,
    wanted: int,
    model_maximum: int,
    report: ProgressReporter,
) -> LoadedCard:
    """Load the model that HF_MODEL names.

    Args:
        name: base name of the model, for the tables.
        mesh_name: MESH_DEVICE; may be empty.
        wanted: positions of one row; 0 for as many as fit.
    Raises:
        Whatever native code raises; the mesh is closed then. LoadCancelled from `report`.
    """
    ttnn: Any = importlib.import_module("ttnn")
    report(LoadProgress(phase="start", detail="card"))
    shape = mesh_shape(mesh_name, len(ttnn.get_device_ids()))
    region = options.trace_region_bytes or trace_region_bytes(name, mesh_name)
    if not options.trace:
        region = options.trace_region_bytes
    while True:
        mesh = Mesh(ttnn, shape, region)
        try:
            return _build(ttnn, mesh, options, wanted, model_maximum, report)
        except BaseException as error:
            gc.collect()
            mesh.close()
            larger = needed_trace_region(str(error))
            if larger is None or larger <= region:
                raise
            region = larger


def _build(
    ttnn: Any,
    mesh: Mesh,
    options: TenstorrentOptions,
    wanted: int,
    model_maximum: int,
    report: ProgressReporter,
) -> LoadedCard:
    batch = options.max_batch_size
    context = context_positions(wanted, model_maximum, batch)
    pages = context // BLOCK_SIZE
    with native_progress(report) as progress:
        common: Any = importlib.import_module("models.tt_transformers.tt.common")
        generators: Any = importlib.import_module("models.tt_transformers.tt.generator")
        config: Any = importlib.import_module("models.tt_transformers.tt.model_config")
        progress.check()
        arguments, model, kv_cache, state = common.create_tt_model(
            mesh.device,
            instruct=True,
            max_batch_size=batch,
            optimizations=_optimizations(config, options),
            max_seq_len=context,
            paged_attention_config=common.PagedAttentionConfig(
                block_size=BLOCK_SIZE, max_num_blocks=batch * pages
            ),
            dtype=ttnn.bfloat8_b,
        )
        del state  # The host's copy of the weights: 16 GB for a model of 8B.
        gc.collect()
        progress.check()
        generator = generators.Generator(
            model=[model], model_args=[arguments], mesh_device=mesh.device, tokenizer=arguments.tokenizer
        )
        card_model, profile = adapt(
            generator,
            kv_cache=kv_cache,
            page_table=page_table(batch, pages),
            trace=options.trace,
            release_trace=ttnn.release_trace,
        )
        loaded = LoadedCard(
            mesh=mesh,
            model=card_model,
            parts=[generator, model, arguments, kv_cache],
            profile=profile.name,
            context_length=context,
            vocab_size=int(arguments.vocab_size),
        )
        try:
            longest = int(getattr(arguments, "max_prefill_chunk_size", None) or context)
            warm_up(card_model, prefill_buckets(profile.name, min(context, longest)), progress, report)
        except BaseException:
            card_model.close()
            raise
        return loaded


def warm_up(model: CardModel, buckets: list[int], progress: NativeProgress, report: ProgressReporter) -> None:
    """Compile every prefill length, then the decode step: what is allocated after a trace was recorded may be
    overwritten by it, so nothing may be left to compile."""
    total = len(buckets) + 1
    for done, length in enumerate(buckets):
        report(
            LoadProgress(phase="compile", done=done, total=total, unit="steps", detail=f"prefill {length:,}")
        )
        model.prefill([[0] * length])
        progress.check()
    report(LoadProgress(phase="compile", done=len(buckets), total=total, unit="steps", detail="decode"))
    idle = model.batch - 1
    for index in range(2):  # The first compiles and records, the second replays.
        model.decode([0] * model.batch, [buckets[0] + index] + [-1] * idle, is_first=index == 0)
        progress.check()


def _optimizations(config: Any, options: TenstorrentOptions) -> Callable[[Any], Any]:
    precision = getattr(config.DecodersPrecision, options.optimizations)
    return lambda arguments: precision(arguments.n_layers, arguments.model_name)


@contextlib.contextmanager
def native_progress(report: ProgressReporter) -> Generator[NativeProgress, None, None]:
    """Loguru's lines and tqdm's bars as load progress, while the block lasts. They still reach the log."""
    progress = NativeProgress(report)
    sink: int | None = None
    loguru: Any = sys.modules.get("loguru")
    if loguru is not None:
        sink = loguru.logger.add(progress.line, level="DEBUG", format="{message}")
    stderr = sys.stderr
    sys.stderr = cast("Any", BarStream(cast("Any", stderr), progress))
    try:
        yield progress
    finally:
        sys.stderr = stderr
        if loguru is not None and sink is not None:
            with contextlib.suppress(ValueError):  # Removed by someone's logger.remove().
                loguru.logger.remove(sink)


def takes(function: Any, name: str) -> bool:
    """Whether `function` names this parameter."""
    return name in inspect.signature(function).parameters
