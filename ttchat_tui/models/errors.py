"""Errors with model names and files, before an engine reads them."""

from __future__ import annotations

from ttchat_tui.domain.errors import AppError


class ModelError(AppError):
    """Base of the errors with model files: unknown, missing, broken, gated, or the hub is out of reach."""

    kind = "model_broken"


class ModelNameError(ModelError):
    """A name that no model has, on this machine or on the hub, or whose model the command cannot take."""

    def at(self, place: str) -> ModelNameError:
        """The same error with the flag, variable or setting that the name comes from."""
        info = self.info
        return ModelNameError(f"{place}: {info.message}", cure=info.cure, kind=info.kind)


class UnexpectedAnswer(ModelError):
    """A server answered, but not as the hub does."""
