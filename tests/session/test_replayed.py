"""Whatever a user does to a reply while it runs and afterwards: each version can be made again, and forked again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from tests.session.dice_engine import TEMPLATE, DiceEngine, token
from tests.session.test_chat import Chat
from tests.size import sized
from ttchat_tui.cli.replay.comparison import Replay, replay
from ttchat_tui.domain.candidates import Variant
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, RowFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl
from ttchat_tui.domain.logit_bias import BAN
from ttchat_tui.domain.recording import alternatives_of
from ttchat_tui.domain.reply_settings import ReplySettings
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import NOTE, Notice
from ttchat_tui.session.stored_requests import NotReplayable, stored_reply
from ttchat_tui.ui.engine_pump import merge_tokens

HOT = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=12, seed=5)
COOL = replace(HOT, temperature=0.2)
END, STOP, MARK = token("<end>"), token("<stop>"), token("<mark>")


class Dice(Chat):
    """A session on a model that throws dice. Each request is paused before its first token."""

    def __init__(
        self, path: Path, number: int, sampling: SamplingParams = HOT, template: str = TEMPLATE
    ) -> None:
        self.dice, self.number = DiceEngine(number, template), number
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
        place = len(self.session.recordings.of(running.message.id).tokens) - 1
        if (
            self.session.steering.choose(running.message.id, place, token_id)
            and self.session.recordings.of(running.message.id).tokens[place].token_id != token_id
        ):
            self.until((TokenEvent, GenerationFinished))

    def fork(self, message_id: int, at: int, token_id: int) -> Message:
        recording = self.session.recordings.of(message_id)
        self.begin(lambda: self.session.forking.fork(message_id, recording, at, token_id))
        return self.end()

    def refused(self, message_id: int, at: int, token_id: int) -> list[Notice]:
        """The reasons for which there is no fork."""
        updates = self.session.forking.fork(message_id, self.session.recordings.of(message_id), at, token_id)
        return [each for each in updates if isinstance(each, Notice)]

    def other(self, message_id: int, at: int) -> int:
        """An alternative that ends nothing."""
        token = self.session.recordings.of(message_id).tokens[at]
        ids = (each.token_id for each in alternatives_of(token))
        return next(each for each in ids if each not in (END, STOP, token.token_id))

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


def test_a_reply_has_the_parameters_that_its_first_token_was_drawn_with(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    chat.ask()
    cooler = replace(ENDLESS, temperature=0.1)
    chat.session.set_sampling(cooler)
    chat.step()
    chat.session.set_sampling(ENDING)
    reply = chat.end()
    assert reply.reply is not None
    assert reply.reply.stats is not None
    assert (reply.reply.sampling, reply.reply.stats.sampling_changes) == (cooler, 1)
    assert [each.at for each in chat.store.recordings.of(reply.id).changes] == [0, 1]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_change_in_the_middle_of_the_first_event_is_not_one_of_the_beginning(
    start_dice: Start, rows: int
) -> None:
    """The screen takes all tokens at once that came since it was drawn."""
    chat = start_dice(sampling=ENDLESS)
    chat.ask(rows=rows)
    running = chat.session.running
    assert running is not None
    running.control.step()
    chat.recorder.until(TokenEvent, row=rows - 1)
    running.control.set_sampling(replace(ENDLESS, temperature=0.1))
    running.control.resume()
    chat.recorder.until(GenerationFinished)
    for event in merge_tokens(chat.recorder.events[chat.applied :]):
        chat.session.apply(event)
    replies = chat.store.children(chat.session.path[-2].id, chat.session.path[-2].conversation_id)
    assert [each.reply.sampling if each.reply else None for each in replies] == [ENDLESS] * rows


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
        assert reply.reply.stats.sampling_changes == min(1, steps)
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
        other = chat.other(reply.id, steps - 1)
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


def lane_with(sampling: SamplingParams) -> Variant:
    return Variant("", 5, ReplySettings(sampling=asdict(sampling)))


def test_a_ban_of_this_reply_reaches_candidates_with_parameters_of_their_own(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    own = [
        replace(ENDLESS, temperature=each, logit_bias={**ENDLESS.logit_bias, "a": -3.0})
        for each in (0.2, 1.5)
    ]
    wanted = [lane_with(each) for each in (ENDLESS, *own)]
    chat.begin(lambda: chat.session.candidates.ask(wanted, "hi"))
    chat.step()
    chat.step()
    for letter in "bcdefghijklmnopqrstuvwxyz":
        assert chat.session.biasing.set(letter, BAN, in_reply=True) is None
    chat.end()
    messages = chat.store.children(chat.session.path[0].id, chat.session.path[0].conversation_id)
    for row, message in enumerate(messages):
        assert message.reply is not None
        ids = message.reply.token_ids
        assert len(ids) == 12
        assert not {*range(1, 26)} & {*ids[2:]}
        if row:
            change = chat.store.recordings.of(message.id).changes[-1]
            assert change.sampling.temperature == own[row - 1].temperature
            assert change.sampling.logit_bias["a"] == -3.0
        assert chat.again(message.id).difference is None


def test_a_token_that_the_user_chose_in_a_batch_is_chosen_again_in_its_row_only(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    chat.ask(rows=3)
    chat.step()
    chat.choose(token(b"z"))
    chat.end()
    first, *others = chat.store.children(chat.session.path[0].id, chat.session.path[0].conversation_id)
    assert first.reply is not None
    assert first.reply.token_ids[0] == token(b"z")
    for message in (first, *others):
        assert chat.again(message.id).difference is None
    # A fork of another row: what is chosen belongs to that row.
    forked, third = others
    assert third.reply is not None
    for at in (1, 2):
        chat.session.branching.show(chat.store.message(forked.id))
        fork = chat.fork(forked.id, at, chat.other(forked.id, at))
        assert chat.again(fork.id).difference is None
        batch, _ = stored_reply(chat.store, fork.id).requests
        assert (batch.row, batch.request.given.row) == (1, 1)
        events = DiceEngine(chat.number).generate(batch.request, GenerationControl(batch.request.sampling))
        ids = [each.token_ids[0] for each in events if isinstance(each, TokenEvent) and each.row == 2]
        assert tuple(ids) == third.reply.token_ids[: at + 1]


def test_a_row_that_was_stopped_is_stopped_again(start_dice: Start) -> None:
    """The scores depend on the rows that are decoded together."""
    chat = start_dice(sampling=ENDLESS)
    for stopped in (0, 1, 2):
        chat.ask(rows=3)
        question = chat.session.path[-2]
        for _ in range(3):
            for row in range(3):
                if not row:
                    chat.session.pausing.step()
                chat.until(TokenEvent, row=row)
        running = chat.session.running
        assert running is not None
        running.control.stop_rows(stopped)
        chat.end()
        replies = chat.store.children(question.id, question.conversation_id)
        assert [len(each.reply.token_ids) for each in replies if each.reply] == [
            3 if row == stopped else 12 for row in range(3)
        ]
        left = tuple(row for row in range(3) if row != stopped)
        for row, reply in enumerate(replies):
            recorded = [(each.at, each.rows) for each in chat.store.recordings.of(reply.id).batches]
            assert recorded == [(1, (0, 1, 2)), *([] if row == stopped else [(3, left)])]
            assert chat.again(reply.id).difference is None


def test_a_fork_behind_control_tokens_and_thoughts_goes_by_ids(start_dice: Start) -> None:
    """They have names in the recording, and other texts or none in the reply."""
    chat = start_dice(sampling=ENDLESS)
    chat.ask()
    for chosen in (
        MARK,
        token("<think>"),
        token(b"a\xe2"),
        token(b"\x80"),
        token(b"\x94"),
        token("</think>"),
        MARK,
    ):
        chat.step()
        chat.choose(chosen)
    reply = chat.end()
    assert reply.content.startswith("<think>\na—\n</think>")
    assert reply.reply is not None
    ids = reply.reply.token_ids
    for at in range(len(ids)):
        chat.session.branching.show(chat.store.message(reply.id))
        other = chat.other(reply.id, at)
        fork = chat.fork(reply.id, at, other)
        assert fork.reply is not None, at
        assert fork.reply.token_ids[: at + 1] == (*ids[:at], other), at
        assert chat.again(fork.id).difference is None


def test_words_in_place_of_half_a_character_replace_the_whole_one(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    chat.ask()
    for chosen in (token(b"b"), token(b"a\xe2"), token(b"\x80"), token(b"\x94"), token(b"c")):
        chat.step()
        chat.choose(chosen)
    reply = chat.end()
    assert reply.content.startswith("ba—c")
    recording = chat.session.recordings.of(reply.id)
    for at in (2, 3):
        chat.session.branching.show(chat.store.message(reply.id))
        chat.begin(lambda at=at: chat.session.forking.rewrite(reply.id, recording, at, "x"))
        written = chat.end()
        assert written.content.startswith("bax")
        found = chat.session.recordings.of(written.id)
        assert [found.text_of(each.token_id) for each in found.tokens[:2]] == [b"b", b"ax"]
        # It can be forked again: before what was typed by ids, behind it by its text.
        assert chat.again(written.id).difference is None
        for place in (0, 4):
            chat.session.branching.show(chat.store.message(written.id))
            other = chat.other(written.id, place)
            fork = chat.fork(written.id, place, other)
            assert fork.reply is not None
            ids = tuple(each.token_id for each in chat.session.recordings.of(fork.id).tokens)
            assert ids[place] == other
            assert (fork.reply.token_ids == ids) is (place == 0)
            assert fork.content != written.content


def drive(chat: Dice, rng: Random) -> None:
    """Do something at each token, until the reply has ended."""
    while chat.session.is_busy:
        act = rng.choice(
            ("none", "none", "cool", "hot", "ban", "choose", "end", "resume", "stop", "short", "stop row")
        )
        running = chat.session.running
        assert running is not None
        if act == "resume":
            chat.end()
        elif act == "stop":
            chat.session.stop()
            chat.until(GenerationFinished)
        elif act == "stop row":
            running.control.stop_rows(rng.randrange(3))
        elif act == "short":
            chat.session.set_sampling(replace(chat.session.sampling, max_tokens=rng.randint(1, 12)))
        elif act in ("cool", "hot"):
            chat.session.set_sampling(
                replace(chat.session.sampling, temperature=0.3 if act == "cool" else 1.4)
            )
        elif act == "ban":
            letter = rng.choice(("a", "b", "<end>", "<mark>"))
            chat.session.biasing.set(letter, BAN, in_reply=rng.random() < 0.5)
        elif act in ("choose", "end"):
            chat.choose(rng.choice((END, STOP) if act == "end" else (MARK, 0, 33, 34, 35)))
        chat.step()


def act_on(chat: Dice, reply: Message, rng: Random) -> None:
    recording = chat.session.recordings.of(reply.id)
    at = rng.randrange(max(1, len(recording.tokens)))
    act = rng.choice(("fork", "rewrite", "continue"))
    if act == "continue" or not recording.tokens:
        chat.session.branching.continue_reply()
    elif act == "rewrite":
        chat.session.forking.rewrite(reply.id, recording, at, "xyz")
    elif listed := alternatives_of(recording.tokens[at]):
        chosen = rng.choice(listed).token_id
        updates = chat.session.forking.fork(reply.id, recording, at, chosen)
        assert not [each for each in updates if isinstance(each, Notice) and each.error.kind != NOTE]


@settings(max_examples=sized(6, 400), deadline=None)
@given(number=st.integers(0, 10**6), rows=st.integers(1, 3), turns=st.integers(0, 4), is_sweep=st.booleans())
@example(number=31, rows=2, turns=3, is_sweep=False)  # A fork begins with half a character.
@example(number=722, rows=2, turns=1, is_sweep=False)  # A continuation is stopped after a token without text.
def test_every_version_that_a_user_makes_can_be_made_again(
    number: int, rows: int, turns: int, is_sweep: bool
) -> None:
    rng = Random(number)
    with TemporaryDirectory() as folder, closing(Dice(Path(folder) / "a.db", number)) as chat:
        if is_sweep:
            wanted = [
                Variant("", 5, ReplySettings(sampling={"temperature": 0.4 * row})) for row in range(rows)
            ]
            chat.begin(lambda: chat.session.candidates.ask(wanted, "hi"))
        else:
            chat.ask(rows=rows)
        drive(chat, rng)
        question = chat.session.path[0]
        for _ in range(turns):
            reply = rng.choice(chat.store.children(question.id, question.conversation_id))
            chat.session.branching.show(reply)
            chat.begin(lambda reply=reply: act_on(chat, reply, rng))
            drive(chat, rng)
        for reply in chat.store.children(question.id, question.conversation_id):
            try:
                assert chat.again(reply.id).difference is None
            except NotReplayable:
                assert reply.is_edited or not chat.session.recordings.of(reply.id).tokens


def test_a_reply_that_is_cut_without_words_goes_by_ids(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    chat.ask()
    reply = chat.end()
    assert reply.reply is not None
    recording = chat.session.recordings.of(reply.id)
    for at in (0, 1, 5):
        chat.session.branching.show(chat.store.message(reply.id))
        chat.begin(lambda at=at: chat.session.forking.rewrite(reply.id, recording, at, ""))
        cut = chat.end()
        assert cut.reply is not None
        ids = [each.token_id for each in chat.session.recordings.of(cut.id).tokens]
        assert tuple(ids) == cut.reply.token_ids
        assert tuple(ids[:at]) == reply.reply.token_ids[:at]
        assert chat.again(cut.id).difference is None


def test_a_reply_is_continued_with_the_parameters_of_now_also_where_they_are_those_of_its_beginning(
    start_dice: Start,
) -> None:
    chat = start_dice(sampling=replace(ENDLESS, max_tokens=4))
    chat.ask()
    chat.step()
    chat.session.set_sampling(replace(ENDLESS, max_tokens=4, temperature=0.1))
    chat.end()
    chat.session.set_sampling(replace(ENDLESS, max_tokens=4))
    chat.begin(chat.session.branching.continue_reply)
    reply = chat.end()
    recording = chat.store.recordings.of(reply.id)
    drawn_with = [recording.sampling_at(at, ENDLESS).temperature for at in (0, 1, 3, 4, 7)]
    assert drawn_with == [1.0, 0.1, 0.1, 1.0, 1.0]
    assert chat.again(reply.id).difference is None


def test_a_continuation_that_is_stopped_at_once_leaves_no_trace(start_dice: Start) -> None:
    chat = start_dice(sampling=replace(ENDLESS, max_tokens=4))
    chat.ask()
    before = chat.end()
    recording = chat.store.recordings.of(before.id)
    chat.session.set_sampling(COOL)
    chat.begin(chat.session.branching.continue_reply)
    chat.session.stop()
    chat.until(GenerationFinished)
    assert chat.session.path[-1].reply == before.reply
    assert chat.store.recordings.of(before.id) == recording


def test_no_token_is_chosen_for_a_row_that_has_ended(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    own = replace(ENDLESS, max_tokens=1)
    wanted = [lane_with(each) for each in (own, ENDLESS)]
    chat.begin(lambda: chat.session.candidates.ask(wanted, "hi"))
    chat.step()
    chat.until(RowFinished, row=0)
    running = chat.session.running
    assert running is not None
    assert running.control.is_paused
    assert not chat.session.steering.can_choose(running.message.id, 0)
    chat.end()


LETTERS = replace(HOT, constraint=Constraint(kind="regex", text="[a-m]{6}"))


def test_what_a_constraint_forbids_is_not_forked_and_what_was_forked_without_it_is_made_again(
    start_dice: Start,
) -> None:
    pytest.importorskip("llguidance")
    chat = start_dice(sampling=LETTERS)
    chat.ask()
    reply = chat.end()
    assert re.fullmatch("[a-m]{6}", reply.content)
    cut = next(
        each.token_id
        for each in alternatives_of(chat.session.recordings.of(reply.id).tokens[2])
        if each.cut == "constraint" and each.token_id not in (END, STOP)
    )
    (notice,) = chat.refused(reply.id, 2, cut)
    assert notice.error.message == "The constraint of this conversation forbids this token."
    assert len(chat.session.tree()) == 2
    assert chat.again(reply.id).difference is None
    # Another constraint: only the engine can say.
    chat.session.set_sampling(replace(LETTERS, constraint=Constraint(kind="regex", text="[n-z]+")))
    fork = chat.fork(reply.id, 2, cut)
    assert (fork.id, len(chat.session.tree())) == (reply.id, 2), "what it replaced is on screen again"
    # Without one the form is left, which the replay of the first request must not refuse.
    chat.session.set_sampling(HOT)
    fork = chat.fork(reply.id, 2, cut)
    assert not re.match("[a-m]{3}", fork.content)
    assert chat.again(fork.id).difference is None
    chat.session.branching.show(chat.store.message(reply.id))
    ended = chat.fork(reply.id, 1, END)
    assert (len(ended.content), chat.again(ended.id).difference) == (1, None)


def test_another_token_can_be_chosen_in_a_reply_of_which_a_part_was_typed(start_dice: Start) -> None:
    chat = start_dice(sampling=ENDLESS)
    chat.ask()
    reply = chat.end()
    recording = chat.session.recordings.of(reply.id)
    chat.begin(lambda: chat.session.forking.rewrite(reply.id, recording, 3, "xyz"))
    chat.step()
    running = chat.session.running
    assert running is not None
    assert not chat.session.steering.can_choose(running.message.id, 3), "it was typed"
    assert chat.session.steering.can_choose(running.message.id, 4)
    chat.choose(token(b"q"))
    written = chat.end()
    tokens = chat.session.recordings.of(written.id).tokens
    assert (tokens[4].token_id, tokens[4].is_forced) == (token(b"q"), True)
    assert chat.again(written.id).difference is None
