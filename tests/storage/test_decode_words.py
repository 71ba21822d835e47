"""What msgspec finds wrong, in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.storage.decode_words import clause_of


class Inner(msgspec.Struct):
    sender: str
    kind: Literal["a", "b"] = "a"
    level: Annotated[float, msgspec.Meta(le=2.0)] = 0.0
    name: Annotated[str, msgspec.Meta(max_length=3)] = ""


class Outer(msgspec.Struct):
    chat_messages: list[Inner]
    mapping: dict[str, int | None] = {}


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ({"chat_messages": 5}, "chat_messages is not a list"),
        ({}, "it has no chat_messages"),
        (7, "it is not an object"),
        ({"chat_messages": [{"sender": "x"}, {}]}, "item 2 of chat_messages has no sender"),
        ({"chat_messages": [{"sender": None}]}, "sender in item 1 of chat_messages is not text"),
        ({"chat_messages": [], "mapping": {"x": "y"}}, "an item of mapping is not a whole number"),
        ({"chat_messages": [{"sender": "", "kind": "c"}]}, "kind in item 1 of chat_messages has an unknown value: 'c'"),
        ({"chat_messages": [{"sender": "", "level": 9}]}, "level in item 1 of chat_messages is out of range"),
        ({"chat_messages": [{"sender": "", "name": "four"}]}, "name in item 1 of chat_messages is out of range"),
    ],
)  # fmt: skip
def test_the_place_and_the_kind_of_a_wrong_value_are_words(value: Any, clause: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, decodable(Outer))
    assert clause_of(caught.value) == clause


def test_a_syntax_error_has_no_place() -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(b'{"a"', type=decodable(Outer))
    assert clause_of(caught.value) == "input data was truncated"
