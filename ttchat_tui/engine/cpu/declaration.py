"""The CPU engine's declaration."""

from __future__ import annotations

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


CPU: Final = EngineDeclaration(
    kind="cpu",
    create=_create,
    options=CpuOptions,
    extra="cpu",
    flags=(
        EngineFlag(option="precision", help="Weights of the CPU engine."),
        EngineFlag(option="threads", help="Threads of one forward; 0: the engine measures and chooses."),
    ),
    warm_modules=("torch", "ttchat_tui.engine.cpu.loading", "ttchat_tui.engine.cpu.engine"),
    doctor=_doctor,
)
