"""The values that a setting takes, in words, read from its type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from msgspec import inspect


def wanted_value(info: inspect.Type) -> str:
    """`give a number from 0 to 2`; empty for a type that is no number, choice, or yes or no."""
    match info:
        case inspect.FloatType() | inspect.IntType():
            what = "a number" if isinstance(info, inspect.FloatType) else "a whole number"
            return f"give {what}{_range(info)}"
        case inspect.BoolType():
            return "give true or false"
        case inspect.LiteralType():
            return f"give one of {', '.join(str(value) for value in info.values)}"
        case _:
            return ""


def bare_type(info: inspect.Type) -> inspect.Type:
    """The type without its `Metadata`; of a union, the member that is not None."""
    if isinstance(info, inspect.Metadata):
        return bare_type(info.type)
    if isinstance(info, inspect.UnionType):
        return next(bare_type(kind) for kind in info.types if not isinstance(kind, inspect.NoneType))
    return info


def near_name(typed: str, names: Iterable[str], likeness: float = 0.6) -> str:
    """The name that was probably meant, which may begin with `typed`; empty if none is near. `likeness`: of `difflib`, 0 to 1."""
    known = list(names)
    begun = [name for name in known if len(typed) > 1 and name.startswith(typed)]
    return next(iter([*begun[:1], *difflib.get_close_matches(typed, known, n=1, cutoff=likeness)]), "")


def _range(info: inspect.FloatType | inspect.IntType) -> str:
    low, high = info.ge, info.le
    if low is not None and high is not None:
        return (
            f" from {low:g} to {high:,}"
            if isinstance(info, inspect.IntType)
            else f" from {low:g} to {high:g}"
        )
    if low is not None:
        return f" of at least {low:g}"
    return " above 0" if info.gt == 0 else ""
