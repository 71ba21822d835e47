"""Puts a generation where the engine looks for it: folders of one-line modules that take their names from the fakes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.engine.tenstorrent.fakes import native
from tests.engine.tenstorrent.fakes.card import EVENTS
from tests.engine.tenstorrent.fakes.checkpoint import write_checkpoint
from ttchat_tui.domain.model_spec import ModelSpec, TenstorrentOptions

GENERATIONS: Final = ("s1", "s2", "s3", "s4", "s5", "s6", "compat", "s7")
_FAKES: Final = "tests.engine.tenstorrent.fakes"
_NAMES: Final = ("ttnn", "loguru", "models", "tt_transformers")


class Installation:
    """A generation's folders, and what the process was before they were importable."""

    def __init__(self, generation: str, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        """Writes the folders; nothing is importable yet.

        Args:
            generation: one of `GENERATIONS`.
            variables: more of them, for the card.
        """
        self.site = folder / "site"
        """Holds ttnn and what else pip installs."""
        checkout = folder / "tt-metal"
        self.checkpoint = write_checkpoint(folder / "checkpoints")
        _module(self.site / "loguru.py", "native")
        _module(self.site / "ttnn.py", "native", "import loguru")
        if generation == "s7":
            _package(self.site / "tt_transformers", "llm_runtime", "models", "models/llama32_1b", "sampling")
            _module(self.site / "tt_transformers/sampling/sampling_params.py", "s7")
            _module(self.site / "tt_transformers/models/llama32_1b/hf_generator.py", "s7")
        else:
            library = f"models/{'ttt_compat' if generation == 'compat' else 'tt_transformers'}"
            _package(checkout, "models", library, f"{library}/tt")
            for name in ("common", "generator", "model_config"):
                _module(checkout / library / "tt" / f"{name}.py", generation)
        root = "" if generation == "s7" else str(checkout)
        self.variables = {"TT_METAL_HOME": root, "TT_METAL_RUNTIME_ROOT": "", **(variables or {})}
        self.variables |= {native.DYNAMIC_TRACES: "1"} if generation in ("s5", "s6", "compat", "s7") else {}
        self.api: str = "package" if generation == "s7" else "generator"

    def spec(self, context_length: int = 1024, **options: object) -> ModelSpec:
        """The model, with these `[tt]` options."""
        return ModelSpec(
            engine="tt",
            name="tiny",
            path=str(self.checkpoint),
            context_length=context_length,
            options=TenstorrentOptions(
                **{"api": self.api, "max_batch_size": 4, "mesh_device": "N150", **options}  # type: ignore[arg-type]
            ),
        )

    def __enter__(self) -> Installation:
        """Make it importable here."""
        self._path, self._environ = list(sys.path), dict(os.environ)
        sys.path.insert(0, str(self.site))
        os.environ.update(self.variables)
        _forget()
        EVENTS.clear()
        return self

    def __exit__(self, *error: object) -> None:
        sys.path[:] = self._path
        os.environ.clear()
        os.environ.update(self._environ)
        _forget()


def _forget() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in _NAMES:
            del sys.modules[name]


def _package(root: Path, *folders: str) -> None:
    for folder in ("", *folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        if folder or root.name != "tt-metal":
            (root / folder / "__init__.py").touch()


def _module(path: Path, fake: str, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"from {_FAKES}.{fake} import *", *lines, ""]), encoding="utf-8")
