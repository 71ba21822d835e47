"""The CPU engine's declaration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.declaration import DoctorRequest, EngineDeclaration, EngineFlag

if TYPE_CHECKING:
    from ttchat_tui.engine.doctor import Check


def _create() -> Engine:
    from ttchat_tui.engine.cpu.engine import CpuEngine

    return CpuEngine()


def _doctor(request: DoctorRequest) -> Iterator[Check]:
    from ttchat_tui.engine.cpu.doctor import checks

    return checks(request)


def _warm_modules(options: CpuOptions) -> tuple[str, ...]:
    """What every load needs; torch if the compiled kernel will not run the model, as far as that is known before."""
    from ttchat_tui.engine.cpu.native.build import is_possible

    is_native = options.kernel != "off" and options.precision in ("auto", "int4", "int8")
    modules = (
        "ttchat_tui.engine.cpu.loading",
        "ttchat_tui.engine.cpu.engine",
        "ttchat_tui.engine.decoding.responder",
    )
    return (
        modules
        if is_native and is_possible(os.environ, is_asked_for=options.kernel == "on")
        else ("torch", *modules)
    )


CPU: Final = EngineDeclaration(
    kind="cpu",
    create=_create,
    options=CpuOptions,
    extra="cpu",
    flags=(
        EngineFlag(option="precision", help="Weights of the CPU engine."),
        EngineFlag(
            option="threads",
            help="Threads of one forward; 0: the engine measures, and prompts take all cores.",
        ),
        EngineFlag(option="kv_cache", help="Keys and values of the CPU engine; q8 takes half the memory."),
        EngineFlag(
            option="speculation",
            help="Tokens drafted by prompt lookup, several to a forward; bench has it off unless it is given.",
        ),
    ),
    warm_modules=_warm_modules,
    doctor=_doctor,
)
