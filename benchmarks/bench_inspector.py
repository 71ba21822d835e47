"""The inspector over a reply of 20,000 tokens: CPU time of opening it and of moving its cursor; and how soon a fork continues.

Opening and keys run in the app on a screen of 120x40, with 20 recorded alternatives a token. `open` ends when the reply's first
tokens are on screen and keys act, on the UI's thread; `whole`, of all threads, when all of it is read in the background. The
fork is of the default model at token 500 of a reply, on one thread, without speculation: the time until its first new token,
less that of two decode steps. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import os

# ruff: noqa: E402
# Set before numpy and torch load, which read them for their thread pools.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import asyncio
import random
import statistics
import tempfile
import time
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.bench_recording import PROMPT, loaded_engine
from benchmarks.report import finish
from benchmarks.synthetic_chats import Vocabulary
from tests.ui.chat_app import ChatApp, paths_in
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import ReplyRecord
from ttchat_tui.domain.events import GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.recording import ALTERNATIVES, Cut, Distribution, packed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.storage.opening import open_store
from ttchat_tui.ui.widgets.inspector.token_text import TokenText

TOKENS: Final = 20_000
OPEN_MS: Final = 150
MOVE_MS: Final = 10
FORK_AT: Final = 500
FORK_MS: Final = 20
ROUNDS: Final = 7
MOVES: Final = ("right", "down", "pagedown", "n", "end", "left", "up", "pageup", "N", "home")


def events(chance: random.Random) -> list[TokenEvent]:
    """Words of a vocabulary of 8,000 tokens, with alternatives of falling probability."""
    words = Vocabulary(chance, 8_000).words[:8_000]
    weights = [*accumulate(1 / (rank + 3) for rank in range(len(words)))]
    pieces = [f" {word}".encode() for word in words]
    sent = set[int]()
    found: list[TokenEvent] = []
    for number in range(TOKENS):
        ids = list(dict.fromkeys(chance.choices(range(len(words)), cum_weights=weights, k=2 * ALTERNATIVES)))
        ids = ids[:ALTERNATIVES]
        steps = sorted(-abs(chance.gauss(0, 4)) for _ in ids)[::-1]
        rank = min(int(chance.expovariate(1)), len(ids) - 1)
        token_id = ids[rank] if number % 9 else len(words) - 1  # some are not among the alternatives
        cuts: list[Cut] = ["kept" if at < 8 else "top-p" for at in range(len(ids))]
        new = {*ids, token_id} - sent
        sent |= new
        found.append(
            TokenEvent(
                request_id=1,
                token_ids=(token_id,),
                text=words[token_id],
                times_s=(0.1 + number / 60,),
                logprobs=(steps[rank],),
                distributions=(
                    Distribution(
                        rank=rank,
                        entropy=chance.uniform(0, 5),
                        alternatives=packed(list(zip(ids, steps, cuts, strict=True))),
                    ),
                ),
                pieces={each: pieces[each] for each in new},
            )
        )
    return found


def fill(path: Path) -> int:
    """Write a conversation whose reply is recorded. Returns its id."""
    recorder, text, ids = Recorder(), list[str](), list[int]()
    for event in events(random.Random(5)):
        recorder.add(event)
        text.append(f" {event.text}")
        ids += event.token_ids
    store = open_store(path)
    conversation = store.create_conversation(model="scripted", system_prompt="", sampling=None)
    asked = store.add_user_message(conversation.id, None, "Write for years.")
    record = ReplyRecord(
        model="scripted", engine="fake", sampling=SamplingParams(), seed=1, token_ids=tuple(ids)
    )
    reply = store.begin_reply(conversation.id, asked.id, record)
    store.finish_reply(reply.id, "".join(text), "complete", record, recorder.unwritten())
    store.close()
    return conversation.id


async def on_screen() -> dict[str, float]:
    """CPU milliseconds: of the UI's thread, `whole_ms` of the process."""
    with tempfile.TemporaryDirectory() as folder:
        conversation_id = fill(paths_in(Path(folder)).database)
        chat = ChatApp(Path(folder))  # its engine is not started
        opened: list[float] = []
        whole: list[float] = []
        moved: list[float] = []
        async with chat.app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            chat.screen.open_conversation(conversation_id)
            await pilot.pause()
            for _ in range(ROUNDS):
                start, of_all = time.thread_time(), time.process_time()
                chat.screen.action_inspect()
                # Not pilot.pause, which waits until nothing happens any more.
                while not (texts := chat.app.screen.query(TokenText)) or not texts.first().shown:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                text = texts.first()
                await chat.app.screen.wait_for_refresh()
                assert text.shown < TOKENS
                opened.append((time.thread_time() - start) * 1e3)
                while text.shown < TOKENS:
                    await pilot.pause()
                await pilot.pause()
                whole.append((time.process_time() - of_all) * 1e3)
                for key in MOVES * 2:
                    start = time.thread_time()
                    await pilot.press(key)
                    moved.append((time.thread_time() - start) * 1e3)
                await pilot.press("escape")
        chat.session.close()
        chat.store.close()
    return {
        "open_ms": statistics.median(opened),
        "whole_ms": statistics.median(whole),
        "move_p50_ms": statistics.median(moved),
        "move_p95_ms": statistics.quantiles(moved, n=20)[-1],
    }


class Timed(NamedTuple):
    """Of one reply, in milliseconds of CPU."""

    ids: tuple[int, ...]
    text: str
    first_ms: float
    """From the request to the first token."""
    step_ms: float
    """Of the median decode step."""
    cached: int


def timed_reply(engine: Engine, request: GenerationRequest) -> Timed:
    ids, text, cached = list[int](), "", 0
    times = [time.thread_time()]
    for event in engine.generate(request, GenerationControl(request.sampling)):
        if isinstance(event, GenerationStarted):
            cached = event.cached_tokens
        if isinstance(event, TokenEvent):
            times.append(time.thread_time())
            ids += event.token_ids
            text += event.text
    steps = [(after - before) * 1e3 for before, after in pairwise(times[1:])]
    return Timed(tuple(ids), text, (times[1] - times[0]) * 1e3, statistics.median(steps), cached)


def fork_excess() -> dict[str, float]:
    """What a fork's first new token takes beyond two decode steps, in CPU milliseconds."""
    engine = loaded_engine()
    asked = ChatMessage("user", PROMPT)

    def request(*messages: ChatMessage, written: tuple[int, ...] = (), tokens: int) -> GenerationRequest:
        return GenerationRequest(
            id=1,
            messages=messages,
            sampling=SamplingParams(temperature=0.7, max_tokens=tokens),
            seed=5,
            continue_last=bool(written),
            written_ids=written,
            record="full",
        )

    half = timed_reply(engine, request(asked, tokens=FORK_AT))
    whole = timed_reply(engine, request(asked, tokens=FORK_AT + 12))
    assert half.ids == whole.ids[:FORK_AT]
    said = ChatMessage("assistant", half.text)
    forks = [timed_reply(engine, request(asked, said, written=half.ids, tokens=12)) for _ in range(ROUNDS)]
    assert all(fork.cached >= FORK_AT for fork in forks), "the common prefix is in the cache"
    engine.close()
    return {
        "fork_excess_ms": statistics.median(fork.first_ms - 2 * fork.step_ms for fork in forks),
        "fork_first_ms": statistics.median(fork.first_ms for fork in forks),
        "step_ms": statistics.median(fork.step_ms for fork in forks),
    }


def main() -> None:
    figures = {**asyncio.run(on_screen()), **fork_excess()}
    is_met = (
        figures["open_ms"] < OPEN_MS
        and figures["move_p95_ms"] < MOVE_MS
        and figures["fork_excess_ms"] < FORK_MS
    )
    finish(
        "inspector",
        {"tokens": TOKENS, "is_met": is_met, **figures},
        f"{TOKENS:,} tokens: opens in {figures['open_ms']:.0f} ms of CPU (target < {OPEN_MS}), "
        f"whole after {figures['whole_ms']:.0f}; a key takes {figures['move_p95_ms']:.1f} ms at p95 (target < {MOVE_MS}); "
        f"a fork at token {FORK_AT} continues after two steps and {figures['fork_excess_ms']:.1f} ms (target < {FORK_MS})",
    )
    if not is_met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
