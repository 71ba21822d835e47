"""The table of engines, and the function that creates one.

The app's process imports the declarations and no engine; torch is loaded in the engine's process only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.base import Engine, MissingDependency, TokenCounter
from ttchat_tui.engine.cpu.declaration import CPU
from ttchat_tui.engine.declaration import EngineDeclaration
from ttchat_tui.engine.served.declaration import served
from ttchat_tui.engine.tenstorrent.declaration import TENSTORRENT

FACTORY: Final = "ttchat_tui.engine.factory:create_engine"
"""The name by which the engine's process finds `create_engine`."""


def create_engine(kind: EngineKind) -> Engine:
    """An empty engine of this kind.

    Raises:
        MissingDependency: a package that it needs is not installed.
    """
    engine = ENGINES[kind]
    try:
        return engine.create()
    except ModuleNotFoundError as error:
        raise _missing(error, engine) from error


def _counter_at(path: Path) -> TokenCounter:
    """Counts prompts of a served model with the tokenizer at `path`.

    Raises:
        EngineError: it cannot be read.
        MissingDependency: `tokenizers` is not installed; served models do not need it otherwise.
    """
    try:
        from ttchat_tui.engine.cpu.local_count import LocalCounter
    except ModuleNotFoundError as error:
        raise _missing(error, CPU) from error
    return LocalCounter(path)


def _missing(error: ModuleNotFoundError, engine: EngineDeclaration) -> MissingDependency:
    from ttchat_tui.domain.installation import install_command

    package = (error.name or "").partition(".")[0]
    return MissingDependency(
        f"The {engine.kind} engine needs the package {package!r}, which is not installed.",
        f"Run: {install_command(f'ttchat-tui[{engine.extra}]' if engine.extra else package)}",
    )


ENGINES: Final[dict[EngineKind, EngineDeclaration]] = {
    engine.kind: engine for engine in (CPU, TENSTORRENT, served(_counter_at))
}
"""By kind. Settings, flags, names of models and `doctor` know the engines of this table."""
DEFAULT_KIND: Final = CPU.kind
"""What `engine = "auto"` takes where no engine is preferred."""
