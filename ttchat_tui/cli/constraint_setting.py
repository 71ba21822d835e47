"""Check of the constraint in the settings, without a model: an error in it is reported as in any other setting."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Final

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.domain.sampling import SamplingDefaults

_SETTING: Final = "sampling.constraint"
_CHECK: Final = "ttchat_tui.engine.decoding.constraint"
"""Imported by name: it brings numpy, which a start without a constraint does not need."""


def check_constraint_setting(
    sampling: SamplingDefaults, engine: EngineKind, place_of: Callable[[str], str]
) -> None:
    """
    Args:
        engine: the one that would follow it. A server has syntax of its own, and refuses what it cannot read.
        place_of: names the source of a setting.

    Raises:
        ConfigError: no in-process engine can read the constraint.
    """
    constraint = sampling.constraint
    if (
        not isinstance(constraint, Constraint)
        or engine == "remote"
        or importlib.util.find_spec("numpy") is None
    ):
        return
    try:
        importlib.import_module(_CHECK).check_constraint(constraint)
    except AppError as error:
        what, cure = error.info.message.rstrip("."), error.info.cure.rstrip(".")
        raise ConfigError(
            place_of(_SETTING), what, setting=_SETTING, cure=f"{cure[:1].lower()}{cure[1:]}"
        ) from error
