"""The model that benchmarks use unless another one is given."""

from __future__ import annotations

import os
from pathlib import Path

from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.fetch import pull

PATHS = find_paths(os.environ)


def default_model() -> Path:
    """The file of the catalog's default model, downloaded if it is missing."""
    known = catalog()
    entry = known.find(known.default)
    assert entry is not None
    return pull(entry, PATHS.models_dir, lambda progress: None, os.environ)


def default_spec(options: CpuOptions) -> ModelSpec:
    """A load of the default model with the compiled kernel."""
    return ModelSpec(
        name="default", path=str(default_model()), options=options, kernel_dir=str(PATHS.kernels_dir)
    )
