"""Load orchestration of the CPU engine: read, choose the precision, check memory, convert, warm up.

The compiled kernel runs without torch, which is imported for other models only.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from ttchat_tui.domain.events import LoadPhase, LoadProgress, ProgressReporter
from ttchat_tui.domain.free_memory import available_bytes
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.shards import shards_of
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.checkpoints.folder_kind import check_folder_kind
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.hf_config import why_not_own
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.native import build, library
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.model import NativeModel
from ttchat_tui.engine.cpu.native.self_check import checked_passes, is_correct
from ttchat_tui.engine.cpu.native.step import FORMATS, fits_step
from ttchat_tui.engine.cpu.native.weights import convert_weights, stored_format
from ttchat_tui.engine.cpu.preload import import_torch
from ttchat_tui.engine.cpu.stepper import CachedStepper
from ttchat_tui.engine.cpu.thread_governor import GovernableStepper, GovernedStepper
from ttchat_tui.engine.cpu.warm_up import usable_cores, warm_up
from ttchat_tui.engine.cpu.weights.memory import check_memory, needed_bytes
from ttchat_tui.engine.cpu.weights.precision import WeightPlan, native_plan, notes_of_float32_cache
from ttchat_tui.engine.decoding.lookup import LookupStepper
from ttchat_tui.engine.decoding.loop import BatchStepper, Stepper
from ttchat_tui.engine.decoding.passes import NUMPY, Passes
from ttchat_tui.engine.text import template_process
from ttchat_tui.engine.text.chat_text import ChatText, chat_text
from ttchat_tui.engine.text.generation_config import recommended_sampling, suppressed_ids, unapplied_notes
from ttchat_tui.engine.text.json_file import read_json, read_json_if_there
from ttchat_tui.engine.text.template import ChatTemplate, TemplateData
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder
from ttchat_tui.engine.text.tokenizer_gguf import tokenizer_from_gguf

_log = logging.getLogger(__name__)

_TORCH_MODEL: Final = "ttchat_tui.engine.cpu.torch_model"
_AUTO_MODEL: Final = "ttchat_tui.engine.cpu.auto_model"


class ResettableStepper(GovernableStepper, Protocol):
    def reset(self) -> None:
        """Drop all positions."""
        ...


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is ready to reply."""

    stepper: Stepper
    """One forward for each id."""
    lookup: LookupStepper | None
    """`stepper` with speculation, over the same KV cache; None if that is off or not exact for these weights."""
    batch: BatchStepper | None
    """For candidates, over the same KV cache; None through transformers, and where a conversation may become long (LongRoPE)."""
    tokenizer: ChatTokenizer
    template: ChatTemplate
    context_length: int
    vocab_size: int
    parameters: int
    label: str
    threads: int
    passes: Passes
    """For the sampler."""
    share_threads: Callable[[int], None]
    """Use only a share of the threads, since so many models decode at once."""
    recommended: SamplingParams | None
    suppressed: Collection[int]
    """Tokens that its authors never want."""
    notes: tuple[str, ...]


class _ColdModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model before its warm-up, through our own forward or through transformers."""

    stepper: ResettableStepper
    tokenizer: ChatTokenizer
    template: ChatTemplate
    generation_config: Mapping[str, Any]
    context_length: int
    vocab_size: int
    parameters: int
    label: str
    draft_rows: int = 1
    """`WeightPlan.draft_rows`."""
    notes: tuple[str, ...] = ()
    passes: Passes = NUMPY
    set_threads: Callable[[int], None]


def load_model(spec: ModelSpec, report: ProgressReporter) -> LoadedModel:
    """Read, convert and warm up a model.

    Raises:
        ModelLoadError: the model is missing, unreadable or not supported.
        OutOfMemory: it does not fit into memory.
        LoadCancelled: raised by `report`.
    """
    model = _read_model(spec, report)
    options = spec.options_as(CpuOptions)
    threads = warm_up(model.stepper, options.threads, _steps(report, "warm up", "steps"), model.set_threads)
    model.stepper.reset()
    context = min(spec.context_length or model.context_length, model.context_length)
    stepper = _governed(model, options.threads, threads)
    own = model.stepper if isinstance(model.stepper, CachedStepper) else None
    lookup = None
    if options.speculation == "auto" and own is not None and model.draft_rows > 1:
        # Around the governor, which times single steps: the forward of a draft takes longer.
        lookup = LookupStepper(stepper, own, context, model.draft_rows)
    return LoadedModel(
        stepper=stepper,
        lookup=lookup,
        # The rows of a batch share the prompt's keys, which LongRoPE would change for those that become long.
        batch=own if own is None or not own.becomes_long(context) else None,
        tokenizer=model.tokenizer,
        template=model.template,
        context_length=context,
        vocab_size=model.vocab_size,
        parameters=model.parameters,
        label=model.label,
        threads=threads,
        passes=model.passes,
        share_threads=_thread_sharer(model, stepper, threads),
        recommended=recommended_sampling(model.generation_config) or spec.recommended,
        suppressed=suppressed_ids(model.generation_config, model.tokenizer.end_ids),
        notes=(*model.notes, *_notes(model, spec)),
    )


def _read_model(spec: ModelSpec, report: ProgressReporter) -> _ColdModel:
    path = Path(spec.path)
    report(LoadProgress(phase="read", detail=path.name))
    template_process.start()
    if not path.exists():
        raise ModelLoadError(
            f"There is no model at {path}.", "Fetch it with `ttchat-tui models pull`, or check the path."
        )
    with _naming(path), _unchanged(path):
        if not path.is_dir():
            return _load_gguf(path, spec, report)
        raw = read_json(path / "config.json")
        check_folder_kind(path, raw, spec.name)
        reason = why_not_own(raw)
        return _load_auto(path, spec, reason, report) if reason else _load_folder(path, spec, report)


@contextmanager
def _unchanged(path: Path) -> Generator[None, None, None]:
    """Raises ModelLoadError if weights are written meanwhile: those that were read are of two states."""

    def state() -> list[tuple[int, int]]:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else shards_of(path)
        found = [file.stat() for file in files if file.is_file()]
        return [(each.st_size, each.st_mtime_ns) for each in found]

    before, failure = state(), None
    try:
        yield
    except ModelLoadError as error:
        failure = error
    if state() != before:
        raise ModelLoadError(
            f"{path} has changed while it was loaded.",
            "Wait until it is downloaded or copied, and load it again.",
        ) from failure
    if failure is not None:
        raise failure


@contextmanager
def _naming(path: Path) -> Generator[None, None, None]:
    """Refusals name the file."""
    try:
        yield
    except ModelLoadError as error:
        if path.name in str(error):
            raise
        raise ModelLoadError(f"{path.name}: {error}", error.info.cure) from error


def _notes(model: _ColdModel, spec: ModelSpec) -> list[str]:
    """What the user should know about the template, the sampling, the context and the threads."""
    notes = [*model.template.notes, *unapplied_notes(model.generation_config)]
    if spec.context_length > model.context_length:
        notes.append(
            f"The context is {model.context_length:,} tokens, the model's maximum, instead of the"
            f" {spec.context_length:,} of {setting('model.context_length')}."
        )
    threads, cores = spec.options_as(CpuOptions).threads, usable_cores()
    if threads > cores:
        notes.append(
            f"{setting('cpu.threads', str(threads))} on {cores} core{'s' * (cores > 1)}: more threads than cores slow it down."
        )
    return notes


def _governed(model: _ColdModel, requested: int, measured: int) -> Stepper:
    """A stepper that adapts the number of threads while replies run, unless the user set it or there is one core."""
    cores = usable_cores()
    if requested or cores == 1:
        return model.stepper
    # If one was fastest at warm-up, that may have been the load at that moment.
    many = cores if measured == 1 else measured
    return GovernedStepper(model.stepper, cores, many, measured, model.set_threads)


def _thread_sharer(model: _ColdModel, stepper: Stepper, threads: int) -> Callable[[int], None]:
    """For `LoadedModel.share_threads`. `threads`: those of a model that decodes alone."""
    if isinstance(stepper, GovernedStepper):
        return stepper.share
    return lambda models: model.set_threads(max(1, threads // models))


def _load_gguf(path: Path, spec: ModelSpec, report: ProgressReporter) -> _ColdModel:
    file = GgufFile(path)
    try:
        tokenizer = tokenizer_from_gguf(file.metadata)
        return _load_own(file, tokenizer, file.template, spec, report)
    finally:
        file.close()


def _load_folder(path: Path, spec: ModelSpec, report: ProgressReporter) -> _ColdModel:
    folder = SafetensorsFolder(path)
    if folder.unread:
        return _load_auto(path, spec, f"the tensor {folder.unread}", report)
    return _load_own(folder, tokenizer_from_folder(path), template_from_folder(path), spec, report)


def _check_ids(tokenizer: ChatTokenizer, rows: int) -> None:
    """Raises ModelLoadError if a token of the vocabulary has no row in the embedding, which a message would crash at."""
    token = tokenizer.first_beyond(rows)
    if token:
        raise ModelLoadError(
            f"The tokenizer has the token {token}, but the model has only {rows:,} embeddings.",
            "The tokenizer is of another model, or was changed later: take both from one place.",
        )


def _chat_text(
    tokenizer: ChatTokenizer, data: TemplateData, spec: ModelSpec, report: ProgressReporter
) -> ChatText:
    """Compile the template before the weights are converted, because it may be broken or never end."""
    report(LoadProgress(phase="read", detail="chat template"))
    return chat_text(tokenizer, data, spec.template_options)


def _load_own(
    checkpoint: Checkpoint,
    tokenizer: ChatTokenizer,
    template: TemplateData,
    spec: ModelSpec,
    report: ProgressReporter,
) -> _ColdModel:
    """A checkpoint of a family that `families.py` describes, for our own forward."""
    _check_ids(tokenizer, checkpoint.config.vocab_size)
    tokenizer, chat_template = _chat_text(tokenizer, template, spec, report)
    options, config = spec.options_as(CpuOptions), checkpoint.config
    notes = [*checkpoint.notes]
    rope = RopeTable(config, checkpoint.rope_factors)
    converted = _steps(report, "convert", "layers")
    compiled = _compiled_kernel(spec, report, notes) if fits_step(config) else None
    if compiled is not None:
        stepper, plan = _native_stepper(checkpoint, options, rope, compiled, converted)
        set_threads = compiled.set_threads
    else:
        torch_model = _import_torch(report)
        model, plan = torch_model.load_torch_model(checkpoint, options, rope, converted)
        stepper, set_threads = CachedStepper(model), import_torch().set_num_threads
        notes += notes_of_float32_cache(options)
    return _ColdModel(
        stepper=stepper,
        tokenizer=tokenizer,
        template=chat_template,
        generation_config=dict(checkpoint.generation_config),
        context_length=config.context_length,
        vocab_size=config.vocab_size,
        parameters=config.parameters(),
        label=_label(checkpoint, plan, options),
        draft_rows=plan.draft_rows,
        notes=(*plan.notes, *notes),
        passes=NUMPY if compiled is None else checked_passes(compiled),
        set_threads=set_threads,
    )


def _label(checkpoint: Checkpoint, plan: WeightPlan, options: CpuOptions) -> str:
    """`cpu q5_k native`: the bits of the file; `cpu int8 native`: rounded to these at the user's request; without the compiled
    kernel `cpu f16`. Settings with which the logits are others have other labels: a replay goes by the label."""
    if not plan.is_native:
        return f"cpu {plan.format}" + (" prefill-bf16" if plan.prefill_copy else "")
    held = plan.rounded or stored_format(checkpoint) or plan.format
    return f"cpu {held} native" + ("" if options.kv_cache == "f16" else f" kv-{options.kv_cache}")


def _native_stepper(
    checkpoint: Checkpoint,
    options: CpuOptions,
    rope: RopeTable,
    compiled: Library,
    report: Callable[[int, int], None],
) -> tuple[CachedStepper, WeightPlan]:
    plan = native_plan(options.precision, checkpoint.stored_bits)
    assert plan is not None, "there is no kernel for this precision"
    cache_format = FORMATS[options.kv_cache]
    check_memory(needed_bytes(checkpoint.config, plan, cache_format), available_bytes())
    weights = convert_weights(checkpoint, compiled, plan.rounded, report)
    return CachedStepper(NativeModel(checkpoint.config, weights, rope, compiled, cache_format)), plan


def _import_torch(report: ProgressReporter, module: str = _TORCH_MODEL) -> Any:
    report(LoadProgress(phase="start", detail="torch"))
    import_torch()
    return importlib.import_module(module)


def _compiled_kernel(spec: ModelSpec, report: ProgressReporter, notes: list[str]) -> Library | None:
    """The compiled kernel; None if it is off, unavailable or computes wrong results. May append to `notes`."""
    options = spec.options_as(CpuOptions)
    is_off = options.kernel == "off" or not spec.kernel_dir
    if is_off or native_plan(options.precision, 16) is None:
        return None

    def compiling() -> None:
        report(LoadProgress(phase="compile", detail="decode kernel"))

    try:
        compiled = library.load(
            Path(spec.kernel_dir), os.environ, compiling, notes.append, is_asked_for=options.kernel == "on"
        )
    except build.Unavailable as reason:
        _log.info("no compiled decode kernel: %s", reason)
        return None
    if not is_correct(compiled):
        return None
    # For packing; the warm-up measures what decodes fastest.
    compiled.set_threads(options.threads or usable_cores())
    return compiled


def _load_auto(path: Path, spec: ModelSpec, reason: str, report: ProgressReporter) -> _ColdModel:
    """A folder that our own forward does not run, through transformers."""
    options = spec.options_as(CpuOptions)
    precision = options.precision
    if precision not in ("auto", "fp32"):
        asked = setting("cpu.precision", f'"{precision}"')
        raise ModelLoadError(
            f"{asked} is not available for models that run through transformers.",
            "Set it to auto or fp32.",
        )
    tokenizer, template = _chat_text(tokenizer_from_folder(path), template_from_folder(path), spec, report)
    weights = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    check_memory(2 * weights, available_bytes())  # Most files are 16-bit.
    auto_model = _import_torch(report, _AUTO_MODEL)
    report(LoadProgress(phase="convert", detail="through transformers"))
    loaded = auto_model.load_auto_model(path)
    _check_ids(tokenizer, loaded.vocab_size)
    return _ColdModel(
        stepper=loaded.stepper,
        tokenizer=tokenizer,
        template=template,
        generation_config=read_json_if_there(path / "generation_config.json"),
        context_length=loaded.context_length,
        vocab_size=loaded.vocab_size,
        parameters=loaded.parameters,
        label="cpu transformers fp32",
        notes=(
            f"Runs through transformers, because the folder contains {reason}.",
            *notes_of_float32_cache(options),
            *loaded.notes,
        ),
        set_threads=import_torch().set_num_threads,
    )


def _steps(report: ProgressReporter, phase: LoadPhase, unit: Any) -> Callable[[int, int], None]:
    return lambda done, total: report(LoadProgress(phase=phase, done=done, total=total, unit=unit))
