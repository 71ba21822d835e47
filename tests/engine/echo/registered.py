"""Enters the echo engine in the factory's table, in whichever process imports this; `create_engine` is the factory's."""

from __future__ import annotations

from tests.engine.echo.declaration import ECHO
from ttchat_tui.engine.factory import ENGINES, create_engine

ENGINES[ECHO.kind] = ECHO

__all__ = ["create_engine"]
