"""Replies, clocks and files that the storage tests share."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.conversations import ConversationStore

SAMPLING = SamplingParams(
    temperature=0.3, top_k=7, stop=("END", "\n\n"), max_tokens=99, logit_bias={" the": -100.0, "⟨E2 80⟩": 2.5}
)

STATS = GenerationStats(
    prompt_tokens=12,
    completion_tokens=41,
    context_length=8192,
    ttft_s=0.14,
    prefill_tps=1210.0,
    decode_tps=94.2,
)

STARTED = ReplyRecord(model="smollm2", engine="cpu f16", sampling=SAMPLING, seed=2**63 - 1)

FINISHED = ReplyRecord(
    model="smollm2",
    engine="cpu f16",
    sampling=SAMPLING,
    seed=2**63 - 1,
    token_ids=(0, 1, 49_152, 2**32 - 1),
    finish_reason="stop",
    stats=STATS,
)

NOBODY = 65534


class HandClock:
    """Unix time that only the test changes."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def ask(store: ConversationStore, text: str = "Hello?") -> Message:
    """A user message in a conversation of its own."""
    return store.add_user_message(store.create_conversation().id, None, text)


def answer(store: ConversationStore, asked: Message, text: str = "Hello.") -> Message:
    """A complete reply to `asked`."""
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    return store.finish_reply(reply.id, text, "complete", FINISHED)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


@contextmanager
def without_root(folder: Path) -> Iterator[None]:
    """Become the user nobody, who owns `folder` and its files: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    for each in (folder, *folder.iterdir()):
        os.chown(each, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
