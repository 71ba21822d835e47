"""Servers are recognised, and requests use their dialect."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import UnusableConstraint
from ttchat_tui.engine.served import dialects
from ttchat_tui.engine.served.adaptation import Adaptation
from ttchat_tui.engine.served.dialects import DIALECTS, Dialect, ServerSigns, recognise
from ttchat_tui.engine.served.overflow import Overflow, overflow
from ttchat_tui.engine.served.refusal import parse_refusal
from ttchat_tui.engine.served.reply_assembler import seam_of
from ttchat_tui.engine.served.request import body_of

SAMPLING = SamplingParams(top_k=0, repetition_penalty=1.25, stop=tuple("abcdef"))
MESSAGES = (ChatMessage("user", "Hi"), ChatMessage("assistant", "He"))


@pytest.mark.parametrize(
    ("signs", "dialect"),
    [
        (ServerSigns(owners=frozenset({"vllm"}), has_version=True), dialects.VLLM),
        (ServerSigns(owners=frozenset({"llamacpp"})), dialects.LLAMA_CPP),
        (ServerSigns(owners=frozenset({"me"}), has_props=True), dialects.LLAMA_CPP),
        (ServerSigns(owners=frozenset({"library"}), has_ollama_version=True), dialects.OLLAMA),
        (
            ServerSigns(owners=frozenset({"me"}), openapi_title="🦙 llama.cpp Python API"),
            dialects.LLAMA_CPP_PYTHON,
        ),
        (
            ServerSigns(openapi_paths=frozenset({"/load_model", "/v1/chat/completions"})),
            dialects.TRANSFORMERS,
        ),
        (ServerSigns(has_version=True, openapi_paths=frozenset({"/tokenize"})), dialects.VLLM),
        (ServerSigns(host="api.openai.com"), dialects.OPENAI_ITSELF),
        (ServerSigns(host="elsewhere"), dialects.OPENAI),
    ],
)
def test_a_server_is_recognised_by_its_signs(signs: ServerSigns, dialect: Dialect) -> None:
    assert recognise(signs) is dialect


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_only_fields_of_the_dialect_are_sent(dialect: Dialect) -> None:
    body = body_of(dialect, "m", MESSAGES[:1], SAMPLING, 2**40, max_tokens=7, logprobs=True)
    known = {field.name for field in dialect.fields.values()} | set(dialect.extra)
    known |= {"model", "messages", "stream", "stream_options"} | ({"logprobs"} if dialect.logprobs else set())
    assert set(body) <= known
    assert len(body["stop"]) <= 4
    assert body["seed"] < 2**dialect.seed_bits


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
@given(top_k=st.integers(0, 1000), max_tokens=st.integers(1, 1_048_576), seed=st.integers(0, 2**63 - 1))
def test_whole_numbers_are_sent_as_whole_numbers_with_all_their_digits(
    dialect: Dialect, top_k: int, max_tokens: int, seed: int
) -> None:
    sampling = SamplingParams(top_k=top_k)
    body = body_of(dialect, "m", MESSAGES[:1], sampling, seed, max_tokens=max_tokens)
    sent = msgspec.json.encode(body).replace(b"}", b",")
    fields = dialect.fields
    assert b'"%b":%d,' % (fields["max_tokens"].name.encode(), max_tokens) in sent
    assert b'"seed":%d,' % (seed % 2**dialect.seed_bits) in sent
    if "top_k" in fields:
        assert b'"top_k":%d,' % (fields["top_k"].off if top_k == 0 and fields["top_k"].off else top_k) in sent


def test_each_server_gets_its_own_field_names() -> None:
    def body(dialect: Dialect, *, continue_last: bool = False) -> dict[str, object]:
        return body_of(dialect, "m", MESSAGES, SAMPLING, 1, max_tokens=7, continue_last=continue_last)

    assert body(dialects.VLLM)["top_k"] == -1
    assert body(dialects.LLAMA_CPP)["top_k"] == 0
    assert body(dialects.LLAMA_CPP)["repeat_penalty"] == 1.25
    assert body(dialects.TRANSFORMERS)["frequency_penalty"] == 0.25
    assert "stream_options" not in body(dialects.TRANSFORMERS)
    assert body(dialects.OPENAI_ITSELF)["max_completion_tokens"] == 7
    assert body(dialects.VLLM, continue_last=True)["continue_final_message"] is True
    assert body(dialects.VLLM, continue_last=True)["add_generation_prompt"] is False


def test_a_reply_interrupted_in_its_thoughts_continues_them() -> None:
    texts = ("<think>\nHm", "<think>\nHm\n</think>\n\nYes", "A `<think>` tag", "<think>\nHm\n</think>\n")
    seams = [seam_of(text, is_exact=True) for text in texts]
    assert [seam.is_thinking for seam in seams] == [True, False, False, False]
    assert [seam.is_answering for seam in seams] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (
            (
                "This model's maximum context length is 2048 tokens. However, you requested 2060 tokens "
                "(12 in the messages, 2048 in the completion)."
            ),
            (12, 2048),
        ),
        (
            (
                "'max_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your request "
                "has 12 input tokens (5000 > 4096 - 12)."
            ),
            (12, 4096),
        ),
        ('{"error":{"type":"exceed_context_size_error","n_prompt_tokens":900,"n_ctx":512}}', (900, 512)),
        ("Input is too long for this model", (0, 0)),
        ("The prompt exceeds the context window, which is 4,096 tokens", (0, 4096)),
        ("The prompt exceeds the context window, please shorten it", (0, 0)),
        pytest.param("context size of " + "9" * 40_000, (0, 0), id="no number"),
    ],
)
def test_both_numbers_are_read_from_a_refusal(text: str, numbers: tuple[int, int]) -> None:
    assert overflow(400, text.encode()) == Overflow(*numbers)


def test_other_refusals_are_not_taken_for_a_full_context() -> None:
    assert overflow(400, b"temperature must be non-negative") is None
    assert overflow(401, b"context length") is None


SCHEMA = Constraint("json-schema", '{"type": "integer"}')
CHOICES = Constraint("choices", "yes,no")


@pytest.mark.parametrize(
    ("dialect", "constraint", "field"),
    [
        (dialects.VLLM, SCHEMA, "response_format"),
        (dialects.VLLM, Constraint("regex", "a+"), "structured_outputs"),
        (dialects.VLLM, Constraint("grammar", "start: /a/"), "structured_outputs"),
        (dialects.VLLM, CHOICES, "structured_outputs"),
        (dialects.LLAMA_CPP, CHOICES, "grammar"),
        (dialects.LLAMA_CPP_PYTHON, CHOICES, "grammar"),
        (dialects.OLLAMA, CHOICES, ""),
        (dialects.OPENAI, CHOICES, ""),
        (dialects.LLAMA_CPP, SCHEMA, "response_format"),
        (dialects.LLAMA_CPP_PYTHON, SCHEMA, "response_format"),
        (dialects.OPENAI, SCHEMA, "response_format"),
        (dialects.LLAMA_CPP, Constraint("regex", "a+"), ""),
        (dialects.TRANSFORMERS, SCHEMA, ""),
    ],
)
def test_a_constraint_goes_into_the_servers_own_field_or_is_refused(
    dialect: dialects.Dialect, constraint: Constraint, field: str
) -> None:
    sampling = msgspec.structs.replace(SAMPLING, constraint=constraint)
    assert (constraint.kind in dialect.constraints) is bool(field)
    if not field:
        with pytest.raises(
            UnusableConstraint, match=f"{dialect.name} cannot constrain a reply by {constraint.named}"
        ):
            body_of(dialect, "m", MESSAGES[:1], sampling, 1, max_tokens=7)
        return
    body = body_of(dialect, "m", MESSAGES[:1], sampling, 1, max_tokens=7)
    assert body.keys() - body_of(dialect, "m", MESSAGES[:1], SAMPLING, 1, max_tokens=7).keys() == {field}
    sent = str(body[field])
    assert "integer" in sent or constraint.text in sent or all(each in sent for each in constraint.choices)
    refused = parse_refusal(
        b'{"error": {"message": "Unrecognized request argument: %b", "code": 400}}' % field.encode()
    )
    assert field not in Adaptation().learn_from(body, refused).refused, "it is never left out"


@given(st.lists(st.text(max_size=8).filter(str.strip), min_size=2, max_size=4, unique=True))
def test_choices_are_sent_as_they_are_meant(texts: list[str]) -> None:
    quoted = ",".join('"{}"'.format(each.replace('"', '""')) for each in texts)
    sampling = SamplingParams(constraint=Constraint("choices", quoted))
    vllm, gbnf = (
        body_of(each, "m", MESSAGES[:1], sampling, 1, max_tokens=7)
        for each in (dialects.VLLM, dialects.LLAMA_CPP)
    )
    assert vllm["structured_outputs"] == {"choice": texts}
    grammar = gbnf["grammar"]
    assert grammar.isprintable() or "".join(texts).isprintable() is False
    literals = re.findall(r'"((?:[^"\\]|\\x[0-9A-F]{2})*)"', grammar)
    assert grammar == "root ::= " + " | ".join(f'"{each}"' for each in literals)
    assert [re.sub(r"\\x(..)", lambda code: chr(int(code[1], 16)), each) for each in literals] == texts
