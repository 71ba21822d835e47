"""What a chat template makes of known messages: which roles it shows, and in which form it wants their contents.

Templates of models that see images iterate over a content, which is a list of typed parts for them. Of a plain text they show
nothing, without an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from ttchat_tui.engine.text.template_process import TemplateError, TemplateRefusal

TemplateMessage: TypeAlias = dict[str, Any]
"""A message as a template reads it."""
Render: TypeAlias = Callable[[list[TemplateMessage]], str]

_MARKS: Final = {"system": "ttchatsystem", "user": "ttchatuser", "assistant": "ttchatassistant"}
"""One word of small letters: templates trim, quote and capitalise."""
_ROLES: Final = frozenset(_MARKS)
_PRINTED: Final = re.compile(r"""['"]text['"]\s*:\s*['"]\w+['"]""")
"""A part that a template has printed as a list, instead of showing its text."""


class ContentForm(NamedTuple):
    """What the probe has found."""

    shown: frozenset[str]
    """Roles whose contents are in the prompt."""
    typed: frozenset[str] = frozenset()
    """Roles whose contents are lists of typed parts."""

    @property
    def lost(self) -> frozenset[str]:
        """Roles whose contents never reach the model. A system prompt can be put elsewhere."""
        return _ROLES - self.shown - {"system"}


def probe(render: Render) -> ContentForm:
    """Plain contents for all roles if they show as much as any other form; else typed parts for some or all of them.

    Raises:
        TemplateError: the template ends for no conversation; refusals are part of the answer.
    """
    try:
        plain = ContentForm(_shown(render, ()))
        if plain.shown == _ROLES:
            return plain
        hidden = _ROLES - plain.shown
        mixed = ContentForm(_shown(render, hidden), hidden) if plain.shown else plain
        typed = ContentForm(_shown(render, _ROLES), _ROLES)
        return max((plain, mixed, typed), key=lambda form: len(form.shown))
    except TemplateError:  # It may end for other conversations, of which the shortest must do.
        shown = _shown_in(render, ("system", "user"), ())
        return ContentForm(_ROLES if "system" in shown else _ROLES - {"system"})


def as_parts(content: str) -> list[Mapping[str, str]]:
    """A content as a list of typed parts, as OpenAI's API has it."""
    return [{"type": "text", "text": content}]


def _shown(render: Render, typed: Collection[str]) -> frozenset[str]:
    """The roles that a prompt shows. Some templates take no system message, and some no reply before a question."""
    found: set[str] = set()
    for roles in (("system", "user", "assistant", "user"), ("user", "assistant", "user"), ("user",)):
        if not found >= set(roles):
            found |= _shown_in(render, roles, typed)
    return frozenset(found)


def _shown_in(render: Render, roles: Sequence[str], typed: Collection[str]) -> set[str]:
    try:
        prompt = render([_message(role, typed) for role in roles]).lower()
    except TemplateRefusal:
        return set()
    prompt = _PRINTED.sub("", prompt)
    return {role for role in roles if _MARKS[role] in prompt}


def _message(role: str, typed: Collection[str]) -> TemplateMessage:
    mark = _MARKS[role]
    return {"role": role, "content": as_parts(mark) if role in typed else mark}
