"""A scripted engine with a fixed token rate; `IsolatedEngine` loads it as `benchmarks.paced_engine:create`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

from tests.fakes import Script, ScriptedEngine
from ttchat_tui.domain.events import GenerationEvent, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest

FACTORY = "benchmarks.paced_engine:create"
RATE = "TTCHAT_BENCH_TOKENS_PER_S"
CONTENT = "TTCHAT_BENCH_CONTENT"
"""`mixed` (also when unset) or `prose`."""
ROWS = "TTCHAT_BENCH_ROWS"
"""The most rows of a batch, which share the rate; 1 when unset."""

SECTION = """## Sharding a weight

A mesh of devices shards the weight along its **inner** dimension, so that every chip holds a slice of it and the
*partial* products are summed by an `all_reduce` over the ring. See [the guide](https://example.org/mesh).

- shard the **weight** along `dim=1`, gather the result
  - and the inner items too
- sum the partial products

```python
def shard(tensor, mesh, dim=1):
    # a slice for each chip
    parts = tensor.chunk(len(mesh), dim)
    return [ttnn.from_torch(part, device=chip) for part, chip in zip(parts, mesh)]
```

| operation | chips | type | time |
|---|:-:|---|--:|
| all-reduce | 8 | `bf16` | 1.25 ms |
| matmul | 8 | `bfp8` | 3.5 ms |

> The last word of a ring is the first of the next.

"""
"""Every kind of block, about 250 tokens."""

PARAGRAPH = """The history of clocks is a long one, in which each age has measured the hours with the means it had at \
hand, from the shadow of a stick to the beat of an atom. Water clocks stood in the temples of Egypt, candles burned \
down in the halls of kings, and the monks of the North rang their bells by wheels and weights that they had to set by \
the sun each noon.

"""


class PacedEngine(ScriptedEngine):
    """Waits before each token until it is due, and catches up after a delay: the rate is a mean."""

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        pause_s = 1.0 / float(os.environ[RATE])
        due = time.monotonic()
        for event in super().generate(request, control):
            if isinstance(event, TokenEvent):
                due += pause_s
                time.sleep(max(0.0, due - time.monotonic()))
            yield event


def create(_kind: str) -> PacedEngine:
    """The factory for the child process. A reply is longer than any measurement."""
    section = PARAGRAPH if os.environ.get(CONTENT) == "prose" else SECTION
    sections = 200_000 // len(re.findall(r"\S+", section))
    return PacedEngine(
        Script(
            replies=(section * sections,),
            context_length=1_000_000,
            batch_sizes=(int(os.environ.get(ROWS, "1")),),
        )
    )
