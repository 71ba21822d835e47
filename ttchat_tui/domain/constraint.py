"""Constraints: the form that a reply must have, by a JSON schema, a regular expression or a grammar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn, TypeAlias, cast

import msgspec
from msgspec import Meta

from ttchat_tui.domain.special_files import special_file
from ttchat_tui.domain.text import visible_line
from ttchat_tui.domain.user_paths import expanded

ConstraintKind: TypeAlias = Literal["json-schema", "regex", "grammar"]
"""grammar: in the Lark dialect of llguidance."""

MOST_CHARACTERS: Final = 1_000_000
CONSTRAINT_FORMS: Final = "json-schema FILE, regex EXPRESSION, grammar FILE or off"
"""What the user types, wherever a constraint is set: on the screen, in the plain chat, as a setting of one reply."""
_SHOWN: Final = 40
"""Characters of a regular expression, or of a schema's name, that are shown."""
_PROPERTIES: Final = 4
"""Properties of a schema that are shown where it has no title."""


class Constraint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole reply has this form, or the end is missing because the reply was cut off.

    It applies from the first token of the answer, after the thoughts that the chat template opens. A reply keeps the
    constraint that it began with.
    """

    kind: ConstraintKind
    text: Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS)]
    """The schema as JSON, the expression, or the grammar."""

    @property
    def summary(self) -> str:
        """`json-schema "Person"` by its title, else `json-schema {name, age}` by the first properties; `regex [0-9]+`; `grammar
        of 12 lines`."""
        if self.kind == "regex":
            shown = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 1]}…"
            return visible_line(f"regex {shown}")
        if self.kind == "grammar":
            lines = len(self.text.splitlines())
            return f"grammar of {lines} line{'s' * (lines != 1)}"
        named = _named(self.text)
        return visible_line(
            f"json-schema {named}" if named else f"json-schema of {len(self.text):,} characters"
        )


class ConstraintError(ValueError):
    """What is typed or given is no constraint. The message says why."""


def typed_constraint(typed: str) -> Constraint | None:
    """The constraint of `regex R`, `json-schema FILE` or `grammar FILE`; None for `off`.

    Raises:
        ConstraintError: it is none of these, or the file cannot be read.
    """
    kind, _, value = typed.strip().partition(" ")
    kind, value = kind.lower().replace("_", "-"), value.strip()
    if kind == "off" and not value:
        return None
    if kind not in ("json-schema", "regex", "grammar"):
        raise ConstraintError(f"give {CONSTRAINT_FORMS}.")
    if not value:
        raise ConstraintError(f"{kind} needs {'an expression' if kind == 'regex' else 'a file'}.")
    if kind == "regex":
        return Constraint("regex", value)
    if special := special_file(expanded(value)):  # reading it may wait for ever, and the screen with it
        raise ConstraintError(f"{visible_line(value)} cannot be read: it is {visible_line(special)}.")
    return constraint_from_file(kind, Path(value))


def constraint_from_file(kind: ConstraintKind, path: Path) -> Constraint:
    """
    Raises:
        ConstraintError: the file cannot be read, is empty or too long, or is no JSON schema.
    """
    file, named = expanded(path), visible_line(str(path))
    try:
        with open(file, encoding="utf-8-sig") as opened:
            text = opened.read(MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        is_other = isinstance(error, UnicodeDecodeError)
        reason = "it is not UTF-8" if is_other else getattr(error, "strerror", None) or str(error)
        raise ConstraintError(f"{named} cannot be read: {reason}.") from error
    if not text.strip() or len(text) > MOST_CHARACTERS:
        size = "is empty" if not text.strip() else f"is longer than {MOST_CHARACTERS:,} characters"
        raise ConstraintError(f"{named} {size}.")
    if kind == "json-schema":
        try:
            schema = json.loads(text, parse_constant=_no_constant)
        except ValueError as error:
            words = str(error).partition(" (char")[0]  # Python counts from the file's beginning too
            raise ConstraintError(f"{named} is no JSON: {words}.") from error
        except RecursionError as error:
            raise ConstraintError(f"{named} is nested too deeply.") from error
        if not isinstance(schema, dict | bool):
            raise ConstraintError(f"{named} is no JSON schema, which is an object, true or false.")
    return Constraint(kind, text)


def _no_constant(name: str) -> NoReturn:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is not in JSON")


def _named(schema: str) -> str:
    """What a schema is called: its title, or its first properties; empty if it has neither."""
    try:
        parsed = msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError):
        return ""
    found = cast("dict[str, object]", parsed) if isinstance(parsed, dict) else {}
    title, properties = found.get("title"), found.get("properties")
    if isinstance(title, str) and title:
        return f'"{title[:_SHOWN]}"'
    names = list(cast("dict[str, object]", properties)) if isinstance(properties, dict) else []
    shown = ", ".join(names[:_PROPERTIES])[:_SHOWN]
    is_cut = len(shown) < len(", ".join(names))
    return f"{{{shown}{', …' if is_cut else ''}}}" if shown else ""
