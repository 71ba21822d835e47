"""Models of families that `families.py` does not describe: transformers' auto classes as a stepper.

Imports transformers, which takes 3 s: `loading` imports this module only when a folder needs it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, DynamicCache

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import TEXT_ONLY
from ttchat_tui.engine.cpu.stepper import CHUNK, cached_of
from ttchat_tui.engine.decoding.loop import PrefillAborted, Stepper
from ttchat_tui.engine.text.json_file import read_json

_log = logging.getLogger(__name__)

_CONTEXT_FIELDS: Final = (
    "max_position_embeddings",
    "n_positions",
    "seq_length",
    "max_sequence_length",
    "max_seq_len",
)
_UNKNOWN_CONTEXT: Final = 2048
_CACHE_NAMES: Final = ("cache", "past_key_values", "cache_params", "state")
"""What a model calls its cache, as an argument and in its output: transformers from 5.24 on, all before it, those of Mamba
before it, RWKV."""
_PROBE: Final = (1, 5, 2, 7, 3, 6)
"""Token ids that every vocabulary has."""

Continuation: TypeAlias = Literal["cut", "chunks", "steps"]
"""What a model's cache can do. "cut": take any ids after any prefix of those it holds. "chunks": take any number of ids after
all that it holds, as a recurrent state does. "steps": take one id at a time after a prompt that was computed at once."""


class _CacheUse(NamedTuple):
    """How a model is given its cache."""

    name: str
    """Of the argument."""
    kind: Literal["plain", "configured", "own"]
    """The cache: of keys and values of all positions; as the model's configuration wants its layers; or made by the model."""
    continuation: Continuation
    has_mask: bool = True
    """It is given the mask of all positions. Models of recurrent layers only take one of the new positions."""
    has_positions: bool = False
    """It is given the positions of the ids. Some count them in a layer that has no keys."""


class AutoStepper(Stepper):
    """A `Stepper` over any causal transformers model with a cache."""

    def __init__(self, model: Any) -> None:
        """
        Raises:
            ModelLoadError: the model computes other numbers with its cache than without.
        """
        self.before_forward: Callable[[int], None] = lambda rows: None
        """See `GovernableStepper`."""
        self._model = model
        self._accepted = inspect.signature(model.forward).parameters
        # Without it the logits of a chunk take [chunk, vocab] floats.
        self._extra = {"logits_to_keep": 1} if "logits_to_keep" in self._accepted else {}
        self._use = _CacheUse("", "own", "cut")
        self._cache: Any = None
        self._ids: list[int] = []
        self._use = self._tried()
        self.reset()

    def cached_prefix(self, ids: Sequence[int]) -> int:
        known = cached_of(self._ids, ids)
        if self._use.continuation == "cut" or known == len(self._ids) < len(ids):
            return known if self._use.continuation != "steps" or known == len(ids) - 1 else 0
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._keep(self.cached_prefix(ids))
        chunk = len(ids) if self._use.continuation == "steps" else CHUNK
        while True:
            done = len(self._ids)
            logits = self._forward(ids[done : done + chunk])
            if not report(len(self._ids), len(ids)):
                raise PrefillAborted
            if len(self._ids) == len(ids):
                return logits

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self._forward((token_id,))

    def reset(self) -> None:
        """Drop all positions."""
        match self._use.kind:
            case "plain":
                self._cache = DynamicCache()
            case "configured":
                self._cache = DynamicCache(config=self._model.config)
            case "own":
                self._cache = None
        self._ids.clear()

    @property
    def keeps_prefixes(self) -> bool:
        """Whether a prompt that differs late from the one before it is computed from there on only."""
        return self._use.continuation == "cut"

    def _keep(self, length: int) -> None:
        surplus = len(self._ids) - length
        if surplus <= 0:
            return
        if length == 0 or self._use.continuation != "cut":
            self.reset()
            return
        # How many to remove, negative: transformers 5 raises for a positive length to keep.
        self._cache.crop(-surplus)
        del self._ids[length:]

    @torch.inference_mode()
    def _forward(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self.before_forward(len(ids))
        given: dict[str, Any] = dict(self._extra)
        if self._use.has_mask and "attention_mask" in self._accepted:
            # Always the full mask: without it transformers derives one from the padding id, which may be a token of
            # the prompt.
            given["attention_mask"] = torch.ones(1, len(self._ids) + len(ids), dtype=torch.long)
        if self._use.has_positions and "position_ids" in self._accepted:
            given["position_ids"] = torch.arange(len(self._ids), len(self._ids) + len(ids))[None]
        if self._cache is not None:
            given[self._use.name] = self._cache
        output = self._model(input_ids=torch.tensor([list(ids)]), use_cache=True, **given)
        if self._use.kind == "own":
            self._cache = getattr(output, self._use.name, None)
        self._ids.extend(ids)
        logits: Any = output.logits[0, -1].float().numpy()
        return logits

    def _tried(self) -> _CacheUse:
        """The first use of the cache that gives the numbers of one forward over all ids. A few short forwards."""
        name = next((each for each in _CACHE_NAMES if each in self._accepted), _CACHE_NAMES[1])
        self._use = _CacheUse(name, "own", "cut")
        self.reset()
        try:
            expected = np.stack([self._anew(_PROBE[:5]), self._anew(_PROBE)])
            # What the ids before the last one change. An error of the cache is a part of that, large or small.
            effect = _farthest(self._anew(_PROBE[-1:]), expected[1])
        except Exception as error:  # as below
            raise ModelLoadError(
                f"The model cannot be run: {type(self._model).__name__} raises {error!r}.",
                "Choose a GGUF file of the model, or another version of transformers.",
            ) from error
        tolerance = 1e-4 * effect + 1e-5 * float(np.abs(expected).max())
        for self._use in _uses(name):
            # A model that does not take this kind of cache may fail in any way.
            try:
                self.reset()
                found = self._continued()
            except Exception as error:  # noqa: BLE001
                _log.info("no %s: %r", self._use, error)
                continue
            if _farthest(found, expected) <= tolerance:
                return self._use
        raise ModelLoadError(
            f"The model computes other numbers with its cache than without it ({type(self._model).__name__}).",
            "Choose a GGUF file of the model, or another version of transformers.",
        )

    def _anew(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self.reset()
        return self._forward(ids)

    def _continued(self) -> NDArray[np.float32]:
        """The logits after five and after all ids of `_PROBE`, computed in parts as the use says."""
        match self._use.continuation:
            case "cut":
                self._forward((*_PROBE[:4], 4))
                self._keep(3)
                parts = (3, 5, 6)
            case "chunks":
                self._forward(_PROBE[:3])
                parts = (3, 5, 6)
            case "steps":
                self._forward(_PROBE[:4])
                parts = (4, 5, 6)
        return np.stack([self._forward(_PROBE[start:end]) for start, end in pairwise(parts)])


def _farthest(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max())


def _uses(name: str) -> Iterator[_CacheUse]:
    """What to try, best first."""
    yield _CacheUse(name, "plain", "cut")
    for continuation in ("chunks", "steps"):
        for kind in ("configured", "own"):
            for has_positions in (False, True):
                for has_mask in (True, False):
                    yield _CacheUse(name, kind, continuation, has_mask, has_positions)


class AutoModel(NamedTuple):
    """A model that transformers has loaded."""

    stepper: AutoStepper
    context_length: int
    vocab_size: int
    parameters: int
    notes: tuple[str, ...]


def load_auto_model(folder: Path) -> AutoModel:
    """Load a folder's model in float32. Of a model that also sees images, text alone is used.

    Raises:
        ModelLoadError: transformers cannot load it, weights are missing, or its cache cannot be used.
    """
    model, notes = _loaded(folder)
    model = model.float().eval()
    config = model.config.get_text_config()
    context = next(
        (size for name in _CONTEXT_FIELDS if (size := getattr(config, name, None))), _UNKNOWN_CONTEXT
    )
    stepper = AutoStepper(model)
    if config is not model.config:
        notes = (*notes, TEXT_ONLY)
    if not stepper.keeps_prefixes:
        notes = (
            *notes,
            "The model's state cannot be cut: a prompt that does not continue the one before it is computed anew.",
        )
    rows = model.get_input_embeddings().weight.shape[0]
    return AutoModel(stepper, int(context), int(rows), int(model.num_parameters()), notes)


def _loaded(folder: Path) -> tuple[Any, tuple[str, ...]]:
    failure: Exception | None = None
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
        untyped: Any = auto
        try:
            model, info = untyped.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
        # It raises what its many parts raise: safetensors' errors, IndexError for a wrong shape, ImportError …
        except Exception as error:  # noqa: BLE001
            failure = failure or error
            if not _is_other_class(error):
                break
        else:
            return model, _check(folder, info)
    first_line = str(failure).strip().split("\n", 1)[0]
    has_programs = bool(read_json(folder / "config.json").get("auto_map"))
    raise ModelLoadError(
        f"transformers cannot load {folder}: {first_line or type(failure).__name__}",
        "The model brings programs of its own (auto_map), which are not run: take a GGUF file of it."
        if has_programs
        else "Choose another model; the log has the details.",
    ) from failure


def _is_other_class(error: Exception) -> bool:
    """Whether the auto class has no model for this configuration."""
    return isinstance(error, ValueError) and "for this kind of AutoModel" in str(error)


def _check(folder: Path, info: Any) -> tuple[str, ...]:
    """Notes about weights. transformers fills missing ones with random numbers.

    Raises:
        ModelLoadError: weights are missing, or have another shape.
    """
    missing = sorted({*info["missing_keys"], *(str(each[0]) for each in info["mismatched_keys"])})
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ModelLoadError(
            f"{folder} has no weights {missing[0]}{more}, or of another shape.",
            "Download the model again, or choose another one.",
        )
    unused = sorted(info["unexpected_keys"])
    if not unused:
        return ()
    return (f"transformers leaves out {len(unused):,} of the folder's tensors, such as {unused[0]}.",)
