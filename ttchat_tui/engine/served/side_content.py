"""Reply content that is not text (tool calls, media, refusals), described in sentences."""

from __future__ import annotations

from typing import Final

from ttchat_tui.engine.served.chunks import ChunkChoice, short_line
from ttchat_tui.engine.served.message_parts import Call

_LONGEST_ARGUMENTS: Final = 200
"""Longest arguments shown, in characters."""
_MOST_CALLS: Final = 20


class SideContent:
    """Collects content that is not text. Feed it the choices in order: tool calls come in pieces."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._media: list[str] = []
        self._is_refusal = False

    def add(self, choice: ChunkChoice) -> None:
        for said in (choice.delta, choice.message):
            self._is_refusal = self._is_refusal or bool(said.refusal)
            self._media += [each for each in said.media if each not in self._media]
        is_whole_again = bool(self._calls) and not choice.delta.calls
        for call in () if is_whole_again else choice.delta.calls or choice.message.calls:
            self._add_call(call)

    def _add_call(self, call: Call) -> None:
        """Add a piece to the last call with the same index, unless the ids differ: Gemini and others do not number calls."""
        found = next((each for each in reversed(self._calls) if each.index == call.index), None)
        if found is None or (call.id and found.id and call.id != found.id):
            if len(self._calls) >= _MOST_CALLS:
                return
            found = _Call(call.index, call.id)
            self._calls.append(found)
        found.add(call.name, call.arguments)

    def notes(self) -> tuple[str, ...]:
        """One sentence per item."""
        notes = [f"The model wanted to call {call.shown}; this app runs no tools." for call in self._calls]
        notes += [f"The server sent {each}, which is not shown." for each in self._media]
        if self._is_refusal:
            notes.append("The model marked this as a refusal.")
        return tuple(notes)


class _Call:
    def __init__(self, index: int, call_id: str) -> None:
        self.index = index
        self.id = call_id
        self._name = ""
        self._arguments = ""

    def add(self, name: str, arguments: str) -> None:
        if name != self._name:  # some servers repeat the name with every piece
            self._name += name
        if len(self._arguments) <= _LONGEST_ARGUMENTS:
            self._arguments += arguments

    @property
    def shown(self) -> str:
        name = short_line(self._name, 80) or "a tool without a name"
        arguments = short_line(" ".join(self._arguments.split()), _LONGEST_ARGUMENTS)
        return name if arguments in ("", "{}") else f"{name} with {arguments}"
