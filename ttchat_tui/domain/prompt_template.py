"""Prompt templates: texts with variables, for the prompt or as a system prompt.

Filling one in evaluates nothing: `{{name}}` of a declared variable becomes its value, once, and everything else stays as it
is, `{{` in a value too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.errors import AppError

TemplateKind: TypeAlias = Literal["prompt", "system"]

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
"""The names that variables may have."""
_PLACEHOLDER: Final = re.compile(rf"\{{\{{[ \t]*({NAME.pattern})[ \t]*\}}\}}")


class Variable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    description: str = ""
    """One line, beside its field."""
    default: str | None = None
    """None: a value must be given."""
    choices: tuple[str, ...] = ()
    """The values it may have; none: any text."""


class TemplateHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a template says about its text: the schema of its front matter."""

    description: str = ""
    """One line, for the picker."""
    kind: TemplateKind = "prompt"
    """`prompt`: the text goes into the draft. `system`: it becomes the conversation's system prompt."""
    variables: dict[str, Variable] = {}


class ValueProblem(AppError):
    """A variable whose value is missing or not allowed, or a value without a variable."""

    kind = "usage"

    def __init__(self, variable: str, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.variable = variable


class PromptTemplate(TemplateHead, frozen=True, kw_only=True):
    name: str
    text: str

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """The value of every variable: the given one, else its default.

        Raises:
            ValueProblem: a variable has neither, a value is not among the choices, or there is no such variable.
        """
        for name in given:
            if name not in self.variables:
                known = f"It has {', '.join(self.variables)}." if self.variables else "It has none."
                raise ValueProblem(name, f"The template {self.name} has no variable {name}.", known)
        found: dict[str, str] = {}
        for name, variable in self.variables.items():
            value = given.get(name, variable.default)
            choices = f"one of {', '.join(variable.choices)}" if variable.choices else "a text"
            if value is None:
                about = f" ({variable.description})" if variable.description else ""
                message = f"The template {self.name} needs a value for {name}{about}."
                raise ValueProblem(name, message, f"Give it {choices}.")
            if variable.choices and value not in variable.choices:
                message = f"{name} cannot be {value!r} in the template {self.name}."
                raise ValueProblem(name, message, f"Give it {choices}.")
            found[name] = value
        return found

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with each `{{name}}` that `values` has in place of it. Values are not read again."""

        def value_of(match: re.Match[str]) -> str:
            return values.get(match[1], match[0])

        return _PLACEHOLDER.sub(value_of, self.text)


def placeholders(text: str) -> list[str]:
    """The names in `{{…}}` in order, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))
