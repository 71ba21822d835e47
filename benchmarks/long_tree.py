"""One conversation with 10,000 messages in the app: CPU time of opening its tree and ledger, a dialog over it, and a switch of
its branch. A key that is typed as another conversation opens. And a pasted megabyte."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from textual import events
from textual.pilot import Pilot

from benchmarks.synthetic_chats import Vocabulary
from tests.ui.chat_app import ChatApp, paths_in
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.matching import Matcher
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.database import open_database
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.rows import encoded_ids, encoded_sampling, encoded_stats
from ttchat_tui.ui.screens import elsewhere
from ttchat_tui.ui.screens.tree_list import TreeList

if TYPE_CHECKING:
    from ttchat_tui.ui.screens.ledger import LedgerDialog

TRUNK: Final = 5_000
FORKS: Final = 50
BRANCH: Final = 100
"""Messages: a trunk, and at `FORKS` places of it another branch."""
OPEN_MS: Final = 150
SWITCH_MS: Final = 50
ROUNDS: Final = 20


def fill(path: Path) -> list[int]:
    """Write the conversation, with the trunk on screen. Returns the ids of the branches' first messages."""
    chance = random.Random(3)
    vocabulary = Vocabulary(chance, 4_000)
    prompts, replies = ([vocabulary.text(length) for _ in range(200)] for length in (30, 200))
    samplings = [encoded_sampling(SamplingParams(temperature=heat)) for heat in (0.2, 0.7)]
    stats = encoded_stats(
        GenerationStats(prompt_tokens=500, completion_tokens=250, ttft_s=0.1, decode_tps=40.0)
    )
    ids = encoded_ids(tuple(range(250)))
    rows: list[tuple[object, ...]] = []

    def add(parent: int | None, is_reply: bool) -> int:
        number = len(rows) + 1
        text = chance.choice(replies if is_reply else prompts)
        made = ("llama-3.1-8b-instruct", "cpu", 1, "stop", "", chance.choice(samplings), stats, ids)
        rows.append(
            (
                number,
                parent,
                "assistant" if is_reply else "user",
                1.7e9 + number,
                text,
                *(made if is_reply else (None,) * 8),
            )
        )
        return number

    def grow(parent: int | None, length: int, *, begins_with_reply: bool) -> list[int]:
        grown: list[int] = []
        for place in range(length):
            parent = add(parent, (place + begins_with_reply) % 2 == 1)
            grown.append(parent)
        return grown

    trunk = grow(None, TRUNK, begins_with_reply=False)
    firsts = [
        grow(trunk[place], BRANCH, begins_with_reply=place % 2 == 0)[0]
        for place in sorted(chance.sample(range(1, TRUNK - 1), FORKS))
    ]
    database = open_database(path)
    with database.transaction() as transaction:
        transaction.execute(
            "INSERT INTO conversations (id, created_at, updated_at, title) VALUES (1, 1, 1, 'Years')"
        )
        transaction.executemany(
            "INSERT INTO messages (id, conversation_id, parent_id, role, created_at, content, model, engine, seed,"
            " finish_reason, error, sampling, stats, token_ids) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,  # type: ignore[arg-type]
        )
        transaction.execute("UPDATE conversations SET head_id = ?", (trunk[-1],))
    database.close()
    return firsts


def megabyte() -> str:
    """A pasted text with one hit, near its end."""
    lines = [f"line {number} of what somebody has pasted into a message" for number in range(20_000)]
    lines[19_000] = "the needle"
    return "\n".join(lines)


async def echoes(pilot: Pilot[None], chat: ChatApp) -> list[float]:
    """CPU time of the UI thread from the opening of the conversation, with a key typed at once, to the frame with the key."""
    prompt, display, painted = chat.screen.prompt, chat.app._display, asyncio.Event()

    def noted(*args: Any) -> None:
        display(*args)
        if prompt.text.endswith("x"):
            painted.set()

    setattr(chat.app, "_display", noted)  # noqa: B010
    found: list[float] = []
    for _ in range(ROUNDS):
        prompt.set_draft("")
        chat.screen.action_new()
        await pilot.pause()
        painted.clear()
        start = time.thread_time()
        chat.screen.open_conversation(1)
        chat.app.post_message(events.Key("x", "x"))
        await painted.wait()
        found.append((time.thread_time() - start) * 1e3)
    setattr(chat.app, "_display", display)  # noqa: B010
    prompt.set_draft("")
    return found


def median_and_most(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), max(times)


async def measure() -> dict[str, float]:
    """In ms of CPU of the UI thread, from the key press until everything is drawn, on a screen of 120x40."""
    # What is read between frames once a branch is drawn, in pieces of 3 ms, is not part of a switch.
    setattr(elsewhere, "READ_AFTER_S", 1e6)  # noqa: B010
    with tempfile.TemporaryDirectory() as folder:
        database = paths_in(Path(folder)).database
        open_store(database).close()
        firsts = fill(database)
        chat = ChatApp(Path(folder))  # its engine is not started: without a model nothing counts tokens
        async with chat.app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()

            async def cpu_ms(action: Callable[[], object]) -> float:
                start = time.thread_time()
                action()
                await pilot.pause()
                return (time.thread_time() - start) * 1e3

            opened = await cpu_ms(lambda: chat.screen.open_conversation(1))
            waits = [await cpu_ms(lambda: None) for _ in range(10)]
            trees: list[float] = []
            dialogs: list[float] = []
            closings: list[float] = []
            for _ in range(5):
                for times, action in ((trees, chat.screen.action_tree), (dialogs, chat.screen.action_rename)):
                    times.append(await cpu_ms(action))
                    closings.append(await cpu_ms(chat.app.screen.action_cancel))  # type: ignore[attr-defined]
            chat.session.path.read()  # the ledger needs all of it
            ledgers: list[float] = []
            kept: list[float] = []
            for _ in range(5):
                ledgers.append(await cpu_ms(chat.screen.action_context))
                ledger = cast("LedgerDialog", chat.app.screen)
                ledger.action_move(-40)
                await pilot.pause()
                kept.append(await cpu_ms(partial(ledger.action_mark, "kept")))
                ledger.action_cancel()
                await pilot.pause()
            chat.screen.action_tree()
            await pilot.pause()
            keys = await cpu_ms(lambda: chat.app.screen.query_one(TreeList).action_move(-1))
            await pilot.press("escape")
            end = chat.session.path.ids[-1]
            there: list[float] = []
            back: list[float] = []
            for first in random.Random(1).sample(firsts, ROUNDS):
                there.append(await cpu_ms(partial(chat.screen._jump, first)))
                back.append(await cpu_ms(partial(chat.screen._jump, end)))
            keys_as_it_opens = await echoes(pilot, chat)
            chat.session.new_conversation()
            pasted = chat.store.add_user_message(chat.store.create_conversation().id, None, megabyte())
            megabyte_opened = await cpu_ms(partial(chat.screen.open_conversation, pasted.conversation_id))
            hit = await cpu_ms(partial(chat.screen.transcript.find, Matcher(["needle"])))
        chat.session.close()
        chat.store.close()
    figures = {
        "messages": TRUNK + FORKS * BRANCH,
        "open_conversation_cpu_ms": opened,
        "tree_key_cpu_ms": keys,
        "megabyte_opens_cpu_ms": megabyte_opened,
        "hit_in_a_megabyte_cpu_ms": hit,
    }
    for name, times in (
        ("tree", trees),
        ("the_tests_own_wait", waits),
        ("key_as_it_opens", keys_as_it_opens),
        ("small_dialog", dialogs),
        ("dialog_closes", closings),
        ("ledger", ledgers),
        ("kept_in_the_ledger", kept),
        ("switch_to_branch", there),
        ("switch_to_trunk", back),
    ):
        figures[f"{name}_cpu_ms"], figures[f"{name}_most_cpu_ms"] = median_and_most(times)
    return figures


if __name__ == "__main__":
    print({name: round(value, 1) for name, value in asyncio.run(measure()).items()})
