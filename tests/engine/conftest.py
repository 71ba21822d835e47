"""Fixtures that several files share."""

from tests.engine.engine_subject import subject

__all__ = ["subject"]
