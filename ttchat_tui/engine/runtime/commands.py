"""Commands for an engine: what the host queues, and what goes over the wire to the engine's process."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import Forced, GenerationRequest, Pacing
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams


class Load(msgspec.Struct, frozen=True, tag=True):
    spec: ModelSpec


class CountTokens(msgspec.Struct, frozen=True, tag=True):
    count_id: int
    messages: tuple[ChatMessage, ...]
    sampling: SamplingParams = DEFAULTS
    keep: tuple[int, ...] = ()


class Generate(msgspec.Struct, frozen=True, tag=True):
    request: GenerationRequest
    pacing: Pacing = Pacing()
    """At the beginning, as the next fields."""
    forced: tuple[Forced, ...] = ()
    is_previewed: bool = False


class Unload(msgspec.Struct, frozen=True, tag=True):
    pass


class Close(msgspec.Struct, frozen=True, tag=True):
    pass


class CancelLoad(msgspec.Struct, frozen=True, tag=True):
    pass


class Cancel(msgspec.Struct, frozen=True, tag=True):
    request_id: int


class SetSampling(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    sampling: SamplingParams


class SetPacing(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    pacing: Pacing


class Force(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    forced: tuple[Forced, ...]
    """Those that are new."""


class SetPreviewed(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    is_previewed: bool


class StopRows(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    rows: frozenset[int]


Command: TypeAlias = (
    Load
    | CountTokens
    | Generate
    | Unload
    | Close
    | CancelLoad
    | Cancel
    | SetSampling
    | SetPacing
    | Force
    | SetPreviewed
    | StopRows
)
"""The first five run in order. The others change the command that is running."""
