"""Preparation of a load on the engine thread: from a model name to a `ModelSpec`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.domain.model_spec import CpuOptions, EngineKind, ModelSource, ModelSpec, TemplateValue
from ttchat_tui.models.choice import split_kind
from ttchat_tui.models.fetch import pull
from ttchat_tui.models.local import find_local, resolve
from ttchat_tui.models.tokenizers import local_tokenizers

_ONLY_FILES: Final[Mapping[EngineKind, ModelSource]] = MappingProxyType({"cpu": "files"})


def _no_options(_kind: EngineKind) -> Any:
    return None


class Preparer(msgspec.Struct, frozen=True, kw_only=True):
    """Resolves and pulls models for one engine with the settings that every load shares.

    Called with a name and a reporter, as the engine host does.
    """

    models_dir: Path
    engine: EngineKind = "cpu"
    """For names that begin with no engine. Those of served models begin with `remote:`."""
    is_automatic: bool = False
    """`engine` was chosen by the app: a file that it cannot read goes to an engine that reads files."""
    sources: Mapping[EngineKind, ModelSource] = _ONLY_FILES
    """What each engine loads."""
    options_of: Callable[[EngineKind], Any] = _no_options
    """The settings of an engine, for `ModelSpec.options`."""
    context_length: int = 0
    """0: the model's own maximum."""
    template_options: Mapping[str, TemplateValue] = MappingProxyType({})
    """For `ModelSpec.template_options`."""
    kernel_dir: str = ""
    """Empty: no kernel is compiled."""
    environ: Mapping[str, str] = msgspec.field(default_factory=lambda: os.environ)

    def __call__(self, name: str, report: ProgressReporter) -> ModelSpec:
        """Resolve `name`, pull the model if it is not on this machine, and describe the load.

        A name may begin with its engine (`cpu:smollm2-135m-instruct`, `remote:lab/llama-3`). The name of a served model is
        passed on: only its server knows its models.

        Raises:
            ModelError: with kind, sentence and cure in `.info`.
            Whatever `report` raises.
        """
        kind, name = split_kind(name, self.sources)
        engine = kind or self.engine
        if self.sources[engine] == "names":
            return ModelSpec(
                engine=engine,
                name=name,
                context_length=self.context_length,
                options=self.options_of(engine),
                tokenizers=local_tokenizers(self.models_dir, self.environ),
            )
        found = resolve(name, self.models_dir, self.environ)
        if found.entry is not None and self._wants_folder(engine):
            entry = found.entry.as_folder()
            found = msgspec.structs.replace(
                found, entry=entry, path=find_local(entry, self.models_dir, self.environ)
            )
        path = found.path
        if path is None:
            assert found.entry is not None, "only a model with sources may lack a path"
            path = pull(found.entry, self.models_dir, report, self.environ)
        described = found.entry or found.sampling_of
        is_movable = self.is_automatic and kind is None
        if is_movable and self.sources[engine] == "folders" and not path.is_dir():
            engine = next(each for each, source in self.sources.items() if source == "files")
        return ModelSpec(
            engine=engine,
            name=found.name,
            path=str(path),
            context_length=self.context_length,
            options=self.options_of(engine),
            template_options=dict(self.template_options),
            kernel_dir=self.kernel_dir,
            recommended=described.recommended if described is not None else None,
            repo=next(iter(found.entry.repos), "") if found.entry else "",
        )

    def _wants_folder(self, engine: EngineKind) -> bool:
        """Whether a model of the catalog is taken as a folder of 16-bit weights: for cards, and for a precision that the
        user chose for the CPU."""
        options = self.options_of(engine)
        has_precision = isinstance(options, CpuOptions) and options.precision != "auto"
        return self.sources[engine] == "folders" or has_precision
