"""What each kind of server accepts beyond OpenAI's parameters, as data, and how a server is recognised.

Sources: vLLM `vllm/entrypoints/openai/protocol.py`; llama.cpp `tools/server/README.md`; llama-cpp-python
`llama_cpp/server/types.py`; transformers `cli/serving/chat_completion.py`; Ollama `docs/openai.md`; OpenAI's API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.constraint import ConstraintKind
from ttchat_tui.domain.sampling import Thinking

JsonSchemaField: TypeAlias = Literal["none", "json_schema", "json_object"]
"""json_schema: `response_format` of OpenAI's structured outputs · json_object: the schema in `response_format.schema`."""

Counting: TypeAlias = Literal["none", "vllm", "llama.cpp", "llama-cpp-python"]
"""How the server counts a prompt (see `counting`)."""


class Field(msgspec.Struct, frozen=True):
    """How one sampling parameter is written in a request."""

    name: str
    off: int | None = None
    """Sent in place of 0 if the server has another value for "off"."""
    shift: float | None = None
    """Added to the value; None: the value is sent unchanged, integers as integers."""

    def sent(self, value: float) -> float:
        """The request's value for `value`. An int stays an int: servers in Go refuse 40.0."""
        if value == 0 and self.off is not None:
            return self.off
        return value if self.shift is None else value + self.shift


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of server."""

    name: str
    fields: Mapping[str, Field]
    """`SamplingParams` fields and how they are sent. `stop` is always one: the client applies it too. `logit_bias` needs a
    local tokenizer for the ids."""
    stream_options: Mapping[str, bool] = msgspec.field(default_factory=lambda: {"include_usage": True})
    """Empty: the server refuses the field, or reports usage unasked."""
    extra: Mapping[str, Any] = {}
    """Sent with every request."""
    continuing: Mapping[str, Any] | None = None
    """Sent to continue the last message; None: the server always starts a new one."""
    thinking: Mapping[Thinking, Mapping[str, Any]] = {}
    """What is sent for each value of `SamplingParams.thinking`; the rest cannot be chosen."""
    thoughts_as: tuple[str, ...] = ()
    """Fields of a message for its thoughts, which the template keeps or drops; empty: the server reads none."""
    json_schema: JsonSchemaField = "none"
    """How a reply is constrained by a JSON schema."""
    structured_outputs: bool = False
    """A regular expression, a grammar or choices go into `structured_outputs`."""
    gbnf: bool = False
    """Choices go into `grammar`, in llama.cpp's language for it."""
    seed_bits: int = 63
    logprobs: bool = False
    has_prompt_logprobs: bool = False
    """It gives the probabilities of given tokens (see `following`)."""
    most_rows: int = 1
    """Requests the server runs concurrently; each candidate is a request."""
    counting: Counting = "none"
    is_loading_on_demand: bool = False
    """It accepts models that its list does not name."""

    @property
    def constraints(self) -> frozenset[ConstraintKind]:
        """The kinds for which it has a field."""
        found: set[ConstraintKind] = set()
        if self.json_schema != "none":
            found.add("json-schema")
        if self.structured_outputs:
            found |= {"regex", "grammar"}
        if self.structured_outputs or self.gbnf:
            found.add("choices")
        return frozenset(found)


def _fields(**others: Field) -> dict[str, Field]:
    same = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "max_tokens", "stop")
    return {**{name: Field(name) for name in same}, **others}


_BIAS: Final = {"logit_bias": Field("logit_bias")}
"""Of each server that takes ids as OpenAI's do. Ollama and transformers know none."""


_EFFORTS: Final[tuple[Thinking, ...]] = ("low", "medium", "high")


def _template_arguments(*, has_effort: bool) -> dict[Thinking, Mapping[str, Any]]:
    """The arguments of the chat template; names that it does not know are ignored. `has_effort`: `reasoning_effort` is a
    field of the request, which passes it on."""

    def of(is_on: bool, **more: str) -> Mapping[str, Any]:
        return {"chat_template_kwargs": {"enable_thinking": is_on, "thinking": is_on, **more}}

    found: dict[Thinking, Mapping[str, Any]] = {"off": of(False), "on": of(True)}
    for each in _EFFORTS:
        found[each] = (
            {**of(True), "reasoning_effort": each} if has_effort else of(True, reasoning_effort=each)
        )
    return found


_LLAMA_CPP: Final = _fields(
    top_k=Field("top_k"), min_p=Field("min_p"), repetition_penalty=Field("repeat_penalty"), **_BIAS
)

VLLM: Final = Dialect(
    name="vLLM",
    fields=_fields(
        top_k=Field("top_k", off=-1),
        min_p=Field("min_p"),
        repetition_penalty=Field("repetition_penalty"),
        **_BIAS,
    ),
    # With usage in every chunk, the tokens of each chunk are known.
    stream_options={"include_usage": True, "continuous_usage_stats": True},
    continuing={"continue_final_message": True, "add_generation_prompt": False},
    thinking=_template_arguments(has_effort=True),
    thoughts_as=("reasoning_content", "reasoning"),  # the older name, and the newer one
    json_schema="json_schema",
    structured_outputs=True,
    has_prompt_logprobs=True,
    logprobs=True,
    most_rows=8,
    counting="vllm",
)
LLAMA_CPP: Final = Dialect(
    name="llama.cpp",
    fields=_LLAMA_CPP,
    extra={"return_progress": True},
    continuing={},
    thinking=_template_arguments(has_effort=False),
    thoughts_as=("reasoning_content",),
    json_schema="json_schema",
    gbnf=True,
    seed_bits=32,
    logprobs=True,
    counting="llama.cpp",
)
LLAMA_CPP_PYTHON: Final = Dialect(
    name="llama-cpp-python",
    fields=_LLAMA_CPP,
    stream_options={},
    json_schema="json_object",
    gbnf=True,
    seed_bits=32,
    counting="llama-cpp-python",
)
TRANSFORMERS: Final = Dialect(
    name="transformers serve",
    fields={
        **{name: Field(name) for name in ("temperature", "top_p", "seed", "max_tokens", "stop")},
        # It adds 1 and uses it as CTRL's penalty.
        "repetition_penalty": Field("frequency_penalty", shift=-1.0),
    },
    stream_options={},
    is_loading_on_demand=True,
)
_ONLY_EFFORT: Final[dict[Thinking, Mapping[str, Any]]] = {
    each: {"reasoning_effort": each} for each in _EFFORTS
}
OLLAMA: Final = Dialect(
    name="Ollama",
    fields=_fields(),
    continuing={},
    thinking={"off": {"reasoning_effort": "none"}, **_ONLY_EFFORT},
    json_schema="json_schema",
    seed_bits=32,
)
OPENAI_ITSELF: Final = Dialect(
    name="OpenAI",
    fields=_fields(max_tokens=Field("max_completion_tokens"), **_BIAS),
    thinking=_ONLY_EFFORT,
    json_schema="json_schema",
    most_rows=8,
)
OPENAI: Final = Dialect(
    name="OpenAI-compatible", fields=_fields(**_BIAS), thinking=_ONLY_EFFORT, json_schema="json_schema"
)

DIALECTS: Final = (VLLM, LLAMA_CPP, LLAMA_CPP_PYTHON, TRANSFORMERS, OLLAMA, OPENAI_ITSELF, OPENAI)


class ServerSigns(msgspec.Struct, frozen=True, kw_only=True):
    """What a server reports about itself."""

    host: str = ""
    owners: frozenset[str] = frozenset()
    """`owned_by` of its models."""
    server: str = ""
    """Its `Server` header."""
    has_props: bool = False
    """GET /props gave `default_generation_settings`."""
    has_ollama_version: bool = False
    """GET /api/version gave a `version`."""
    has_version: bool = False
    """GET /version gave a `version`."""
    openapi_title: str = ""
    openapi_paths: frozenset[str] = frozenset()


def recognise(signs: ServerSigns) -> Dialect:
    """The dialect these signs indicate; plain OpenAI if they indicate none."""
    if signs.has_props or signs.server.lower() == "llama.cpp" or "llamacpp" in signs.owners:
        return LLAMA_CPP
    if "vllm" in signs.owners:
        return VLLM
    if signs.has_ollama_version:
        return OLLAMA
    if "llama.cpp python" in signs.openapi_title.lower():
        return LLAMA_CPP_PYTHON
    if {"/load_model", "/v1/chat/completions"} <= signs.openapi_paths:
        return TRANSFORMERS
    if signs.has_version and "/tokenize" in signs.openapi_paths:
        return VLLM  # served under another owner's name, as inference platforms do
    return OPENAI_ITSELF if signs.host == "api.openai.com" else OPENAI
