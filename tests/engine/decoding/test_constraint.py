"""Constrained replies of a model that says anything, over a tokenizer of single bytes: they have the form, or were cut off."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders

from tests.engine.decoding.test_responder import (
    ALPHABET,
    CONTROLS,
    QUESTION,
    byte_tokenizer,
    id_of,
)
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import GenerationFinished, RequestAdapted, RowFinished, TokenEvent
from ttchat_tui.domain.generation import (
    END_OF_THOUGHT,
    Candidate,
    Forced,
    GenerationControl,
    GenerationRequest,
    Given,
)
from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.recording import alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding import constraint as constraints
from ttchat_tui.engine.decoding.loop import BatchStepper
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.text.template import ChatTemplate
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.session.recorder import tokens_of

PROMPT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if not loop.last or m.role == 'user' %}<end>{% endif %}{% endfor %}"
TEMPLATE = PROMPT + "{% if add_generation_prompt %}<assistant>{% endif %}"
THINKING = PROMPT + "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
ANYTHING = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=300)


class Babbler(BatchStepper):
    """A model without sense, whose rows do not depend on each other."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._live = 1

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        return self._logits(1)[0]

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self._logits(1)[0]

    def fork(self, rows: int) -> None:
        self._live = rows

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        return self._logits(self._live)

    def freeze(self, row: int) -> None:
        self._live -= 1

    def join(self) -> None:
        self._live = 1

    def _logits(self, rows: int) -> NDArray[np.float32]:
        """Of a vocabulary that is padded, as those of real models are."""
        shape = (rows, len(ALPHABET) + len(CONTROLS) + 5)
        return self._random.normal(0.0, 3.0, shape).astype(np.float32)


def responder(
    template: str = TEMPLATE, *, seed: int = 0, make: Callable[[], Any] = byte_tokenizer
) -> Responder:
    tokenizer, stepper = make(), Babbler(seed)
    chat_tokenizer = ChatTokenizer(tokenizer, [id_of(tokenizer, "<end>")])
    return Responder(
        tokenizer=chat_tokenizer,
        constraint_tokenizer=chat_tokenizer,
        template=ChatTemplate(template, {}, CONTROLS),
        context_length=4000,
        stepper=stepper,
        batch=stepper,
        batch_sizes=(1, 2, 3),
    )


def wordpiece_tokenizer() -> Tokenizer:
    """A tokenizer whose spelling only its own decoder knows."""
    made = byte_tokenizer()
    made.decoder = decoders.WordPiece()
    return made


def events(of: Responder, *messages: ChatMessage, rows: int = 1, **fields: Any) -> list[Any]:
    sampling = msgspec.structs.replace(ANYTHING, **fields)
    request = GenerationRequest(
        id=1,
        messages=messages or (QUESTION,),
        sampling=sampling,
        seed=1,
        record="full",
        candidates=tuple(Candidate(seed=number) for number in range(2, rows + 1)),
        continue_last=bool(messages) and messages[-1].role == "assistant",
    )
    return list(of.generate(request, GenerationControl(sampling)))


def reply(of: Responder, *messages: ChatMessage, **fields: Any) -> tuple[str, GenerationFinished]:
    found = events(of, *messages, **fields)
    assert isinstance(found[-1], GenerationFinished)
    return "".join(each.text for each in found if isinstance(each, TokenEvent)) + found[-1].text, found[-1]


LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 6)),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, st.integers(-50, 50), st.integers(0, 999)),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "string", "pattern": "^[a-c]{2}-[0-9]$"}]),
    st.builds(lambda values: {"enum": values}, st.lists(st.one_of(st.text(max_size=4), st.integers(-(2**53), 2**53), st.none()), min_size=1, max_size=3)),
    st.builds(lambda value: {"const": value}, st.one_of(st.booleans(), st.text(max_size=5))),
)  # fmt: skip


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.builds(
        lambda items, low: {"type": "array", "items": items, "minItems": low, "maxItems": low + 2},
        inner,
        st.integers(0, 2),
    )
    names = st.text('ab"\\é\n', min_size=1, max_size=3)
    objects = st.dictionaries(names, inner, max_size=3).flatmap(
        lambda properties: st.builds(
            lambda required: {
                "type": "object",
                "properties": properties,
                "required": sorted(required),
                "additionalProperties": False,
            },
            st.sets(st.sampled_from(sorted(properties)) if properties else st.nothing()),
        )
    )
    return st.one_of(
        arrays, objects, st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=2))
    )


@settings(max_examples=sized(40, 3000), deadline=None)
@given(st.recursive(LEAVES, nested, max_leaves=6), st.integers(0, 1000), st.sampled_from([0.0, 0.7, 2.0]))
def test_a_reply_is_valid_against_any_schema(schema: dict[str, Any], seed: int, temperature: float) -> None:
    constraint = Constraint("json-schema", json.dumps(schema))
    text, end = reply(responder(seed=seed), constraint=constraint, temperature=temperature)
    assert end.reason in ("stop", "length"), end.error
    if end.reason == "stop":
        jsonschema.validate(json.loads(text), schema)


def test_the_schema_that_everything_is_valid_against_asks_for_json() -> None:
    text, end = reply(responder(seed=3), constraint=Constraint("json-schema", "true"), temperature=0.7)
    assert end.reason in ("stop", "length"), end.error
    assert end.reason == "length" or json.loads(text) is not ...


@settings(max_examples=sized(20, 1000), deadline=None)
@given(st.from_regex(r"[ab]{1,3}(\|[cé]{0,2}[0-9]?)?(x|[yz]{2,4})", fullmatch=True), st.integers(0, 100))
def test_a_reply_matches_the_whole_expression(expression: str, seed: int) -> None:
    text, end = reply(responder(seed=seed), constraint=Constraint("regex", f"({expression})+[0-9]"))
    assert end.reason == "stop"
    assert re.fullmatch(f"({expression})+[0-9]", text)


@settings(max_examples=sized(20, 1000), deadline=None)
@given(
    st.lists(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=5).filter(str.strip), min_size=2, max_size=5, unique=True),
    st.integers(0, 100),
)  # fmt: skip
def test_a_reply_is_exactly_one_of_the_choices(texts: list[str], seed: int) -> None:
    choices = Constraint("choices", ",".join('"{}"'.format(each.replace('"', '""')) for each in texts))
    text, end = reply(responder(seed=seed), constraint=choices)
    assert (end.reason, end.stats.has_form) == ("stop", True), end.error
    assert text in texts


@pytest.mark.parametrize("typed", ["yes,yes sir", "yes sir,yes", "a.c,abc", "a|b,(c"])
def test_each_choice_can_be_drawn_and_nothing_else(typed: str) -> None:
    choices = Constraint("choices", typed)
    drawn = {reply(responder(seed=seed), constraint=choices)[0] for seed in range(40)}
    assert drawn == {*choices.choices}


def test_each_candidate_has_the_form_and_its_recording_names_the_cut() -> None:
    found = events(responder(), rows=3, constraint=Constraint("regex", "(yes|no){1,3}[.]"))
    for row in range(3):
        mine = [each for each in found if isinstance(each, TokenEvent) and each.row == row]
        assert re.fullmatch("(yes|no){1,3}[.]", "".join(each.text for each in mine))
        cuts = [
            [each.cut for each in alternatives_of(token)] for event in mine for token in tokens_of(event, {})
        ]
        assert all("constraint" in cut for cut in cuts)
    assert [each.reason for each in found if isinstance(each, RowFinished)] == ["stop"] * 3


def test_max_tokens_cut_a_reply_off_and_the_reason_says_so() -> None:
    text, end = reply(responder(), constraint=Constraint("regex", "[a]{50}"), max_tokens=7)
    assert (text, end.reason, end.stats.has_form) == ("a" * 7, "length", False)


@pytest.mark.parametrize("expression", ["[a]+", "a{3}[ab]*", "(aa|a){1,50}"])
def test_a_reply_that_could_end_where_it_is_cut_off_has_the_form(expression: str) -> None:
    text, end = reply(responder(), constraint=Constraint("regex", expression), max_tokens=7)
    assert re.fullmatch(expression, text)
    assert (end.reason, end.stats.has_form) == ("length", True) or end.reason == "stop"
    assert reply(responder())[1].stats.has_form is None


def test_a_thought_that_the_template_opens_has_any_form() -> None:
    class Thinker(Babbler):
        said = 0

        def _logits(self, rows: int) -> NDArray[np.float32]:
            logits = super()._logits(rows)
            ids = byte_tokenizer().encode("Hm, 7</think>").ids
            if self.said < len(ids):
                logits[:, ids[self.said]] = 500.0
            self.said += 1
            return logits

    of = responder(THINKING)
    of._stepper = Thinker(1)
    text, end = reply(of, constraint=Constraint("regex", "[0-9]{4}"))
    assert end.reason == "stop"
    assert re.fullmatch(r"<think>\nHm, 7</think>[0-9]{4}", text)


def test_a_thought_that_the_user_ends_is_followed_by_the_form_without_a_note() -> None:
    sampling = msgspec.structs.replace(ANYTHING, constraint=Constraint("regex", "[0-9]{4}"))
    request = GenerationRequest(id=1, messages=(QUESTION,), sampling=sampling, seed=1)
    control = GenerationControl(sampling)
    control.force(Forced(END_OF_THOUGHT))
    found = list(responder(THINKING).generate(request, control))
    assert not [each for each in found if isinstance(each, RequestAdapted)]
    text = "".join(each.text for each in found if isinstance(each, TokenEvent))
    assert re.fullmatch(r"<think>\n</think>[0-9]{4}", text)
    control.force(Forced(id_of(byte_tokenizer(), "a")))
    notes = [each for each in responder().generate(request, control) if isinstance(each, RequestAdapted)]
    assert len(notes) == 1, "a token that the user chooses and that does not fit"


def test_a_choice_that_does_not_fit_is_refused_while_the_reply_is_still_paused() -> None:
    class Chooser(GenerationControl):
        def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
            if self.forced:
                self.resume()
            else:
                self.force(Forced(id_of(byte_tokenizer(), "a"), instead_of=0))
            return super().await_step(forced_taken, was_previewed)

    sampling = msgspec.structs.replace(ANYTHING, constraint=Constraint("regex", "[0-9]{4}"))
    control = Chooser(sampling)
    found = list[Any]()
    request = GenerationRequest(id=1, messages=(QUESTION,), sampling=sampling, seed=1)
    for event in responder().generate(request, control):
        found.append((type(event), control.is_paused))
        if isinstance(event, TokenEvent) and event.token_ids and len(found) == 3:
            control.pause()
    assert found[3] == (RequestAdapted, True), found
    assert [each for each, _ in found].count(TokenEvent) == 4


def test_a_continued_reply_goes_on_within_the_form_or_is_refused() -> None:
    constraint = Constraint("regex", "[0-9]{4}")
    text, end = reply(responder(), QUESTION, ChatMessage("assistant", "12"), constraint=constraint)
    assert (len(text), end.reason) == (2, "stop")
    assert re.fullmatch("[0-9]{2}", text)
    text, end = reply(responder(), QUESTION, ChatMessage("assistant", "twelve"), constraint=constraint)
    assert (text, end.reason) == ("", "error")
    assert end.error is not None
    assert end.error.message == "The reply that is to be continued does not fit the constraint."


def test_a_continued_reply_is_made_again_from_its_ids_within_the_form() -> None:
    constraint = Constraint("regex", "[0-9]{4}")
    begun = ChatMessage("assistant", "12")
    found = events(responder(), QUESTION, begun, constraint=constraint)
    prompt_ids = found[0].prompt_ids
    request = GenerationRequest(
        id=1,
        messages=(begun,),
        sampling=msgspec.structs.replace(ANYTHING, constraint=constraint),
        seed=1,
        continue_last=True,
        written_ids=prompt_ids[-2:],
        given=Given(prompt_ids=prompt_ids),
    )
    again = list(responder().generate(request, GenerationControl(request.sampling)))
    (ids, same) = ([each.token_ids for each in of if isinstance(each, TokenEvent)] for of in (found, again))
    assert len(ids) == 2
    assert ids == same


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (Constraint("regex", "("), "The regex cannot be used: "),
        (Constraint("json-schema", '{"type": "thing"}'), "The json-schema cannot be used: "),
        (Constraint("json-schema", "[1"), "The json-schema cannot be used: "),
        (Constraint("json-schema", "false"), "The json-schema cannot be used: "),
        (Constraint("json-schema", "[1]"), "The json-schema cannot be used: "),
        (
            Constraint("json-schema", '{"not":' * 9_999 + "{}" + "}" * 9_999),
            "The json-schema cannot be used: ",
        ),
        (
            Constraint("json-schema", '{"enum": [9007199254740993]}'),
            "The json-schema cannot be used: the whole number 9007199254740993 is beyond 2^53",
        ),
        (Constraint("grammar", "x: "), "The grammar cannot be used: "),
    ],
)
def test_what_cannot_be_compiled_is_refused_before_the_prompt(constraint: Constraint, message: str) -> None:
    (only,) = events(responder(), constraint=constraint)
    assert only.error.kind == "usage"
    assert only.error.message.startswith(message)
    assert re.fullmatch(r"[^\n]*[^ .^]\.", only.error.message), "one sentence on one line"
    assert (only.error.message[-1], only.error.message[-2] != ".", only.error.cure[-1]) == (".", True, ".")
    sampling = msgspec.structs.replace(ANYTHING, constraint=constraint)
    counted = responder().count(1, [QUESTION], sampling)
    assert counted.constraint_problem == only.error, "known before it is sent"


def test_without_llguidance_or_bytes_a_constraint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    opaque = responder(make=wordpiece_tokenizer)
    assert "constraint" not in opaque.sampling
    assert "install" not in opaque.constraint_cure
    assert responder().constraint_cure == ""
    assert events(opaque, constraint=Constraint("regex", "a"))[-1].error.kind == "constraint"
    assert "constraint" in responder().sampling
    monkeypatch.setattr(constraints.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "llguidance", None)
    assert "constraint" not in responder().sampling
    (only,) = events(responder(), constraint=Constraint("regex", "a"))
    assert only.error.message == constraints.MISSING
    command = install_command("ttchat-tui[constrain]")
    assert only.error.cure == responder().constraint_cure == f"Run: {command} and start ttchat-tui again."


def test_penalties_and_cuts_work_on_what_the_constraint_leaves() -> None:
    tight = {"top_k": 1, "top_p": 0.01, "repetition_penalty": 2.0, "frequency_penalty": 2.0}
    text, end = reply(responder(), constraint=Constraint("regex", "[ab]{9}"), **tight)
    assert (end.reason, len(text), set(text) <= {"a", "b"}) == ("stop", 9, True)


def test_a_token_is_taken_back_and_another_one_takes_its_place() -> None:
    tokenizer = ChatTokenizer(byte_tokenizer(), [id_of(byte_tokenizer(), "<end>")])
    a, b, c, d = (tokenizer.encode_text(letter)[0] for letter in "abcd")
    compiler = constraints.ConstraintCompiler(tokenizer)
    row = compiler.start(Constraint("regex", "ab|ac"), "", "", ())
    row.take(a, "a")
    row.take(b, "b")
    assert row.is_complete
    row.take_back()
    assert not row.is_complete
    assert [row.allows(each) for each in (b, c, d)] == [True, True, False]
    row.take(c, "c")
    assert row.is_complete
    with pytest.raises(constraints.UnusableConstraint):
        row.take(d, "d")


def test_the_end_of_a_thought_is_taken_back() -> None:
    tokenizer = ChatTokenizer(byte_tokenizer(), [id_of(byte_tokenizer(), "<end>")])
    (a,) = tokenizer.encode_text("a")
    row = constraints.ConstraintCompiler(tokenizer).start(Constraint("regex", "b"), "<think>\n", "", ())
    row.take(a, "Hm.</think")
    assert row.allows(a)
    row.take(a, ">")
    assert not row.allows(a)
    row.take_back()
    assert row.allows(a)
    assert row.allowed(300) is None
