"""The served engine's declaration. Users know it as `remote`: models behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ttchat_tui.domain.model_spec import RemoteOptions
from ttchat_tui.engine.base import Engine, TokenCounter
from ttchat_tui.engine.declaration import EngineDeclaration, EngineFlag


def served(counter_at: Callable[[Path], TokenCounter]) -> EngineDeclaration:
    """`counter_at` counts prompts with the tokenizer at a path, for servers that do not count them."""

    def create() -> Engine:
        from ttchat_tui.engine.served.engine import ServedEngine

        return ServedEngine(counter_at=counter_at)

    return EngineDeclaration(
        kind="remote",
        create=create,
        options=RemoteOptions,
        models="names",
        is_isolated=False,  # a client runs no native code that could crash or hang the app
        flags=(
            EngineFlag(
                option="base_url",
                help="Server of the remote engine: http://127.0.0.1:8000/v1.",
                chooses_engine=True,
                clears=("endpoint",),
            ),
        ),
    )
