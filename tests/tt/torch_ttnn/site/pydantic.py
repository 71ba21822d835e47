"""Stands for pydantic: what tt_transformers wants of it, which is a model of rope scaling read from config.json."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from typing import Any


class AliasChoices:
    def __init__(self, *names: str) -> None:
        self.names = names


class _Field:
    def __init__(self, default: Any, names: tuple[str, ...], is_excluded: bool) -> None:
        self.default, self.names, self.is_excluded = default, names, is_excluded


_REQUIRED: Any = object()


def Field(
    default: Any = _REQUIRED, *, validation_alias: AliasChoices | None = None, exclude: bool = False, **_: Any
) -> Any:
    return _Field(default, validation_alias.names if validation_alias else (), exclude)


def validator(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda function: function


class BaseModel:
    def __init__(self, **given: Any) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            field = self._field(name)
            found = [given[each] for each in (*field.names, name) if each in given] or [field.default]
            if found[0] is _REQUIRED:
                raise ValueError(f"{type(self).__name__}: {name} is missing")
            is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
            setattr(self, name, kind(found[0]) if is_enum else found[0])

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        named = [name for name in typing.get_type_hints(type(self)) if not self._field(name).is_excluded]
        values = {name: getattr(self, name) for name in named}
        return {name: value for name, value in values.items() if not (exclude_none and value is None)}

    @classmethod
    def _field(cls, name: str) -> _Field:
        declared = getattr(cls, name, _REQUIRED)
        return declared if isinstance(declared, _Field) else _Field(declared, (), False)
