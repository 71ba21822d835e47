"""Rules of style sheets hashed in C.

`Stylesheet.apply` looks up every rule of every sheet in a set, for each widget: 170,000 calls of `RuleSet.__hash__` (Textual
8.2.8) before the screen is complete, a twentieth of its start. That method returns the object's id, as the built-in one does.
"""

from __future__ import annotations

from textual.css.model import RuleSet

RuleSet.__hash__ = object.__hash__  # type: ignore[method-assign]
