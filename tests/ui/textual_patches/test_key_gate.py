"""KeyGate: the order of input."""

from __future__ import annotations

import asyncio

import pytest
from textual import events

from ttchat_tui.ui.textual_patches.key_gate import MOST_LETTERS, KeyGate


def key(name: str) -> events.Key:
    return events.Key(name, name if len(name) == 1 else None)


@pytest.mark.parametrize(
    ("is_text_edited", "batches"),
    [(True, ["abc", "backspace", "de"]), (False, [*"abc", "backspace", *"de"])],
)
async def test_only_letters_in_a_field_of_text_go_in_without_waiting_for_each_other(
    is_text_edited: bool, batches: list[str]
) -> None:
    let_in: list[str] = [""]
    has_all = asyncio.Event()

    def take(message: object) -> bool:
        assert isinstance(message, events.Key)
        let_in[-1] += message.key
        if message.key == "e":
            has_all.set()
        return True

    def look() -> tuple[()]:
        if let_in[-1]:
            let_in.append("")
        return ()

    gate = KeyGate(look, take, lambda: is_text_edited)
    for name in ("a", "b", "c", "backspace", "d", "e"):
        gate.accept(key(name))
    await asyncio.sleep(0)
    assert let_in == [""], "there is no screen yet"
    gate.begin()
    await has_all.wait()
    assert [batch for batch in let_in if batch] == batches


async def test_thousands_of_letters_let_the_screen_be_drawn_in_between() -> None:
    sizes: list[int] = [0]
    has_all = asyncio.Event()

    def take(message: object) -> bool:
        sizes[-1] += 1
        if sum(sizes) == 3 * MOST_LETTERS:
            has_all.set()
        return True

    def look() -> tuple[()]:
        sizes.append(0)
        return ()

    gate = KeyGate(look, take, lambda: True)
    for _ in range(3 * MOST_LETTERS):
        gate.accept(key("a"))
    gate.begin()
    await has_all.wait()
    assert max(sizes) == MOST_LETTERS
