"""Settings with which the logits are others have another label: a replay is made again only where the label is the same."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.engine.cpu.native_kernel import kernel_folder
from tests.engine.cpu.test_native_step import build, drawn, go_on
from tests.engine.cpu.tiny_models import save
from tests.size import sized
from ttchat_tui.domain.model_spec import CpuOptions, KVCacheType, ModelSpec, Precision, PrefillCopy
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.declaration import CPU
from ttchat_tui.engine.cpu.loading import load_model


def logits_and_label(folder: Path, options: CpuOptions) -> tuple[str, NDArray[np.float32]]:
    """Of the last token of a prompt and of a step after it.

    Raises:
        ModelLoadError: this machine has no kernel for it.
    """
    spec = ModelSpec(name="tiny", path=str(folder), options=options, kernel_dir=str(kernel_folder()))
    model = load_model(spec, lambda _progress: None)
    prompt = model.stepper.prefill(drawn(40), go_on).copy()
    return model.label, np.stack([prompt, model.stepper.step(7)])


def test_one_label_stands_for_one_computation(tmp_path: Path) -> None:
    folder = save(build("llama"), tmp_path)
    found: defaultdict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for precision, kv_cache, kernel, copy, threads in product(
        get_args(Precision),
        get_args(KVCacheType),
        ("auto", "off"),
        sized(("on", "off"), get_args(PrefillCopy)),
        sized((1,), (1, 2)),
    ):
        options = CpuOptions(
            precision=precision, kv_cache=kv_cache, kernel=kernel, prefill_copy=copy, threads=threads
        )
        try:
            label, logits = logits_and_label(folder, options)
        except ModelLoadError:
            continue
        found[label].append(logits)
        named = msgspec.structs.replace(options, **CPU.options_in(label))
        assert logits_and_label(folder, named)[0] == label
        if "native" in label:
            bare = CpuOptions(**CPU.options_in(label))
            assert logits_and_label(folder, bare)[0] == label
    assert "cpu int4 native kv-q8" in found
    for label, computed in found.items():
        assert all(np.array_equal(each, computed[0]) for each in computed), label
