"""One message as a model gets it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One message as the model gets it: what a chat template takes."""

    role: Role
    content: str
