"""What goes wrong with models before an engine sees them: unknown, missing, broken, gated, out of reach."""

from __future__ import annotations

from ttchat_tui.domain.events import ErrorInfo


class ModelError(Exception):
    """Base of this room. `str()` is one sentence for a person; `info` carries the kind and the cure.

    Kinds: `model_unknown`, `model_missing`, `model_broken`, `model_gated`, `model_not_ours`, `offline`,
    `download_failed`, `disk_full`.
    """

    def __init__(self, message: str, *, cure: str = "", kind: str) -> None:
        super().__init__(message)
        self.info = ErrorInfo(kind=kind, message=message, cure=cure)


class ModelNameError(ModelError):
    """A name that can be no model's, whatever could be fetched: who wrote it is to write another.

    Kinds: `model_unknown`; `model_missing` for a path to nothing.
    """

    def at(self, place: str) -> ModelNameError:
        """The same, told with the flag, variable or setting that gave the name."""
        info = self.info
        return ModelNameError(f"{place}: {info.message}", cure=info.cure, kind=info.kind)
