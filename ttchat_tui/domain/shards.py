"""Names of the files of a model that llama.cpp split: `NAME-00001-of-00003.gguf` and so on (`llama_split_path`)."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final, TypeVar

AnyPath = TypeVar("AnyPath", bound=PurePath)
_SHARD: Final = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def shards_of(path: AnyPath) -> list[AnyPath]:
    """All shards of the model that this one belongs to, in order, whether they exist or not; a whole file alone."""
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match["count"]) == 0:
        return [path]
    count = int(match["count"])
    return [path.with_name(f"{match['name']}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1)]
