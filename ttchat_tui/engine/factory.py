"""Which class runs which kind of engine: the only match on kinds, and the only lazy import in the package.

Lazy, because the UI's process imports this module and must never load torch; the engine's process calls it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from typing_extensions import assert_never

from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.base import Engine, MissingDependency, TokenCounter

FACTORY: Final = "ttchat_tui.engine.factory:create_engine"
"""The name under which the engine's process finds `create_engine`."""

WARM_MODULES: Final[dict[EngineKind, tuple[str, ...]]] = {
    "cpu": ("torch", "ttchat_tui.engine.cpu.loading", "ttchat_tui.engine.cpu.engine"),
    "tt": (),
    "remote": (),
}
"""What is worth importing before the first load, while the user looks at the first frame."""


def create_engine(kind: EngineKind) -> Engine:
    """An empty engine of this kind.

    Raises:
        MissingDependency: a package that it needs is not installed.
    """
    match kind:
        case "cpu":
            try:
                from ttchat_tui.engine.cpu.engine import TorchEngine
            except ModuleNotFoundError as error:
                raise _missing(error, "cpu") from error
            return TorchEngine()
        case "tt":
            try:
                from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
            except ModuleNotFoundError as error:
                raise _missing(error, "tt") from error
            return TenstorrentEngine()
        case "remote":
            from ttchat_tui.engine.served.engine import ServedEngine

            return ServedEngine(counter_at=_counter_at)
        case _:
            assert_never(kind)


def _counter_at(path: Path) -> TokenCounter:
    """Counts prompts of a served model with the tokenizer at `path`.

    Raises:
        EngineError: it cannot be used; MissingDependency: who has all models served need not have `tokenizers`.
    """
    try:
        from ttchat_tui.engine.cpu.local_count import LocalCounter
    except ModuleNotFoundError as error:
        raise _missing(error, "cpu") from error
    return LocalCounter(path)


def _missing(error: ModuleNotFoundError, extra: str) -> MissingDependency:
    package = (error.name or "").partition(".")[0]
    # By name for a card: the extra would put a wheel of ttnn over one that was built from source.
    cure = f"pip install {package}" if extra == "tt" else f"pip install 'ttchat-tui[{extra}]'"
    return MissingDependency(
        f"The {extra} engine needs the package {package!r}, which is not installed.", cure
    )
