"""The models that the first start offers: the largest that run at a pleasant speed on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.models.catalog import CatalogEntry, HubGguf, catalog
from ttchat_tui.models.local import find_local
from ttchat_tui.models.machine import Machine, this_machine

MOST: Final = 3
PLEASANT: Final = 8.0
"""Tokens a second: six words, a little faster than most people read."""


class OfferedModel(msgspec.Struct, frozen=True):
    """A model of the catalog that fits this machine."""

    name: str
    """What --model takes."""
    quantisation: str
    size_bytes: int
    tokens_per_s: float
    is_here: bool


def best_for(
    entries: Iterable[CatalogEntry], machine: Machine, free_disk: int, is_here: Callable[[CatalogEntry], bool]
) -> tuple[OfferedModel, ...]:
    """The models with the most parameters that fit in memory and on the disk and decode at a pleasant speed, best first.

    On a slow machine, where fewer than `MOST` do, the fastest of the others follow. Only quantised files of the hub count, so
    the default model does not.
    """
    fitting: list[tuple[int, OfferedModel]] = []
    for entry in entries:
        here = is_here(entry)
        size = entry.size_bytes
        if not isinstance(entry.sources[0], HubGguf) or not machine.has_room_for(size):
            continue
        if here or size <= free_disk:
            rate = machine.tokens_per_s(size)
            fitting.append(
                (entry.parameters, OfferedModel(entry.alias, entry.quantisation, size, rate, is_here=here))
            )
    pleasant = [each for each in fitting if each[1].tokens_per_s >= PLEASANT]
    slow = [each for each in fitting if each not in pleasant]
    pleasant.sort(key=lambda each: -each[0])
    slow.sort(key=lambda each: -each[1].tokens_per_s)
    return tuple(model for _, model in (*pleasant, *slow)[:MOST])


def best_for_this_machine(
    models_dir: Path, cache_dir: Path, environ: Mapping[str, str]
) -> tuple[OfferedModel, ...]:
    """The offer of the first start. It may measure the machine: not for the UI's thread."""
    folder = next(each for each in (models_dir, *models_dir.parents) if each.is_dir())
    return best_for(
        catalog().models,
        this_machine(cache_dir),
        shutil.disk_usage(folder).free,
        lambda entry: find_local(entry, models_dir, environ) is not None,
    )
