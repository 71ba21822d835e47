"""What a constraint costs a token: CPU time of mask and sampler with a JSON schema, against the sampler alone, one thread."""

from __future__ import annotations

import os

# ruff: noqa: E402
# Set before numpy loads, which reads them for its thread pools.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[_name] = "1"

import json
import statistics
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.report import finish
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.constraint import ConstraintCompiler
from ttchat_tui.engine.decoding.sampler import Sampler

VOCABULARIES = (49_152, 128_256)
REPLIES, LONGEST = 20, 200
BUDGET_MS = 1.0
SCHEMA = Constraint(
    "json-schema",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 60},
                "age": {"type": "integer", "minimum": 0, "maximum": 150},
                "email": {"type": "string", "pattern": "^[a-z]+@[a-z]+[.](com|org)$"},
                "tags": {"type": "array", "maxItems": 5, "items": {"enum": ["new", "old", "blue"]}},
                "parts": {
                    "type": "array",
                    "maxItems": 4,
                    "items": {"type": "object", "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}},
                },
            },
            "required": ["name", "age", "email", "tags", "parts"],
        }
    ),
)  # fmt: skip


class WordConstraint:
    """A vocabulary of all bytes, then words of 2 to 9 letters with and without a space, then an end token."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        letters = np.frombuffer(b'etaoinshrdlucmfwypvbgk0123456789"{}:,.-', np.uint8)
        made = {bytes([byte]): None for byte in range(256)}
        while len(made) < size - 1:
            word = rng.choice(letters, rng.integers(2, 10)).tobytes()
            made[word if rng.random() < 0.5 else b" " + word] = None
        self._pieces = [*made, b"<end>"]
        self._ids = {piece: number for number, piece in enumerate(self._pieces)}
        self.size, self.end_ids, self.control_ids, self.has_bytes = size, (size - 1,), (size - 1,), True

    def piece_of(self, token_id: int) -> bytes:
        return self._pieces[token_id]

    def encode_text(self, text: str) -> Sequence[int]:
        return [self._ids[bytes([byte])] for byte in text.encode()]


def measure(size: int) -> dict[str, float]:
    """Milliseconds of CPU time."""
    tokenizer, rng = WordConstraint(size), np.random.default_rng(1)
    began = time.process_time()
    compiler = ConstraintCompiler(tokenizer)
    compiler.start(SCHEMA, "", "", ())
    compile_ms = (time.process_time() - began) * 1e3
    params = SamplingParams(temperature=0.7, top_k=40, top_p=0.95)
    with_ms, without_ms = list[float](), list[float]()
    for seed in range(REPLIES):
        constraint = compiler.start(SCHEMA, "", "", ())
        sampler, plain = Sampler(size, seed), Sampler(size, seed)
        for _ in range(LONGEST):
            logits = rng.normal(0.0, 3.0, size).astype(np.float32)
            began = time.process_time()
            token_id, _ = sampler.sample(logits, params, allowed=constraint.allowed(size))
            if token_id not in tokenizer.end_ids:
                constraint.take(token_id, "")
            between = time.process_time()
            plain.sample(logits, params)
            without_ms.append((time.process_time() - between) * 1e3)
            with_ms.append((between - began) * 1e3)
            if token_id in tokenizer.end_ids or constraint.is_complete:
                break
    added = sorted(one - other for one, other in zip(with_ms, without_ms, strict=True))
    return {
        "compile_ms": compile_ms,
        "with_ms": statistics.median(with_ms),
        "without_ms": statistics.median(without_ms),
        "added_ms": statistics.median(added),
        "added_p95_ms": added[int(0.95 * len(added))],
        "tokens": len(added),
    }


def main() -> None:
    results = {f"{size:,}": measure(size) for size in VOCABULARIES}
    for size, row in results.items():
        print(
            f"{size:>8}  with {row['with_ms']:.3f} ms, without {row['without_ms']:.3f} ms: "
            f"adds {row['added_ms']:.3f} ms a token (p95 {row['added_p95_ms']:.3f}); first use {row['compile_ms']:.0f} ms"
        )
    largest = results[f"{VOCABULARIES[-1]:,}"]
    finish(
        "constraint",
        {"threads": 1, "results": results},
        f"constraint: adds {largest['added_ms']:.2f} ms a token at {VOCABULARIES[-1]:,} (budget {BUDGET_MS:.0f} ms)",
    )


if __name__ == "__main__":
    main()
