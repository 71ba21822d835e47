"""A conversation that is opened again has the prompt that it had: a reply is read as the tokens that the model wrote."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.session.dice_engine import TEMPLATE, DiceEngine
from tests.session.test_replayed import COOL, ENDING, ENDLESS, HOT, Dice
from tests.size import sized
from ttchat_tui.cli.replay.comparison import replay
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, PromptCounted
from ttchat_tui.domain.updates import PromptCost
from ttchat_tui.session.stored_requests import stored_reply

_ROLE: Final = "<turn>{{ message.role }}\n"
_ANSWER: Final = (
    "{% set said = message.content %}{% if '</think>' in said %}"
    "{% set said = said.split('</think>')[-1].lstrip() %}{% endif %}{{ said }}<end>\n"
)
_ALL: Final = "{% for message in messages %}"
_THEN: Final = "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n"
TEMPLATES: Final = {
    "bare": TEMPLATE,
    "trimmed": TEMPLATE.replace("message.content", "message.content | trim"),
    "with roles": f"{_ALL}{_ROLE}{{{{ message.content }}}}<end>\n{_THEN}{{% endif %}}",
    "without thoughts": f"{_ALL}{_ROLE}{_ANSWER}{_THEN}{{% endif %}}",
    "opens thoughts": f"{_ALL}{_ROLE}{_ANSWER}{_THEN}<think>\n{{% endif %}}",
}
WORDS: Final = ("hi", "  a b ", "x\n", "<think>y</think>", "a\u2014")


def talk(chat: Dice, random: Random) -> None:
    """Replies that end by themselves, are stopped after some tokens, and are continued, alone or as one of three."""
    for _ in range(random.randint(1, 3)):
        chat.session.set_sampling(random.choice((HOT, COOL)))
        chat.ask(random.choice(WORDS))
        for _ in range(random.randint(0, 8)):
            chat.step()
        if random.random() < 0.3 and chat.session.is_busy:
            chat.session.stop()
            chat.until(GenerationFinished)
        chat.end()
        if random.random() < 0.4 and chat.begin(chat.session.branching.continue_reply):
            chat.end()
        if random.random() < 0.2 and chat.begin(chat.session.branching.regenerate):
            chat.end()


def counted(chat: Dice) -> tuple[int, tuple[int, ...]]:
    """The tokens of the next prompt, and those of each message in the ledger."""
    chat.session.context.count("")
    (cost,) = (each for each in chat.until(PromptCounted) if isinstance(each, PromptCost))
    return cost.prompt_tokens, tuple(row.tokens or 0 for row in chat.session.context.ledger().rows)


@settings(max_examples=sized(40, 1_500), deadline=None)
@given(st.sampled_from(list(TEMPLATES)), st.integers(0, 10_000))
@example("with roles", 14)
@example("trimmed", 17)
def test_the_context_is_the_same_live_and_after_the_conversation_is_opened_again(
    template: str, number: int
) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "conversations.db"
        with closing(Dice(file, number, template=TEMPLATES[template])) as chat:
            talk(chat, Random(number))
            live = counted(chat)
            conversation_id = chat.session.path[-1].conversation_id
            chat.session.new_conversation()
            chat.ask("another one, which the engine remembers in its place")
            chat.end()
            chat.session.open(conversation_id)
            assert counted(chat) == live
        with closing(Dice(file, number, template=TEMPLATES[template])) as again:
            again.session.open(conversation_id)
            assert counted(again) == live


def test_a_reply_that_is_continued_from_nothing_is_made_again(tmp_path: Path) -> None:
    """Its first prompt is replaced by the second one, which begins otherwise where the template opens a thought."""
    template = TEMPLATES["opens thoughts"]
    with closing(Dice(tmp_path / "conversations.db", 1, ENDLESS, template)) as chat:
        chat.ask()
        chat.end()
        chat.session.set_sampling(ENDING)
        chat.ask()
        reply = chat.end()
        assert reply.reply is not None
        assert not reply.reply.token_ids
        chat.session.set_sampling(ENDLESS)
        chat.begin(chat.session.branching.continue_reply)
        reply = chat.end()
        assert reply.reply is not None
        assert reply.reply.token_ids
        stored = stored_reply(chat.store, reply.id)
        assert (
            stored.requests[0].request.given.prompt_ids == chat.recorder.of(GenerationStarted)[-1].prompt_ids
        )
        assert replay(DiceEngine(1, template), stored, lambda _count: None)[0].difference is None
