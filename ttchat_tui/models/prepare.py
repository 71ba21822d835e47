"""From a name to a `ModelSpec` that an engine can load: what the engine host runs on its thread before a load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ttchat_tui.domain.model_spec import (
    EngineKind,
    ModelSpec,
    Precision,
    PrefillCopy,
    RemoteOptions,
    Speculation,
    TenstorrentOptions,
)
from ttchat_tui.models.choice import split_kind
from ttchat_tui.models.fetch import pull
from ttchat_tui.models.local import resolve
from ttchat_tui.models.tokenizers import local_tokenizers
from ttchat_tui.models.verify import ProgressReporter


class Preparer(msgspec.Struct, frozen=True, kw_only=True):
    """Resolves and pulls models for one engine with the settings that every load shares.

    Called with a name and a reporter, as the engine host does.
    """

    models_dir: Path
    engine: EngineKind = "cpu"
    is_automatic: bool = False
    """Nobody asked for `engine`: a file that it cannot read (a card's engine reads folders) goes to the CPU."""
    precision: Precision = "auto"
    prefill_copy: PrefillCopy = "auto"
    threads: int = 0
    context_length: int = 0
    """0: the model's own maximum."""
    speculation: Speculation = "auto"
    kernel_dir: str = ""
    """Empty: no kernel is compiled."""
    tenstorrent: TenstorrentOptions = TenstorrentOptions()
    remote: RemoteOptions = RemoteOptions()
    environ: Mapping[str, str] = msgspec.field(default_factory=lambda: os.environ)

    def __call__(self, name: str, report: ProgressReporter) -> ModelSpec:
        """Resolve `name`, pull the model when it is not here, and describe the load.

        A name may say its engine (`cpu:smollm2-135m-instruct`, `remote:lab/llama-3`). A served model is taken as it is
        named: only its server knows what there is.

        Raises:
            ModelError: with kind, sentence and cure in `.info`.
            Whatever `report` raises.
        """
        kind, name = split_kind(name)
        engine = kind or self.engine
        if engine == "remote":
            return ModelSpec(
                engine="remote",
                name=name,
                context_length=self.context_length,
                remote=self.remote,
                tokenizers=local_tokenizers(self.models_dir, self.environ),
            )
        found = resolve(name, self.models_dir, self.environ)
        path = found.path
        if path is None:
            assert found.entry is not None, "only a model with sources may lack a path"
            path = pull(found.entry, self.models_dir, report, self.environ)
        if engine == "tt" and self.is_automatic and kind is None and not path.is_dir():
            engine = "cpu"
        return ModelSpec(
            engine=engine,
            name=found.name,
            path=str(path),
            precision=self.precision,
            prefill_copy=self.prefill_copy,
            threads=self.threads,
            context_length=self.context_length,
            speculation=self.speculation,
            kernel_dir=self.kernel_dir,
            recommended=found.entry.recommended if found.entry else None,
            repo=next(iter(found.entry.repos), "") if found.entry else "",
            tenstorrent=self.tenstorrent,
        )
