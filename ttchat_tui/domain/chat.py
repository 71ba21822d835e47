"""The message type of a prompt."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant"]


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a prompt, in the form that chat templates take."""

    role: Role
    content: str
    reasoning_content: str = ""
    """The thoughts of an earlier reply, which are not in its content. `SamplingParams.keep_thoughts` decides about them."""
