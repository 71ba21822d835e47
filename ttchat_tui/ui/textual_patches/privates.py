"""Private names of Textual (8.2.8) that this package reads and does not override: no public name exists for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual._arrange import DockArrangeResult as DockArrangeResult
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.filter import LineFilter
from textual.screen import Screen

__all__ = [
    "DockArrangeResult",
    "add_bindings",
    "is_bound",
    "line_filters",
    "remove_bindings",
    "write_to_terminal",
]


def add_bindings(node: DOMNode, bindings: Iterable[Binding]) -> None:
    """Give this node bindings of its own, which come before those of its class.

    `DOMNode._bindings`: bindings are declared per class, and keys from a config are known only at run time. Lists are
    replaced, never extended: Textual shares them between all nodes of a class.
    """
    own = node._bindings.key_to_bindings
    for each in Binding.make_bindings(bindings):
        own[each.key] = [each, *own.get(each.key, [])]


def remove_bindings(node: DOMNode, keys: Iterable[str]) -> None:
    """Take these keys away from this node. `DOMNode._bindings`: classes can only add to the keys of their base."""
    for key in keys:
        node._bindings.key_to_bindings.pop(key, None)


def is_bound(screen: Screen[Any], key: str) -> bool:
    """Whether `key` does something where the focus is. `Screen._binding_chain`; the public `active_bindings` evaluates
    every action's state."""
    return any(key in bindings.key_to_bindings for _, bindings in screen._binding_chain)


def line_filters(app: App[Any]) -> list[LineFilter]:
    """The filters that every line goes through on its way to the terminal. `App._filters`: Textual chooses them itself."""
    return app._filters


def write_to_terminal(app: App[Any], data: str) -> None:
    """Write a control sequence to the terminal, if there is one. `App._driver`: the public methods write fixed sequences."""
    if app._driver is not None:
        app._driver.write(data)
