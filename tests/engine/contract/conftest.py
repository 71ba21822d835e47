"""The engines under the contract: one after the other, each loaded once for all files of this folder."""

from tests.engine.engine_subject import subject

__all__ = ["subject"]
