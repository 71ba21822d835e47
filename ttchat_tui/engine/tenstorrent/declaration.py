"""The Tenstorrent engine's declaration."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.declaration import DoctorRequest, EngineDeclaration, MinTimeouts
from ttchat_tui.engine.tenstorrent.telemetry import System

if TYPE_CHECKING:
    from ttchat_tui.engine.doctor import Check


def _create() -> Engine:
    from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine

    return TenstorrentEngine()


def _has_card() -> bool:
    """A Tenstorrent card, and an installed ttnn. Neither is opened or imported."""
    return bool(System.of(os.environ).card_numbers()) and importlib.util.find_spec("ttnn") is not None


def _advice(output: str) -> str:
    from ttchat_tui.engine.tenstorrent.errors import advice_after

    return advice_after(output)


def _doctor(request: DoctorRequest) -> Iterator[Check]:
    from ttchat_tui.engine.tenstorrent.doctor import checks

    return checks(request)


def _options_in(label: str) -> Mapping[str, Any]:
    """`tt S5 accuracy device sampling` names its options."""
    match label.split():
        case [_, _, "performance" | "accuracy" as optimizations, *more]:
            return {"optimizations": optimizations, "sampling": "device" if more else "host"}
        case _:
            return {}


TENSTORRENT: Final = EngineDeclaration(
    kind="tt",
    create=_create,
    options=TenstorrentOptions,
    # No extra: its wheel of ttnn would replace one that was built from source.
    models="folders",
    is_alone=True,
    is_preferred_here=_has_card,
    # A process that is killed too early leaves a card that has to be reset.
    min_timeouts=MinTimeouts(
        silence_s=90.0,  # longer than `[tt] operation_timeout_s`: ttnn's own error, which names the cure, comes first
        step_s=600.0,  # a load, or the first reply of a new shape, may compile programs
        cancel_s=120.0,  # native code cannot be interrupted: compiling one prefill length takes up to minutes
        close_s=20.0,  # closing the card waits for what runs on it
    ),
    advice=_advice,
    options_in=_options_in,
    doctor=_doctor,
)
