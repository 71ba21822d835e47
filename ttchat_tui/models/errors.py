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
