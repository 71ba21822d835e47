"""The declaration of an engine: everything about it in one place.

It is `declaration.py` in the engine's folder, and has an entry in `engine/factory.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ttchat_tui.domain.errors import LOAD_AGAIN
from ttchat_tui.domain.model_spec import EngineKind, ModelSource
from ttchat_tui.engine.base import Engine

if TYPE_CHECKING:
    from ttchat_tui.engine.doctor import Check


class EngineFlag(msgspec.Struct, frozen=True, kw_only=True):
    """A command-line flag for one of the engine's options."""

    option: str
    """A field of the options struct, which gives the flag its type: `threads` becomes `--threads`."""
    help: str
    chooses_engine: bool = False
    """The flag alone asks for this engine, without `--engine`."""
    clears: tuple[str, ...] = ()
    """Text options that the flag sets to "", because they would override it."""


class MinTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Lower bounds of the engine's time-outs, in seconds; 0 where the defaults are long enough."""

    silence_s: float = 0.0
    """Without a sign of life from its process, and for a step once the pace is known."""
    step_s: float = 0.0
    """For prefill and the first decode steps, which may compile."""
    cancel_s: float = 0.0
    """From the cancellation of a load or a reply to its end."""
    close_s: float = 0.0
    """For `Engine.close`."""


class DoctorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The input of an engine's checks for `ttchat-tui doctor`."""

    options: Any
    """The engine's settings, an instance of the options struct that it declares."""
    is_chosen: bool
    """The settings name this engine, so that what it lacks is an error."""
    environ: Mapping[str, str]
    hub_checks: Callable[[], Iterator[Check]]
    """Lines about HF_MODEL and the hub's token, for an engine that loads checkpoints of the hub."""


def _is_never_preferred() -> bool:
    return False


def _nothing(_options: Any) -> tuple[str, ...]:
    return ()


def _no_options(_label: str) -> Mapping[str, Any]:
    return {}


def load_again(_output: str) -> str:
    """What to do after the process of an engine without its own advice died."""
    return LOAD_AGAIN


def _no_checks(_request: DoctorRequest) -> Iterator[Check]:
    return iter(())


class EngineDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about an engine that the rest of the app needs before it is created.

    Declarations are imported at every start: `create`, `is_preferred_here` and `doctor` import what they need themselves.
    """

    kind: EngineKind
    """The engine's name: in `[model] engine`, in `--engine`, before a model's name (`cpu:smollm2`), and of its section in
    config.toml."""
    create: Callable[[], Engine]
    """Makes an empty engine; raises ModuleNotFoundError if one of its packages is not installed."""
    options: type[msgspec.Struct]
    """Its settings, all with defaults: its section of config.toml, and `ModelSpec.options`."""
    extra: str = ""
    """The extra of ttchat-tui that installs its packages; empty: an error names the package itself."""
    models: ModelSource = "files"
    is_isolated: bool = True
    """Runs in the engine's process, because native code may crash or hang (unless `isolation = "thread"`)."""
    is_alone: bool = False
    """Its device holds one model: a second host cannot load another one beside it."""
    is_preferred_here: Callable[[], bool] = _is_never_preferred
    """Whether `engine = "auto"` takes it on this machine. Without any such engine it takes the CPU."""
    flags: tuple[EngineFlag, ...] = ()
    warm_modules: Callable[[Any], tuple[str, ...]] = _nothing
    """Modules to import in the engine's process before the first load, while the user looks at the first frame; by the
    engine's settings."""
    min_timeouts: MinTimeouts = MinTimeouts()
    advice: Callable[[str], str] = load_again
    """What to do after the engine's process died, by its last output; sentences."""
    options_in: Callable[[str], Mapping[str, Any]] = _no_options
    """The options that a label of this engine (`EngineInfo.label`) names: a load with them has the same label. Of a text that
    is no label, none."""
    doctor: Callable[[DoctorRequest], Iterator[Check]] = _no_checks
    """Its lines of `ttchat-tui doctor`."""
