"""The responder over a tokenizer of single bytes and a model that recites one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import normalised
from ttchat_tui.engine.decoding.loop import Stepper
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.text.template import ChatTemplate
from ttchat_tui.engine.text.tokenizer import ChatTokenizer

LINE: Final = "Hé 👩‍👩‍👧 日本, 🙂!"
QUESTION: Final = ChatMessage("user", "Say it.")
TEMPLATE: Final = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CONTROLS: Final = ("<user>", "<assistant>", "<end>")
ALPHABET: Final = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE(vocab={char: n for n, char in enumerate(ALPHABET)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROLS])
    return made


def opaque_tokenizer() -> Tokenizer:
    """A tokenizer whose spelling only its own decoder knows."""
    made = byte_tokenizer()
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip("\0", 0, 0)])
    return made


def id_of(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None
    return found


class ByHeart(Stepper):
    """A stepper that recites `line` after the last `<assistant>`, from where the prompt ends."""

    def __init__(self, tokenizer: Tokenizer, line: str) -> None:
        self._line = [*tokenizer.encode(line).ids, id_of(tokenizer, "<end>")]
        self._assistant = id_of(tokenizer, "<assistant>")
        self.cache: list[int] = []

    def cached_prefix(self, ids: Sequence[int]) -> int:
        pairs = zip(self.cache, ids[:-1], strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self.cache = list(ids)
        report(len(ids), len(ids))
        return self._logits()

    def step(self, token_id: int) -> NDArray[np.float32]:
        self.cache.append(token_id)
        return self._logits()

    def _logits(self) -> NDArray[np.float32]:
        said = self.cache[len(self.cache) - self.cache[::-1].index(self._assistant) :]
        logits = np.zeros(len(ALPHABET) + len(CONTROLS), dtype=np.float32)
        logits[self._line[len(said)]] = 20.0
        return logits


class Talk:
    """One loaded model."""

    cached_tokens = 0
    """Of the last prompt: those that the cache held already."""

    def __init__(self, tokenizer: Tokenizer, line: str = LINE, template: str = TEMPLATE) -> None:
        self.stepper = ByHeart(tokenizer, line)
        self._responder = Responder(
            tokenizer=ChatTokenizer(tokenizer, [id_of(tokenizer, "<end>")]),
            template=ChatTemplate(template, {}, CONTROLS),
            context_length=400,
            stepper=self.stepper,
        )

    def reply(
        self,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        written_ids: tuple[int, ...] = (),
        continue_last: bool = False,
    ) -> tuple[str, tuple[int, ...]]:
        """Its text and ids."""
        sampling = SamplingParams(temperature=0.0, max_tokens=max_tokens)
        request = GenerationRequest(
            id=1,
            messages=tuple(messages),
            sampling=sampling,
            seed=1,
            continue_last=continue_last,
            written_ids=written_ids,
        )
        text, ids = "", ()
        for event in self._responder.generate(request, GenerationControl(sampling)):
            if isinstance(event, GenerationStarted):
                self.cached_tokens = event.cached_tokens
            if isinstance(event, TokenEvent):
                ids += event.token_ids
            if isinstance(event, TokenEvent | GenerationFinished):
                text += event.text
        return text, ids


BYTES: Final = len(LINE.encode())


@pytest.mark.parametrize("make", [byte_tokenizer, opaque_tokenizer])
@pytest.mark.parametrize("is_new", [False, True], ids=["same process", "after a restart"])
@pytest.mark.parametrize("most", range(1, BYTES))
def test_a_reply_cut_inside_a_character_continues_inside_it(
    make: Callable[[], Tokenizer], is_new: bool, most: int
) -> None:
    talk = Talk(make())
    half, ids = talk.reply([QUESTION], most)
    assert len(ids) == most
    assert LINE.startswith(half)
    if not half:
        return
    talk = Talk(make()) if is_new else talk
    rest, rest_ids = talk.reply(
        [QUESTION, ChatMessage("assistant", half)], 100, written_ids=ids, continue_last=True
    )
    assert half + rest == LINE
    assert len(ids) + len(rest_ids) == BYTES


def test_a_reply_with_unknown_or_foreign_ids_is_continued_from_its_text() -> None:
    talk = Talk(byte_tokenizer())
    half, ids = talk.reply([QUESTION], 2)
    assert half == "H"
    unfinished = [QUESTION, ChatMessage("assistant", half)]
    assert talk.reply(unfinished, 100, continue_last=True)[0] == LINE[1:]
    strange = (ids[0] + 1, ids[1])
    assert talk.reply(unfinished, 100, written_ids=strange, continue_last=True)[0] == LINE[1:]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["at its beginning", "inside", "at its end"])
@pytest.mark.parametrize("foreign", [4_000_000_000, "<end>"], ids=["unknown", "ends a turn"])
@pytest.mark.parametrize("continue_last", [False, True])
def test_ids_without_a_text_here_that_another_model_wrote_are_in_no_prompt(
    continue_last: bool, foreign: int | str, at: int
) -> None:
    """A model with a larger vocabulary, or with another end of its turns, has written the same text."""
    tokenizer = byte_tokenizer()
    extra = foreign if isinstance(foreign, int) else id_of(tokenizer, foreign)
    own = tokenizer.encode("H.").ids
    ids = (*own[:at], extra, *own[at:])
    said = ChatMessage("assistant", "H.", token_ids=() if continue_last else ids)
    messages = [QUESTION, said] if continue_last else [QUESTION, said, QUESTION]
    talk, fresh = Talk(tokenizer), Talk(tokenizer)
    talk.reply(messages, 1, written_ids=ids if continue_last else (), continue_last=continue_last)
    plain = [ChatMessage(each.role, each.content) for each in messages]
    fresh.reply(plain, 1, continue_last=continue_last)
    assert talk.stepper.cache == fresh.stepper.cache


THINKS: Final = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
)
"""Opens a thought for each reply, and removes those of earlier ones, as DeepSeek's and Qwen's do."""
THOUGHT: Final = "Well ...\n</think>\nYes."


@pytest.mark.parametrize("most", range(1, len(THOUGHT), 3))
def test_a_reply_with_a_thought_continues_after_its_ids_as_if_it_had_never_ended(most: int) -> None:
    def talk() -> Talk:
        return Talk(byte_tokenizer(), f"<think>\n{THOUGHT}", THINKS)

    whole = talk()
    whole.reply([QUESTION], 100)
    half, ids = talk().reply([QUESTION], most)
    assert half.startswith("<think>\n")
    for stored in (half, normalised(half)):
        again = talk()
        rest, rest_ids = again.reply(
            [QUESTION, ChatMessage("assistant", stored)], 100, written_ids=ids, continue_last=True
        )
        assert again.stepper.cache == whole.stepper.cache, "nothing is between the thought and the rest"
        assert half + rest == f"<think>\n{THOUGHT}"
        assert len(ids) + len(rest_ids) == len(THOUGHT)


def test_half_a_character_is_not_in_the_next_turns_prompt() -> None:
    talk = Talk(byte_tokenizer())
    half, _ = talk.reply([QUESTION], 2)
    talk.reply([QUESTION, ChatMessage("assistant", half), QUESTION], 1)
    next_turn = talk.stepper.cache
    fresh = Talk(byte_tokenizer())
    fresh.reply([QUESTION, ChatMessage("assistant", half), QUESTION], 1)
    assert next_turn == fresh.stepper.cache


def test_a_question_behind_a_conversation_leaves_its_prompt_in_the_cache() -> None:
    talk = Talk(byte_tokenizer())
    said, _ = talk.reply([QUESTION], 9)
    turns = [QUESTION, ChatMessage("assistant", said)]
    talk.reply([*turns, ChatMessage("user", "Name it.")], 9)
    talk.reply([*turns, ChatMessage("user", "Go on.")], 9)
    assert talk.cached_tokens == len(
        byte_tokenizer().encode(f"<user>Say it.<end><assistant>{said}<end><user>").ids
    )


@pytest.mark.parametrize(
    ("end", "begins"),
    [("<assistant><think>\n", "<think>\n"), ("<assistant>", ""), ("<assistant><think>\n\n</think>\n\n", "")],
)
def test_a_thought_that_the_template_opens_is_open_from_the_first_token(end: str, begins: str) -> None:
    template = ChatTemplate(TEMPLATE.replace("<assistant>{% endif %}", end + "{% endif %}"), {}, CONTROLS)
    tokenizer = byte_tokenizer()
    responder = Responder(
        tokenizer=ChatTokenizer(tokenizer, [id_of(tokenizer, "<end>")]),
        template=template,
        context_length=400,
        stepper=Saying(tokenizer, "Hm.\n</think>\n\nYes."),
    )
    request = GenerationRequest(id=1, messages=(QUESTION,), sampling=SamplingParams(temperature=0.0), seed=1)
    events = list(responder.generate(request, GenerationControl(request.sampling)))
    first = next(event for event in events if isinstance(event, TokenEvent))
    assert first.text == begins + "H"
    text = "".join(event.text for event in events if isinstance(event, TokenEvent | GenerationFinished))
    assert text == begins + "Hm.\n</think>\n\nYes."


class Saying(ByHeart):
    """Recites a line, whatever the prompt."""

    def __init__(self, tokenizer: Tokenizer, line: str) -> None:
        super().__init__(tokenizer, line)
        self._said = -1

    def _logits(self) -> NDArray[np.float32]:
        self._said += 1
        logits = np.zeros(len(ALPHABET) + len(CONTROLS), dtype=np.float32)
        logits[self._line[self._said]] = 20.0
        return logits
