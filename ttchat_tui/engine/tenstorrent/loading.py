"""Load orchestration for one card: open the mesh, build the model, page the KV cache, compile, record traces."""

from __future__ import annotations

import functools
import gc
import importlib
import logging
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.tenstorrent import package
from ttchat_tui.engine.tenstorrent.adapter import CardModel, Profile, identify
from ttchat_tui.engine.tenstorrent.buckets import warm_lengths
from ttchat_tui.engine.tenstorrent.complete_weights import refuse_missing_weights
from ttchat_tui.engine.tenstorrent.default_mesh import one_chip_note
from ttchat_tui.engine.tenstorrent.environment import Api, importable_library
from ttchat_tui.engine.tenstorrent.errors import explain
from ttchat_tui.engine.tenstorrent.families import family_of, page_table
from ttchat_tui.engine.tenstorrent.mesh import (
    Mesh,
    default_shape,
    generator_fabric,
    mesh_shape,
    needed_trace_region,
    package_fabric,
    trace_region_bytes,
)
from ttchat_tui.engine.tenstorrent.prefill_trace import choose_prefill_trace, no_package_prefill_trace
from ttchat_tui.engine.tenstorrent.progress import NativeProgress, native_progress
from ttchat_tui.engine.tenstorrent.sampler_choice import (
    SamplerChoice,
    choose_package_sampler,
    choose_sampler,
    sample_on_host,
)
from ttchat_tui.engine.tenstorrent.source_profile import p100_fault
from ttchat_tui.engine.tenstorrent.stepper import CardStepper
from ttchat_tui.engine.tenstorrent.warm_up import SamplerFailed, verify_prefix, warm_up

log = logging.getLogger(__name__)

BLOCK_SIZE: Final = 32
"""Positions per page of the KV cache; upstream's value for single users."""

_MIN_CONTEXT: Final = 1024
_KV_POSITIONS: Final = 32_768
"""Default number of positions over all rows: they fit beside the weights wherever the model fits."""


class LoadedCard(msgspec.Struct, kw_only=True):
    """A model on the card. `close` works in any state."""

    mesh: Mesh
    model: CardModel | None
    stepper: CardStepper | None
    """Over `model`."""
    parts: list[Any]
    """Generator, model, arguments and cache: kept alive here, and dropped in this order."""
    profile: str
    context_length: int
    notes: tuple[str, ...]
    """Sentences for the user: limits of device sampling, and settings that have no effect here."""

    def close(self) -> None:
        """Release traces, drop the model and close the mesh, in the order of upstream's tests. Idempotent.

        Raises:
            EngineError: the mesh does not close.
        """
        try:
            if self.model is not None:
                self.model.close()
        finally:
            self.model = self.stepper = None
            while self.parts:
                self.parts.pop(0)
            gc.collect()
            self.mesh.close()


def context_positions(requested: int, model_maximum: int, batch: int) -> int:
    """Positions per row: a power of two, as tt_transformers requires, of at least 1,024."""
    most = requested or min(model_maximum, _KV_POSITIONS // batch)
    most = max(_MIN_CONTEXT, min(most, model_maximum))
    return 1 << (most.bit_length() - 1)


def _context_notes(spec: CardSpec, context: int) -> tuple[str, ...]:
    """That the context differs from the one that the user asked for, if it does."""
    if spec.requested_context in (0, context):
        return ()
    note = (
        f"The context is {context:,} tokens, not {spec.requested_context:,}: on a card it is a power of two, at least "
        f"{_MIN_CONTEXT:,} and at most the model's {spec.model_context:,}."
    )
    return (note,)


class CardSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model to put on the card, and how."""

    api: Api
    name: str
    """Base name of the model, for look-up in tables."""
    hf_model: str
    mesh_name: str
    """MESH_DEVICE; may be empty."""
    is_default_mesh: bool
    """The user named no mesh: one chip is as good."""
    requested_context: int
    """Positions per row; 0 for the default."""
    model_context: int
    """The model's own maximum."""
    probe: Sequence[int]
    """Ids of `kv_prefix.PROBE`."""
    options: TenstorrentOptions


def load_card(spec: CardSpec, report: ProgressReporter) -> LoadedCard:
    """Open the mesh and build the model, again with a larger trace region if the first was too small.

    Raises:
        LoadCancelled: from `report`. Exceptions of native code pass through too. The mesh is closed in both cases.
    """
    report(LoadProgress(phase="start", detail="ttnn"))
    ttnn: Any = importlib.import_module("ttnn")
    report(LoadProgress(phase="start", detail="card"))
    region = _first_region(spec)
    while True:
        mesh, notes = _open_mesh(ttnn, spec, region)
        try:
            build = _build_generator if spec.api == "generator" else _build_package
            card = build(ttnn, mesh, spec, report)
        except BaseException as error:
            larger = needed_trace_region(str(error))
            _drop_tensors(error)
            mesh.close()
            if larger is None or larger <= region:
                raise
            log.warning("the trace region of %d bytes was too small: %d", region, larger)
            region = larger
        else:
            card.notes = (*notes, *card.notes)
            return card


def _open_mesh(ttnn: Any, spec: CardSpec, region: int) -> tuple[Mesh, tuple[str, ...]]:
    """The mesh that the user named, otherwise one that opens, and sentences for the user.

    Raises:
        ModelLoadError: the name is unknown, or needs more chips than there are. RuntimeError from ttnn.
    """
    chips = len(ttnn.get_device_ids())
    if not spec.is_default_mesh:
        return Mesh(ttnn, mesh_shape(spec.mesh_name, chips), region, _fabric(ttnn, spec)), ()
    shape = default_shape(spec.mesh_name, chips)
    if shape != (1, 1):
        try:
            return Mesh(ttnn, shape, region, _fabric(ttnn, spec)), ()
        except RuntimeError as error:
            log.exception("%d chips do not open together", chips)
            notes = (f"{chips} chips do not open together ({explain(error)}), so one is used.",)
    else:
        notes = (one_chip_note(f"{chips} chips"),) if chips > 1 else ()
    return Mesh(ttnn, (1, 1), region), notes


def _fabric(ttnn: Any, spec: CardSpec) -> str:
    if spec.api == "package":
        return package_fabric(spec.mesh_name)
    return generator_fabric(ttnn, identify(_library_module("generator").Generator).name)


def _library_module(name: str) -> Any:
    """A module of the library with the Generator."""
    return importlib.import_module(f"models.{importable_library()}.tt.{name}")


def _first_region(spec: CardSpec) -> int:
    if spec.options.trace_region_bytes or not spec.options.trace:
        return spec.options.trace_region_bytes
    return trace_region_bytes(spec.name, spec.mesh_name)


def _drop_tensors(error: BaseException) -> None:
    """Drop the tensors of a failed build, which its frames hold: they must go before their device."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()


class _Built(NamedTuple):
    """What S1 to S6 make of a model."""

    generator: Any
    arguments: Any
    kv_cache: Any
    profile: Profile
    context: int


def _build_generator(ttnn: Any, mesh: Mesh, spec: CardSpec, report: ProgressReporter) -> LoadedCard:
    """S1 to S6."""
    context = context_positions(spec.requested_context, spec.model_context, spec.options.max_batch_size)
    with native_progress(report) as progress:
        generators = _library_module("generator")
        arguments, model, kv_cache = _build_model(ttnn, mesh, spec.options, context, progress)
        generator = generators.Generator(
            model=[model], model_args=[arguments], mesh_device=mesh.device, tokenizer=arguments.tokenizer
        )
        profile = identify(generator)
        has_parameters = family_of(profile).has_sampler
        choice = choose_sampler(
            spec.options, generators, model, name=spec.name, has_parameters=has_parameters, label=profile.name
        )
        built = _Built(generator, arguments, kv_cache, profile, context)
        warm = functools.partial(_warm_model, ttnn, mesh, spec.options, built, progress, report)
        try:
            card_model, notes = warm(choice)
        except SamplerFailed as failure:
            _drop_tensors(failure)
            card_model, notes = warm(sample_on_host(str(failure)))
        stepper = CardStepper(card_model)
        return LoadedCard(
            mesh=mesh,
            model=card_model,
            stepper=stepper,
            parts=[generator, model, arguments, kv_cache],
            profile=profile.name,
            context_length=context,
            notes=(
                *_context_notes(spec, context),
                *_fault_notes(arguments),
                *notes,
                *_reuse_notes(card_model, stepper, spec, profile),
            ),
        )


def _build_model(
    ttnn: Any, mesh: Mesh, options: TenstorrentOptions, context: int, progress: NativeProgress
) -> tuple[Any, Any, Any]:
    """Arguments, model and paged KV cache from `create_tt_model`, which reads, converts and uploads the weights."""
    common, config = _library_module("common"), _library_module("model_config")
    progress.check()
    batch = options.max_batch_size
    with refuse_missing_weights():
        arguments, model, kv_cache, state = common.create_tt_model(
            mesh.device,
            instruct=True,
            max_batch_size=batch,
            optimizations=_optimizations(config, options),
            max_seq_len=context,
            paged_attention_config=common.PagedAttentionConfig(
                block_size=BLOCK_SIZE, max_num_blocks=batch * (context // BLOCK_SIZE)
            ),
            dtype=ttnn.bfloat8_b,
        )
    del state  # The host's copy of the weights: 16 GB for an 8B model.
    gc.collect()
    progress.check()
    return arguments, model, kv_cache


def _fault_notes(arguments: Any) -> tuple[str, ...]:
    """Faults of the checkout on this card."""
    if getattr(arguments, "device_name", "") != "P100":
        return ()
    fault = p100_fault(Path(_library_module("model_config").__file__))
    return () if fault is None else (fault.line,)


def _warm_model(
    ttnn: Any,
    mesh: Mesh,
    options: TenstorrentOptions,
    built: _Built,
    progress: NativeProgress,
    report: ProgressReporter,
    choice: SamplerChoice,
) -> tuple[CardModel, tuple[str, ...]]:
    """A model that has run once, and notes on how it samples and what it records.

    Raises:
        SamplerFailed: sampling on the card does not work.
    """
    card_samples = choice.kind is not None
    recorded = choose_prefill_trace(options, built.profile, built.arguments, card_samples=card_samples)
    model = family_of(built.profile)(
        built.generator,
        built.profile,
        kv_cache=built.kv_cache,
        page_table=page_table(options.max_batch_size, built.context // BLOCK_SIZE),
        trace=options.trace,
        records_prefill=bool(recorded.lengths),
        release_trace=ttnn.release_trace,
        count_programs=mesh.device.num_program_cache_entries,
        sampling_params=choice.kind,
    )
    try:
        warm_up(
            model,
            warm_lengths(built.profile.name, built.context, recorded.lengths),
            progress,
            report,
            traced=recorded.lengths,
            starts_behind=options.kv_reuse and built.profile.has_start_pos,
        )
    except BaseException:
        model.close()
        raise
    return model, (*choice.notes, *recorded.notes)


def _reuse_notes(model: CardModel, stepper: CardStepper, spec: CardSpec, profile: Profile) -> tuple[str, ...]:
    """Have `stepper` reuse cached prefixes if the user wants that and the card can; otherwise say why not."""
    if not (spec.options.kv_reuse and profile.has_start_pos):
        return _no_reuse(spec.options, profile.name)
    try:
        return verify_prefix(stepper, spec.probe)
    except BaseException:
        model.close()
        raise


def _no_reuse(options: TenstorrentOptions, profile: str) -> tuple[str, ...]:
    """Why `kv_reuse` has no effect, if it is set."""
    if not options.kv_reuse:
        return ()
    note = (
        f"{setting('tt.kv_reuse')} has no effect: tt-metal can start behind a cached prefix from 2026-08 on, and this one is "
        f"{profile}. Each turn prefills the whole conversation."
    )
    return (note,)


def _build_package(ttnn: Any, mesh: Mesh, spec: CardSpec, report: ProgressReporter) -> LoadedCard:
    """S7: the standalone package, which compiles and records by itself."""
    options = spec.options
    batch = options.max_batch_size
    context = package.positions(spec.requested_context, spec.model_context, _KV_POSITIONS // batch)
    choice = choose_package_sampler(options)
    with native_progress(report) as progress, refuse_missing_weights():
        llm = package.build(
            package.package_for(spec.name),
            mesh.device,
            hf_model=spec.hf_model,
            batch=batch,
            max_seq_len=context,
            optimizations=options.optimizations,
            trace=options.trace,
            draws=choice.kind is not None,
        )
        progress.check()
        report(LoadProgress(phase="compile"))
        table = page_table(batch, context // BLOCK_SIZE)
        try:
            card_model = package.ExecutorModel(
                llm,
                table,
                trace=options.trace,
                count_programs=mesh.device.num_program_cache_entries,
                sampling_params=choice.kind,
            )
        except BaseException:
            llm.cleanup()
            raise
        progress.check()
        return LoadedCard(
            mesh=mesh,
            model=card_model,
            stepper=CardStepper(card_model),
            parts=[llm],
            profile="S7",
            context_length=context,
            notes=(
                *_context_notes(spec, context),
                *choice.notes,
                *no_package_prefill_trace(options),
                *_no_reuse(options, "S7"),
            ),
        )


def _optimizations(config: Any, options: TenstorrentOptions) -> Callable[[Any], Any]:
    precision = getattr(config.DecodersPrecision, options.optimizations)
    return lambda arguments: precision(arguments.n_layers, arguments.model_name)
