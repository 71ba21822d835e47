"""From the nodes of another program's message tree to turns: hidden nodes are left out, and a chain of the assistant's and
its tools' nodes becomes one reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import msgspec

from ttchat_tui.domain.thoughts import CLOSING, OPENING
from ttchat_tui.storage.imports.imported import EntryError, ImportedMessage, foreign_reply
from ttchat_tui.storage.rows import LATEST_S

T = TypeVar("T")

NodeRole: TypeAlias = Literal["system", "user", "assistant", "tool", "hidden"]

_ROLES: Final[dict[str, NodeRole]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def role_of(name: str) -> NodeRole:
    """The role that other programs call `name`; hidden if it is unknown."""
    return _ROLES.get(name, "hidden")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    parent: str | None
    role: NodeRole
    text: str
    created_at: float = 0.0
    model: str = ""


class Turns(msgspec.Struct, frozen=True):
    messages: list[ImportedMessage]
    places: dict[str, int]
    """The position of the message that each visible node went into."""


def in_order(nodes: Mapping[str, T], children: Callable[[T], Iterable[str]]) -> dict[str, T]:
    """Siblings as their parent lists them; a mapping is in no order."""
    places = {child: place for node in nodes.values() for place, child in enumerate(children(node))}
    return dict(sorted(nodes.items(), key=lambda item: places.get(item[0], 0)))


def turns_of(nodes: Mapping[str, Node], source: str) -> Turns:
    """`nodes` by their ids; siblings in their order. A node whose parent is unknown is a first one.

    Raises:
        EntryError: nodes that are their own ancestors.
    """
    return _Folding(nodes, source).turns()


class _Folding:
    def __init__(self, nodes: Mapping[str, Node], source: str) -> None:
        self._nodes = nodes
        self._source = source
        self._children: dict[str | None, list[str]] = {}
        for name, node in nodes.items():
            self._children.setdefault(node.parent if node.parent in nodes else None, []).append(name)
        self._messages: list[ImportedMessage] = []
        self._places: dict[str, int] = {}

    def turns(self) -> Turns:
        # A node, the position of the message above it, and the nodes of the reply that it may belong to.
        left: list[tuple[str, int | None, tuple[str, ...]]] = [(each, None, ()) for each in self._below(None)]
        left.reverse()
        reached = 0
        while left:
            name, above, chain = left.pop()
            reached += 1
            below = self._below(name)
            if self._is_of_reply(name):
                chain = (*chain, name)
                place = above
                if not below or not all(map(self._is_of_reply, below)):
                    place = self._add_reply(chain, above)
                steps = [
                    (each, above, chain) if self._is_of_reply(each) else (each, place, ()) for each in below
                ]
            else:
                place = self._add(name, above)
                steps = [(each, place, ()) for each in below]
            left += reversed(steps)
        if reached < sum(map(self._is_visible, self._nodes)):
            raise EntryError("its messages follow each other in a circle")
        return Turns(self._messages, self._places)

    def _is_visible(self, name: str) -> bool:
        node = self._nodes[name]
        return node.role != "hidden" and bool(node.text.strip())

    def _is_of_reply(self, name: str) -> bool:
        return self._nodes[name].role in ("assistant", "tool")

    def _below(self, name: str | None) -> list[str]:
        """The nearest visible nodes below."""
        found: list[str] = []
        left = list(reversed(self._children.get(name, ())))
        while left:
            each = left.pop()
            if self._is_visible(each):
                found.append(each)
            else:
                left += reversed(self._children.get(each, ()))
        return found

    def _add(self, name: str, above: int | None) -> int:
        node = self._nodes[name]
        role = "system" if node.role == "system" else "user"
        self._messages.append(
            ImportedMessage(parent=above, role=role, content=node.text, created_at=node.created_at)
        )
        self._places[name] = len(self._messages) - 1
        return self._places[name]

    def _add_reply(self, chain: tuple[str, ...], above: int | None) -> int:
        nodes = [self._nodes[each] for each in chain]
        model = next((each.model for each in reversed(nodes) if each.model), "")
        self._messages.append(
            ImportedMessage(
                parent=above,
                role="assistant",
                content=joined(each.text for each in nodes),
                created_at=nodes[0].created_at,
                reply=foreign_reply(model, self._source),
            )
        )
        for each in chain:
            self._places.setdefault(each, len(self._messages) - 1)
        return len(self._messages) - 1


def head_of(turns: Turns, nodes: Mapping[str, Node], name: str | None) -> int | None:
    """The position of the message that shows the node `name`, or the nearest one above it."""
    for _ in nodes:
        if name is None or name in turns.places:
            break
        name = nodes[name].parent if name in nodes else None
    return turns.places.get(name) if name is not None else None


def joined(texts: Iterable[str]) -> str:
    """Paragraphs. A text alone stays as it is."""
    found = [text for text in texts if text.strip()]
    return found[0] if len(found) == 1 else "\n\n".join(text.strip("\n") for text in found)


def fenced(text: str, language: str = "") -> str:
    """A code block, with a fence that `text` does not close."""
    longest = max((len(each) for each in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    word = re.sub(r"[^\w+#.-]", "", language)
    return f"{fence}{word}\n{text.rstrip(chr(10))}\n{fence}"


def thought(text: str) -> str:
    """A thinking block in the stored form."""
    return f"{OPENING}{text.strip()}{CLOSING}" if text.strip() else ""


def as_json(value: Any) -> str:
    """A code block with `value`: the input of a tool."""
    return fenced(json.dumps(value, ensure_ascii=False, indent=2), "json")


def as_mapping(value: Any) -> dict[str, Any]:
    """Empty for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def unix_time(text: str | float | None) -> float:
    """Seconds, from an ISO 8601 time (UTC without a zone) or a Unix time in s, ms, µs or ns; 0 if there is none."""
    if isinstance(text, str):
        # Python 3.10 reads no Z, and fractions of three or six digits only.
        plain = re.sub(r"[Zz]$", "+00:00", text.strip())
        plain = re.sub(r"\.(\d{1,6})\d*", lambda match: f".{match[1]:0<6}", plain)
        try:
            moment = datetime.fromisoformat(plain)
            return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
        except (ValueError, OverflowError):
            return 0.0
    seconds = text or 0.0
    for _ in range(3):
        seconds = seconds / 1000 if seconds > LATEST_S else seconds  # LATEST_S as milliseconds is 1973
    return seconds
