"""Years of invented conversations, the same each time: for benchmarks of the store and the search."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.database import Database, open_database
from ttchat_tui.storage.rows import encoded_sampling

CONVERSATIONS: Final = 10_000
MESSAGES: Final = 100_000
SIBLINGS: Final = 2_000

_SYLLABLES: Final = [
    "an",
    "ar",
    "be",
    "con",
    "de",
    "di",
    "en",
    "er",
    "ex",
    "for",
    "gra",
    "im",
    "in",
    "ing",
    "ion",
    "ka",
    "la",
    "li",
    "lo",
    "ma",
    "men",
    "mi",
    "na",
    "ne",
    "no",
    "or",
    "per",
    "pro",
    "qua",
    "ra",
    "re",
    "ri",
    "ser",
    "si",
    "st",
    "sub",
    "ta",
    "te",
    "ti",
    "to",
    "tra",
    "un",
    "ver",
    "vi",
]
_CHINESE: Final = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
_SAMPLING: Final = encoded_sampling(SamplingParams())
_MODELS: Final = ("smollm2-135m-instruct", "llama-3.1-8b-instruct", "qwen3-8b")


class Vocabulary:
    """Words whose frequencies follow Zipf's law, as in a language; some are names in code, some messages are Chinese."""

    def __init__(self, random: random.Random, size: int = 40_000) -> None:
        self._random = random
        made = {"".join(random.choices(_SYLLABLES, k=random.randint(1, 5))) for _ in range(size)}
        names = {
            f"get{''.join(part.title() for part in random.choices(_SYLLABLES, k=3))}" for _ in range(2000)
        }
        self.words = random.sample(sorted(made | names), len(made | names))
        """The most frequent first."""
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(self.words))))

    def text(self, length: int) -> str:
        """Prose of about `length` words, in paragraphs; one in twenty is Chinese."""
        if self._random.random() < 0.05:
            return "".join(self._random.choices(_CHINESE, k=length))
        words = self._random.choices(self.words, cum_weights=self._weights, k=length)
        return "\n\n".join(" ".join(words[at : at + 60]) + "." for at in range(0, length, 60))


class Row(msgspec.Struct, frozen=True):
    """A message to store."""

    id: int
    conversation_id: int
    parent_id: int | None
    role: str
    created_at: float
    content: str
    model: str


def messages(vocabulary: Vocabulary, chance: random.Random, scale: float = 1.0) -> Iterator[Row]:
    """Turns in chains; each fiftieth message has a sibling. One conversation in a hundred is ten times as long."""
    conversations, total = int(CONVERSATIONS * scale), int(MESSAGES * scale)
    each = total / conversations
    row_id, now = 0, 1_600_000_000.0
    for conversation in range(1, conversations + 1):
        parent: int | None = None
        while row_id < total * conversation / conversations:
            now += chance.expovariate(1 / 1500)
            role = "assistant" if parent is not None and row_id % 2 else "user"
            is_sibling = parent is not None and row_id % (MESSAGES // SIBLINGS) == 0
            row_id += 1
            length = (
                chance.choice((80, 150, 250, 400)) if role == "assistant" else chance.choice((8, 15, 30, 60))
            )
            text = vocabulary.text(length)
            yield Row(row_id, conversation, parent, role, now, text, chance.choice(_MODELS))
            if not is_sibling:
                parent = row_id
        assert each > 0


def fill(path: Path, scale: float = 1.0, seed: int = 1) -> Vocabulary:
    """Write the conversations into a new database at `path`."""
    chance = random.Random(seed)
    vocabulary = Vocabulary(chance)
    database = open_database(path)
    batch: list[Row] = []
    for row in messages(vocabulary, chance, scale):
        batch.append(row)
        if len(batch) == 1_000:
            _insert(database, batch)
            batch.clear()
    _insert(database, batch)
    database.close()
    return vocabulary


def _insert(database: Database, rows: list[Row]) -> None:
    replies = [row for row in rows if row.role == "assistant"]
    with database.transaction() as transaction:
        transaction.executemany(
            "INSERT OR IGNORE INTO conversations (id, created_at, updated_at, title, model) VALUES (?, ?, ?, ?, ?)",
            [
                (row.conversation_id, row.created_at, row.created_at, row.content[:60], row.model)
                for row in rows
            ],
        )
        transaction.executemany(
            "INSERT INTO messages (id, conversation_id, parent_id, role, created_at, content) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (row.id, row.conversation_id, row.parent_id, row.role, row.created_at, row.content)
                for row in rows
            ],
        )
        transaction.executemany(
            "UPDATE messages SET model = ?, engine = 'cpu', seed = 1, error = '', sampling = ?, finish_reason = 'stop'"
            " WHERE id = ?",
            [(row.model, _SAMPLING, row.id) for row in replies],
        )
        transaction.executemany(
            "UPDATE conversations SET updated_at = ?, head_id = ? WHERE id = ?",
            [(row.created_at, row.id, row.conversation_id) for row in rows],
        )
