"""The echo engine's declaration: all that the rest of the app needs to know about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.declaration import DoctorRequest, EngineDeclaration, EngineFlag
from ttchat_tui.engine.doctor import Check


class EchoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the echo engine; the `[echo]` section of config.toml."""

    pause_s: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Seconds before each token."""


def _create() -> Engine:
    from tests.engine.echo.engine import EchoEngine

    return EchoEngine()


def _doctor(request: DoctorRequest) -> Iterator[Check]:
    options: EchoOptions = request.options
    yield Check("echo engine", "ok", f"{options.pause_s:g} s before each token")


ECHO: Final = EngineDeclaration(
    kind="echo",
    create=_create,
    options=EchoOptions,
    models="names",
    flags=(EngineFlag(option="pause_s", help="Seconds before each token of the echo engine."),),
    doctor=_doctor,
)
