"""Constraints: the form that a reply must have, by choices, a JSON schema, a regular expression or a grammar."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn, TypeAlias, cast

import msgspec
from msgspec import Meta

from ttchat_tui.domain.special_files import special_file
from ttchat_tui.domain.text import visible_line
from ttchat_tui.domain.user_paths import expanded

ConstraintKind: TypeAlias = Literal["choices", "json-schema", "regex", "grammar"]
"""choices: one of these texts. grammar: in the Lark dialect of llguidance."""

MOST_CHARACTERS: Final = 1_000_000
MOST_CHOICES: Final = 1_000
LONGEST_CHOICE: Final = 500
CONSTRAINT_FORMS: Final = "json-schema FILE, regex EXPRESSION, grammar FILE, choices TEXT,TEXT or off"
"""What the user types, wherever a constraint is set: on the screen, in the plain chat, as a setting of one reply."""
_SHOWN: Final = 40
"""Characters of choices, of a regular expression, or of a schema's name, that are shown."""
_PROPERTIES: Final = 4
"""Properties of a schema that are shown where it has no title."""
_CHOICE: Final = re.compile(r'\s*"(?P<quoted>(?:[^"]|"")*)"\s*(?P<rest>[^,]*)|(?P<plain>[^,]*)')
"""To the comma after it, or to the end."""


class Constraint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole reply has this form, or the end is missing because the reply was cut off.

    It applies from the first token of the answer, after the thoughts that the chat template opens. A reply keeps the
    constraint that it began with.
    """

    kind: ConstraintKind
    text: Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS)]
    """The schema as JSON, the expression, the grammar, or the choices as they are typed: commas between, and quotation marks
    around one that has a comma, a quotation mark at its beginning, or space at an end; a second mark for one inside."""

    def __post_init__(self) -> None:
        """Give choices one spelling, so that those with the same texts are equal.

        Raises:
            ConstraintError: there are fewer than two or too many, or one is empty, too long, there twice or quoted wrongly.
        """
        if self.kind == "choices":
            msgspec.structs.force_setattr(self, "text", ", ".join(map(_typed, _parsed(self.text))))

    @property
    def choices(self) -> list[str]:
        """The texts of choices."""
        return _parsed(self.text)

    @property
    def named(self) -> str:
        """Its kind in a sentence: `a regex`, `choices`."""
        return self.kind if self.kind == "choices" else f"a {self.kind}"

    @property
    def summary(self) -> str:
        """`choices yes, no`; `regex [0-9]+`; `json-schema "Person"` by its title, else `json-schema {name, age}` by the first
        properties; `grammar of 12 lines`."""
        if self.kind in ("choices", "regex"):
            shown = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 1]}…"
            return visible_line(f"{self.kind} {shown}")
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
    """The constraint of `choices A,B`, `regex R`, `json-schema FILE` or `grammar FILE`; None for `off`.

    Raises:
        ConstraintError: it is none of these, the file cannot be read, or the choices cannot be used.
    """
    kind, _, value = typed.strip().partition(" ")
    kind, value = kind.lower().replace("_", "-"), value.strip()
    if kind == "off" and not value:
        return None
    if kind not in ("choices", "json-schema", "regex", "grammar"):
        raise ConstraintError(f"give {CONSTRAINT_FORMS}.")
    if kind == "choices":
        return Constraint(kind, value)
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


def _parsed(choices: str) -> list[str]:
    """The texts of typed choices. Raises ConstraintError."""
    found: list[str] = []
    at = 0 if choices.strip() else 1
    while at <= len(choices):
        part, number = _CHOICE.match(choices, at), len(found) + 1
        assert part is not None, "the pattern matches an empty text too"
        at = part.end() + 1
        quoted, plain = part["quoted"], (part["plain"] or "").strip()
        if plain.startswith('"'):
            raise ConstraintError(
                f"the quotation mark before choice {number} has no partner: write one after it."
            )
        if part["rest"]:
            rest = visible_line(part["rest"][:_SHOWN])
            raise ConstraintError(
                f'after the quotation mark that ends choice {number} comes {rest}: put a comma between, or write "" for a quotation mark inside.'
            )
        found.append(plain if quoted is None else quoted.replace('""', '"'))
    if len(found) < 2:
        raise ConstraintError("choices needs at least two texts with commas between: yes,no.")
    if len(found) > MOST_CHOICES:
        raise ConstraintError(f"there are {len(found):,} choices: give at most {MOST_CHOICES:,}.")
    first: dict[str, int] = {}
    for number, choice in enumerate(found, start=1):
        if not choice.strip():
            raise ConstraintError(f"choice {number} is empty: give it a text, or take out a comma.")
        if len(choice) > LONGEST_CHOICE:
            raise ConstraintError(
                f"choice {number} has {len(choice):,} characters: give at most {LONGEST_CHOICE:,}."
            )
        if (earlier := first.setdefault(choice, number)) != number:
            raise ConstraintError(f"choices {earlier} and {number} are the same: take one out.")
    return found


def _typed(choice: str) -> str:
    """A choice as it is typed."""
    needs_marks = "," in choice or choice.startswith('"') or choice != choice.strip()
    return '"{}"'.format(choice.replace('"', '""')) if needs_marks else choice


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
