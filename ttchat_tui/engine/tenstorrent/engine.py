"""The Tenstorrent engine: the model stays on the card between replies."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    LoadProgress,
    ProgressReporter,
    PromptCounted,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec, TenstorrentOptions
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.domain.user_paths import current_folder, home
from ttchat_tui.engine.base import (
    CannotFollow,
    ModelLoadError,
    UnusableConstraint,
    not_loaded,
    refusal,
    require_no_constraint,
)
from ttchat_tui.engine.decoding.job import LiveSampling
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.tenstorrent import environment, weight_cache
from ttchat_tui.engine.tenstorrent.card_access import require_access
from ttchat_tui.engine.tenstorrent.card_sampling import LimitedControl, limit_request
from ttchat_tui.engine.tenstorrent.default_mesh import MeshChoice, choose_mesh, named_mesh
from ttchat_tui.engine.tenstorrent.errors import explain_errors
from ttchat_tui.engine.tenstorrent.holders import require_free
from ttchat_tui.engine.tenstorrent.kv_prefix import PROBE
from ttchat_tui.engine.tenstorrent.loading import CardSpec, LoadedCard, load_card
from ttchat_tui.engine.tenstorrent.mesh import mesh_shape, named_shape
from ttchat_tui.engine.tenstorrent.stepper import CardStepper
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.engine.tenstorrent.visible_cards import chip_count
from ttchat_tui.engine.text.chat_text import chat_text
from ttchat_tui.engine.text.generation_config import recommended_sampling, suppressed_ids, unapplied_notes
from ttchat_tui.engine.text.json_file import read_json, read_json_if_there
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder

log = logging.getLogger(__name__)


class _Loaded(msgspec.Struct, kw_only=True):
    card: LoadedCard
    stepper: CardStepper
    draws: frozenset[str] | None
    """Sampling parameters that device sampling honours; None: the host samples, with all of them."""
    batch_sizes: tuple[int, ...]
    responder: Responder


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    api: environment.Api
    mesh: MeshChoice
    folder: Path
    """The model folder, under a name that tt_transformers knows."""
    variables: dict[str, str]
    """Environment variables to set before ttnn is imported."""
    notes: tuple[str, ...]
    """Sentences for the user."""


class TenstorrentEngine:
    """An `Engine`. ttnn reads the environment once, at its import: one process keeps one configuration."""

    def __init__(self) -> None:
        self._loaded: _Loaded | None = None

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        started = time.perf_counter()
        report(LoadProgress(phase="start", detail="ttnn"))
        prepared = self._prepare(spec)
        with environment.applied(prepared.variables, os.environ):
            return self._load(spec, prepared, report, started)

    def _load(
        self, spec: ModelSpec, prepared: _Prepared, report: ProgressReporter, started: float
    ) -> EngineInfo:
        folder, options = prepared.folder, spec.options_as(TenstorrentOptions)
        require_access(os.environ)
        if not options.ignore_holders:
            require_free(os.environ)
        config = read_json(folder / "config.json")
        report(LoadProgress(phase="start", detail="chat template"))
        tokenizer, template = chat_text(
            tokenizer_from_folder(folder), template_from_folder(folder), spec.template_options
        )
        card_spec = CardSpec(
            api=prepared.api,
            name=folder.name,
            hf_model=str(folder),
            mesh_name=prepared.mesh.name,
            is_default_mesh=prepared.mesh.is_default,
            requested_context=spec.context_length,
            model_context=_longest_context(config),
            probe=tokenizer.encode_pieces((PromptPiece(PROBE, False),))[0],
            options=options,
        )
        with explain_errors():
            card = load_card(card_spec, report)
        generation = read_json_if_there(folder / "generation_config.json")
        suppressed = suppressed_ids(generation, tokenizer.end_ids)
        self._loaded = _ready(card, tokenizer, template, suppressed)
        draws = self._loaded.draws
        notes = [*prepared.notes, *card.notes, *unapplied_notes(generation)]
        if draws is not None and suppressed:
            notes.append(
                f"The card samples, so tokens that the model suppresses may come. {_let_the_host_sample()}"
            )
        return EngineInfo(
            model=spec.name,
            engine="tt",
            label=f"tt {card.profile} {options.optimizations}" + (" device sampling" if draws else ""),
            context_length=card.context_length,
            vocab_size=int(config["vocab_size"]),
            load_s=time.perf_counter() - started,
            capabilities=_capabilities(self._loaded),
            end_ids=self._loaded.responder.end_ids,
            notes=tuple(notes),
            recommended=recommended_sampling(generation) or spec.recommended,
        )

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        if self._loaded is None:
            raise not_loaded()
        return self._loaded.responder.count(count_id, messages, sampling, keep)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._loaded is None:
            yield refusal(request, not_loaded().info)
            return
        loaded = self._loaded
        if loaded.draws is not None and request.given.is_followed:
            yield refusal(request, _no_logits().info)
            return
        if loaded.draws is not None:
            try:
                require_no_constraint(
                    request, "The card samples, and it has no constraints.", _let_the_host_sample()
                )
            except UnusableConstraint as error:
                yield refusal(request, error.info)
                return
            request = limit_request(request, loaded.draws)
            control = LimitedControl(control, loaded.draws)
            loaded.stepper.draw_by([LiveSampling(request, control, row) for row in range(request.rows)])
        before = _programs(loaded.card)
        try:
            yield from loaded.responder.generate(request, control)
        finally:
            after = _programs(loaded.card)
            log.info("programs compiled on the card: %s before the reply, %s after", before, after)

    def unload(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            with explain_errors():
                loaded.card.close()

    def close(self) -> None:
        self.unload()

    def _prepare(self, spec: ModelSpec) -> _Prepared:
        """Find tt-metal, and choose the folders and variables of this load.

        Raises:
            EngineError: something is missing; the cure says how to get it.
        """
        options = spec.options_as(TenstorrentOptions)
        mesh = _mesh(options)  # First: it needs nothing that may be missing.
        checkout = environment.find_checkout(options.home, os.environ, home=home(), current=current_folder())
        api = environment.choose_api(options.api, checkout, os.environ)
        if api == "generator":
            environment.require_whole_chunks(os.environ)
        path = Path(spec.path)
        if not path.is_dir():
            raise ModelLoadError(
                f"{path.name} is not a folder with config.json and safetensors.",
                "The Tenstorrent engine runs Hugging Face checkpoints: choose one of those (`ttchat-tui models list`).",
            )
        cache = environment.cache_parent(options.cache_dir, os.environ, path)
        folder = environment.model_folder(path, spec.repo, cache / "names")
        rows = named_shape(mesh.name)[0] if mesh.name else 1
        settings = environment.EnvironmentSettings(
            hf_model=str(folder),
            is_local=True,
            cache_dir=weight_cache.make(weight_cache.folder_for(cache, folder.name, path, rows)),
            logs_dir=cache / "native",
            checkout=checkout,
            operation_timeout_s=options.operation_timeout_s,
        )
        if checkout is not None:
            environment.put_on_path(checkout)
        return _Prepared(
            api=api,
            mesh=mesh,
            folder=folder,
            variables={**environment.variables(settings, os.environ), **mesh.variables},
            notes=(*_shared_notes(cache), *([mesh.note] if mesh.note else ())),
        )


def _let_the_host_sample() -> str:
    on_host = setting("tt.sampling", '"host"')
    return f"Let the host sample: {on_host}."


def _no_logits() -> CannotFollow:
    return CannotFollow(
        "The card samples its tokens itself, so no probabilities reach the host.",
        _let_the_host_sample(),
    )


def _ready(
    card: LoadedCard, tokenizer: ChatTokenizer, template: ChatTemplate, suppressed: Collection[int]
) -> _Loaded:
    """The loaded state: a responder over the model on the card."""
    model, stepper = card.model, card.stepper
    assert model is not None
    assert stepper is not None
    return _Loaded(
        card=card,
        stepper=stepper,
        draws=model.draws,
        batch_sizes=(batch_sizes := tuple(range(1, model.batch + 1))),
        responder=Responder(
            tokenizer=tokenizer,
            template=template,
            context_length=card.context_length,
            stepper=stepper,
            batch=stepper,
            batch_sizes=batch_sizes,
            prefill_chunk=card.context_length,
            constraint_tokenizer=tokenizer,
            suppressed=suppressed,
        ),
    )


def _programs(card: LoadedCard) -> int | None:
    """How many programs are compiled; None if this ttnn or this card does not count them. For the log: what is compiled after a trace was
    recorded may be overwritten by its replay."""
    count = getattr(card.mesh.device, "num_program_cache_entries", None)
    try:
        return None if count is None else int(count())
    except RuntimeError:  # the card failed: the reply's own error says so
        return None


def _capabilities(loaded: _Loaded) -> Capabilities:
    on_host = "" if loaded.draws is None else f"The card samples. {_let_the_host_sample()}"
    return Capabilities(
        sampling=loaded.responder.sampling if loaded.draws is None else loaded.draws,
        constraint_cure=" ".join(filter(None, (on_host, loaded.responder.constraint_cure))),
        logprobs=loaded.draws is None,
        follows=loaded.draws is None,
        batch_sizes=loaded.batch_sizes,
        kv_reuse=loaded.stepper.reuses_prefix,
        thinking=loaded.responder.thinking,
    )


def _mesh(options: TenstorrentOptions) -> MeshChoice:
    """The mesh that the user named, or the default of this machine.

    Raises:
        ModelLoadError: the name is unknown, or needs more chips than the cards have by the driver's account.
    """
    system = System.of(os.environ)
    named = named_mesh(options, os.environ)
    if named and (chips := chip_count(system, os.environ)) is not None:
        mesh_shape(named, chips)
    return choose_mesh(named, system, os.environ)


def _shared_notes(cache: Path) -> tuple[str, ...]:
    return tuple(
        f"{shared} holds converted weights that may belong to another model, so it is not used. Delete it to free space."
        for shared in weight_cache.shared_caches(cache)
    )


def _longest_context(config: Mapping[str, Any]) -> int:
    value = config.get("max_position_embeddings") or config.get("text_config", {}).get(
        "max_position_embeddings"
    )
    return int(value or 4096)
