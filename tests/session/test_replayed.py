"""Whatever a user does to a reply while it runs and afterwards: each version can be made again, and forked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.session.dice_engine import DiceEngine, token
from tests.session.test_chat import Chat
from ttchat_tui.cli.replay.comparison import Replay, replay
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.logit_bias import BAN
from ttchat_tui.domain.recording import alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.session.stored_requests import stored_reply

HOT = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=12, seed=5)
COOL = replace(HOT, temperature=0.2)
END, STOP, MARK = token("<end>"), token("<stop>"), token("<mark>")


class Dice(Chat):
    """A session on a model that throws dice. Each request is paused before its first token."""

    def __init__(self, path: Path, number: int, sampling: SamplingParams = HOT) -> None:
        self.dice, self.number = DiceEngine(number), number
        super().__init__(path, engine=self.dice)
        self.session.set_sampling(sampling)

    def begin(self, action: Callable[[], object]) -> bool:
        """Pause the request that `action` makes. False: it makes none."""
        self.dice.gate.clear()
        try:
            action()
            running = self.session.running
            if running is not None:
                running.control.pause()
        finally:
            self.dice.gate.set()
        if running is not None:
            self.until((GenerationStarted, GenerationFinished))
        return running is not None

    def ask(self, text: str = "hi", rows: int = 1) -> None:  # type: ignore[override]
        self.begin(lambda: self.session.submit(text, rows))

    def step(self) -> bool:
        """One token more. False: the reply has ended."""
        if self.session.is_busy:
            self.session.pausing.step()
            self.until((TokenEvent, GenerationFinished))
        return self.session.is_busy

    def end(self) -> Message:
        """Resume, and wait for the end. The reply on screen."""
        running = self.session.running
        if running is not None:
            running.control.resume()
            self.until(GenerationFinished)
        return self.session.path[-1]

    def choose(self, token_id: int) -> None:
        """In the place of the latest token."""
        running = self.session.running
        assert running is not None
        assert self.session.steering.choose(running.message.id, running.tokens - 1, token_id)

    def fork(self, message_id: int, at: int, token_id: int) -> Message:
        recording = self.session.recordings.of(message_id)
        self.begin(lambda: self.session.forking.fork(message_id, recording, at, token_id))
        return self.end()

    def again(self, message_id: int) -> Replay:
        engine = DiceEngine(self.number)
        return replay(engine, stored_reply(self.store, message_id), lambda _count: None)[0]


@pytest.fixture
def start_dice(tmp_path: Path) -> Iterator[Callable[..., Dice]]:
    chats: list[Dice] = []

    def make(number: int = 1, sampling: SamplingParams = HOT) -> Dice:
        chats.append(Dice(tmp_path / f"{len(chats)}.db", number, sampling))
        return chats[-1]

    yield make
    for chat in chats:
        chat.close()


Start = Callable[..., Dice]


ENDLESS = replace(HOT, logit_bias={"<end>": BAN, "<stop>": BAN})
ENDING = replace(COOL, logit_bias={"<end>": 100.0 - 1, "<stop>": 50.0})


def test_a_change_right_before_the_end_is_recorded_and_ends_the_replay(start_dice: Start) -> None:
    """The token after the change is the end of the turn, which no event of a token has."""
    chat = start_dice(sampling=ENDLESS)
    for steps in range(3):
        chat.session.set_sampling(ENDLESS)
        chat.ask()
        for _ in range(steps):
            chat.step()
        chat.session.set_sampling(ENDING)
        reply = chat.end()
        assert reply.reply is not None
        assert (reply.reply.finish_reason, len(reply.reply.token_ids)) == ("stop", steps)
        assert reply.reply.stats is not None
        assert reply.reply.stats.sampling_changes == 1
        recording = chat.store.recordings.of(reply.id)
        assert [(each.at, each.sampling) for each in recording.changes] == [(steps, ENDING)]
        assert {pause.at for pause in recording.pauses} <= {*range(steps + 1)}
        found = chat.again(reply.id)
        assert (found.tokens, found.difference) == (steps, None)


def test_an_end_that_the_user_chooses_is_recorded_and_chosen_again(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    for steps in (1, 2, 3):
        chat.ask()
        for _ in range(steps):
            chat.step()
        chat.choose(STOP)
        chat.until(GenerationFinished)
        reply = chat.session.path[-1]
        assert reply.reply is not None
        assert (reply.reply.finish_reason, len(reply.reply.token_ids)) == ("stop", steps - 1)
        recording = chat.store.recordings.of(reply.id)
        (*kept, end) = recording.tokens
        assert [each.token_id for each in kept] == list(reply.reply.token_ids)
        assert (end.token_id, end.is_forced, end.is_end) == (STOP, True, True)
        assert recording.piece_of(STOP) == b"<stop>"
        assert end.alternatives
        found = chat.again(reply.id)
        assert (found.tokens, found.difference) == (steps - 1, None)
        # It gives way to a continuation, and to another token in its place.
        other = next(each.token_id for each in alternatives_of(end) if each.token_id not in (STOP, END))
        fork = chat.fork(reply.id, steps - 1, other)
        assert fork.reply is not None
        assert fork.reply.token_ids[:steps] == (*reply.reply.token_ids, other)
        assert len(fork.reply.token_ids) > steps
        assert chat.again(fork.id).difference is None
        chat.session.branching.show(reply)
        chat.begin(chat.session.branching.continue_reply)
        longer = chat.end()
        assert longer.reply is not None
        whole = chat.store.recordings.of(longer.id)
        assert [each.token_id for each in whole.tokens] == list(longer.reply.token_ids)
        assert not any(each.is_end for each in whole.tokens)
        assert chat.again(longer.id).difference is None
