"""The body of POST /chat/completions in the server's dialect. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.sampling import KeepThoughts, SamplingParams
from ttchat_tui.domain.thoughts import extract_answer
from ttchat_tui.engine.base import UnusableConstraint
from ttchat_tui.engine.served.dialects import Dialect
from ttchat_tui.engine.text.thinking import with_thoughts

_SENT_APART: Final = frozenset({"stop", "seed", "max_tokens", "logit_bias"})
_MOST_STOPS: Final = 4
"""OpenAI's limit of stop strings. The client applies all of them anyway."""


def as_read(
    messages: Sequence[ChatMessage], dialect: Dialect, keep: KeepThoughts, *, continue_last: bool = False
) -> tuple[ChatMessage, ...]:
    """`messages` as the server reads them: as text, without ids; thoughts of earlier replies apart where it can, else left out,
    unless they are to be kept; of a reply to continue, the answer."""
    known = "never" if keep == "auto" and not dialect.thoughts_as else keep
    read = with_thoughts(messages, known)
    found = [
        msgspec.structs.replace(message, token_ids=()) if message.token_ids else message for message in read
    ]
    if continue_last and (answer := extract_answer(found[-1].content)):
        found[-1] = ChatMessage("assistant", answer)
    return tuple(found)


def as_sent(message: ChatMessage | dict[str, Any], dialect: Dialect) -> ChatMessage | dict[str, Any]:
    """`message` with its thoughts under each name that servers of this kind read."""
    if not isinstance(message, ChatMessage) or not message.reasoning_content:
        return message
    thoughts = dict.fromkeys(dialect.thoughts_as, message.reasoning_content)
    return {"role": message.role, "content": message.content, **thoughts}


def constraint_fields(dialect: Dialect, constraint: Constraint) -> dict[str, Any]:
    """The fields that constrain a reply.

    Raises:
        UnusableConstraint: servers of this kind have none for it, or the schema is no JSON.
    """
    match constraint.kind, dialect.json_schema:
        case "json-schema", "json_schema":
            schema = {"name": "reply", "strict": True, "schema": _schema(constraint.text)}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case "json-schema", "json_object":
            return {"response_format": {"type": "json_object", "schema": _schema(constraint.text)}}
        case ("regex" | "grammar") as kind, _ if dialect.structured_outputs:
            return {"structured_outputs": {kind: constraint.text}}
        case "choices", _ if dialect.structured_outputs:
            return {"structured_outputs": {"choice": constraint.choices}}
        case "choices", _ if dialect.gbnf:
            return {"grammar": f"root ::= {' | '.join(map(_gbnf, constraint.choices))}"}
        case _:
            raise UnusableConstraint(
                f"{dialect.name} cannot constrain a reply by {constraint.named}.",
                cure="Take the constraint out (/constrain off), or load the model in-process.",
            )


def _gbnf(text: str) -> str:
    """A text as a literal of llama.cpp's grammars (`grammars/README.md` there)."""
    escaped = re.sub(r'[\x00-\x1f\x7f"\\]', lambda found: f"\\x{ord(found[0]):02X}", text)
    return f'"{escaped}"'


def _schema(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnusableConstraint(f"The json-schema is no JSON: {words}.", "Correct it.", "usage") from error


def body_of(
    dialect: Dialect,
    model: str,
    messages: Sequence[ChatMessage],
    sampling: SamplingParams,
    seed: int,
    *,
    continue_last: bool = False,
    max_tokens: int,
    logprobs: bool = False,
    alternatives: int = 0,
    bias: Mapping[int, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """Build the body. Neutral parameters are sent too: servers have defaults of their own.

    Args:
        max_tokens: the longest reply, in place of `sampling.max_tokens`.
        logprobs: ask for each token's probability, where the dialect has it; `alternatives`: of how many tokens in its place.
        bias: `sampling.logit_bias` in ids.
    """
    body: dict[str, Any] = {"model": model, "messages": list(messages), "stream": True, **dialect.extra}
    values: dict[str, Any] = {
        name: getattr(sampling, name) for name in dialect.fields if name not in _SENT_APART
    }
    values |= {"seed": seed % (1 << dialect.seed_bits), "max_tokens": max_tokens}
    for name, value in values.items():
        if name in dialect.fields:
            body[dialect.fields[name].name] = dialect.fields[name].sent(value)
    if bias and "logit_bias" in dialect.fields:
        body["logit_bias"] = {str(token_id): amount for token_id, amount in bias.items()}
    if sampling.stop and "stop" in dialect.fields:
        body["stop"] = list(sampling.stop[:_MOST_STOPS])
    if dialect.stream_options:
        body["stream_options"] = dict(dialect.stream_options)
    if logprobs and dialect.logprobs:
        body["logprobs"] = True
        if alternatives:
            body["top_logprobs"] = alternatives
    if sampling.constraint is not None:
        body |= constraint_fields(dialect, sampling.constraint)
    body |= dialect.thinking.get(sampling.thinking, {})
    if continue_last:
        body |= dialect.continuing or {}
    return body
