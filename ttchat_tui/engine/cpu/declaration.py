"""The CPU engine's declaration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

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


def _options_in(label: str) -> Mapping[str, Any]:
    """`cpu int8 native kv-q8` and `cpu fp32` name their options. `cpu int4`, without the compiled kernel, may come of two
    precisions: that of the settings stays."""
    match label.split():
        case [_, held, "native", *more]:
            is_rounded = held in ("int4", "int8")  # else the bits of the file
            precision = held if is_rounded else "auto"
            return {"precision": precision, "kv_cache": "q8" if more == ["kv-q8"] else "f16"}
        case [_, "fp32" | "f16" | "bf16" | "int8" | "int4" as held, *more]:
            precision = {} if held == "int4" else {"precision": held}
            copy = "on" if more == ["prefill-bf16"] else "off"
            return {**precision, "kernel": "off", "prefill_copy": copy}
        case _:
            return {}


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
    options_in=_options_in,
    doctor=_doctor,
)
