"""Where one model of one server differs from its dialect, as learned from its refusals. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.sampling import Thinking, shown_value
from ttchat_tui.engine.served.dialects import Dialect
from ttchat_tui.engine.served.refusal import Refusal

LENGTHS: Final = ("max_tokens", "max_completion_tokens")
_ESSENTIAL: Final = frozenset(
    {"model", "messages", "stream", "response_format", "structured_outputs", "grammar"}
)
"""Never left out: without a constraint, the reply would have another form than was asked for."""
_OPENAI: Final = frozenset({*LENGTHS, "temperature", "top_p", "stop"})
"""Fields every server of this API accepts. Dropped last when a refusal names no field."""
_PAIRS: Final = (("temperature", "top_p"), ("presence_penalty", "frequency_penalty"))
"""Some models accept only one of each pair; the second is left out."""
_PENALTIES: Final = frozenset({"presence_penalty", "frequency_penalty", "seed"})

SystemRole = Literal["system", "developer", "user"]


class Adaptation(msgspec.Struct, frozen=True, kw_only=True):
    """What to change in a request. Names are the request's own field names."""

    refused: frozenset[str] = frozenset()
    """Fields to leave out. `stream` here means that the reply is requested in one piece."""
    refused_values: frozenset[tuple[str, float]] = frozenset()
    """(field, value) pairs to leave out; other values of the same field may be accepted."""
    ceilings: Mapping[str, float] = {}
    """The largest value of a field."""
    renamed: Mapping[str, str] = {}
    system_role: SystemRole = "system"
    """`user`: the system prompt is put in front of the first user message."""

    def applied(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`body` in the form this model accepts."""
        fields: dict[str, Any] = {}
        for given, value in body.items():
            name = self.renamed.get(given, given)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if name in self.refused or (is_number and (name, value) in self.refused_values):
                continue
            ceiling = self.ceilings.get(name)
            if is_number and ceiling is not None:
                # Modulo keeps different seeds different.
                value = value % (int(ceiling) + 1) if name == "seed" else min(value, ceiling)
            fields[name] = value
        if "stream" in self.refused:
            fields["stream"] = False
            fields.pop("stream_options", None)
        if self.system_role != "system":
            fields["messages"] = _with_system_as(self.system_role, body["messages"])
        return fields

    def learn_from(self, sent: Mapping[str, Any], refusal: Refusal, own: Collection[str] = ()) -> Adaptation:
        """This adaptation extended by what a refusal of `sent` teaches; unchanged if it teaches nothing.

        Args:
            own: fields the user set in the config. They are never left out.
        """
        for lesson in (self._of_role, self._of_stream):
            found = lesson(sent, refusal)
            if found != self:
                return found
        optional = [name for name in sent if name not in _ESSENTIAL and name not in own]
        fields = refusal.fields(optional)
        for first, second in _PAIRS if refusal.names_conflict else ():
            if {first, second} <= {*fields}:
                fields = (second,)
        if not fields and refusal.names_unknown_field:
            fields = _suspects(optional)
        found = self
        for name in fields:
            found = found._without(name, sent, refusal)
        return found

    def sampling(self, dialect: Dialect) -> frozenset[str]:
        """The `SamplingParams` fields that have an effect. Stop strings always do: the client applies them too."""
        names = {name for name, field in dialect.fields.items() if not self._is_refused(field.name)}
        return frozenset({*names, "stop", *(("constraint",) if dialect.constraints else ())})

    def thinking(self, dialect: Dialect) -> tuple[Thinking, ...]:
        """The values of `SamplingParams.thinking` of which no field was refused."""
        return tuple(
            level for level, fields in dialect.thinking.items() if not any(map(self._is_refused, fields))
        )

    def notes(self, before: Adaptation, who: str, dialect: Dialect) -> tuple[str, ...]:
        """Sentences for the user about what changed since `before`. `who` names model and server."""
        lost = sorted(name for name in before.sampling(dialect) - self.sampling(dialect) if name != "stop")
        notes = [f"{who} does not support {', '.join(lost)}: requests go without."] if lost else []
        if before.thinking(dialect) and not self.thinking(dialect):
            notes.append(f"{who} does not let thinking be chosen: requests go without.")
        new = self.refused - before.refused
        if "stop" in new:
            notes.append(f"{who} does not support stop strings: they are applied here.")
        if "stream" in new:
            notes.append(f"{who} does not stream: each reply comes in one piece.")
        for name, ceiling in self.ceilings.items():
            if before.ceilings.get(name) != ceiling:
                notes.append(f"{who} accepts at most {ceiling:,} as {name}: requests do not exceed it.")
        for name, value in sorted(self.refused_values - before.refused_values):
            notes.append(f"{who} does not accept {name} {shown_value(value)}: its own default applies.")
        if self.system_role == "user" != before.system_role:
            notes.append(
                f"{who} does not support system prompts: yours is put in front of your first message."
            )
        return tuple(notes)

    def _is_refused(self, name: str) -> bool:
        return self.renamed.get(name, name) in self.refused

    def _of_role(self, sent: Mapping[str, Any], refusal: Refusal) -> Adaptation:
        roles = {
            message.role if isinstance(message, ChatMessage) else message["role"]
            for message in sent["messages"]
        }
        if not roles & {"system", "developer"} or not refusal.names_role:
            return self
        is_openai = "developer" in refusal.text or "messages[0].role" in refusal.named
        role: SystemRole = "developer" if is_openai and self.system_role == "system" else "user"
        return msgspec.structs.replace(self, system_role=role)

    def _of_stream(self, sent: Mapping[str, Any], refusal: Refusal) -> Adaptation:
        is_meant = refusal.names_stream and not refusal.fields(["stream_options"])
        if not sent.get("stream") or not is_meant:
            return self
        return msgspec.structs.replace(self, refused=self.refused | {"stream"})

    def _without(self, name: str, sent: Mapping[str, Any], refusal: Refusal) -> Adaptation:
        value = sent[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            ceiling = refusal.ceiling(value) if refusal.names_bad_value else None
            if ceiling is None and name in LENGTHS and refusal.names_bad_value:
                ceiling = refusal.number_below(int(value))
            if ceiling is not None and (name not in LENGTHS or ceiling >= 1):
                return msgspec.structs.replace(self, ceilings={**self.ceilings, name: ceiling})
            is_value_refused = refusal.names_bad_value and not refusal.names_unknown_field
            if is_value_refused and name not in (*LENGTHS, "seed"):  # another seed would be refused too
                return msgspec.structs.replace(self, refused_values=self.refused_values | {(name, value)})
        if name in LENGTHS and not self.renamed.keys() & set(LENGTHS):
            other = next(each for each in LENGTHS if each != name)
            return msgspec.structs.replace(self, renamed={**self.renamed, name: other})
        return msgspec.structs.replace(self, refused=self.refused | {name})


def _suspects(sent: Collection[str]) -> tuple[str, ...]:
    """The fields to leave out when a refusal names none: the rarest ones."""
    rare = tuple(name for name in sent if name not in _OPENAI | _PENALTIES)
    return rare or tuple(name for name in sent if name in _PENALTIES)


def _with_system_as(role: SystemRole, messages: Collection[ChatMessage]) -> list[Any]:
    """`messages` with the system prompt moved to `role`."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    rest = [message for message in messages if message.role != "system"]
    if not system:
        return list(messages)
    if role == "developer":
        return [{"role": "developer", "content": system}, *rest]
    first = next((index for index, message in enumerate(rest) if message.role == "user"), None)
    if first is None:
        return [ChatMessage("user", system), *rest]
    rest[first] = ChatMessage("user", f"{system}\n\n{rest[first].content}")
    return rest
