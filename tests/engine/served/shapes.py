"""Recorded answers of five kinds of server: those that identify them, and their streams.

Recorded shapes, not code of theirs: field names, their order and what is null matter, the text is made up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MODEL: Final = "toy/parrot-1b"
CONTEXT: Final = 256
VOCAB: Final = 65_536
PARAMETERS: Final = 134_515_008


@dataclass(frozen=True)
class ResponseShape:
    """One kind of server."""

    name: str
    owned_by: str
    headers: dict[str, str] = field(default_factory=dict)
    pages: dict[str, Any] = field(default_factory=dict)
    """What a GET is answered with, besides `/v1/models`."""
    model_fields: dict[str, Any] = field(default_factory=dict)
    """Besides id, object, created and owned_by."""
    chunk_fields: dict[str, Any] = field(default_factory=dict)
    choice_fields: dict[str, Any] = field(default_factory=dict)
    line_end: str = "\n"
    first_delta: dict[str, Any] | None = None
    """The delta that opens the stream; None: the role comes with the first text."""
    last_delta: dict[str, Any] = field(default_factory=dict)
    role_everywhere: bool = False
    usage: Literal["chunk", "with finish", "none"] = "chunk"
    """`chunk`: in one of its own, when `stream_options` ask for it; `with finish`: unasked."""
    has_done: bool = True
    comment: str = ""
    """A keep-alive that this server sends on a quiet line."""
    reasoning_field: str = "reasoning_content"
    tokenizes: Literal["", "messages", "prompt"] = ""
    """What `/tokenize` takes."""

    def models(self) -> dict[str, Any]:
        """The answer to `GET /v1/models`."""
        model = {"id": MODEL, "object": "model", "created": 1_760_000_000, "owned_by": self.owned_by}
        return {"object": "list", "data": [model | self.model_fields]}

    def event(self, data: object) -> bytes:
        """One server-sent event."""
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return f"data: {text}{self.line_end * 2}".encode()

    def chunk(self, delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
        """One `chat.completion.chunk`; no delta: no choices (a chunk of figures only)."""
        choice = {"index": 0, "delta": delta} | self.choice_fields | {"finish_reason": finish}
        head = {
            "id": "chatcmpl-7f",
            "object": "chat.completion.chunk",
            "created": 1_760_000_000,
            "model": MODEL,
        }
        return self.event(head | {"choices": [] if delta is None else [choice]} | self.chunk_fields | more)

    def delta(self, text: str) -> bytes:
        """A piece of the reply."""
        return self.chunk(({"role": "assistant"} if self.role_everywhere else {}) | {"content": text})

    def opening(self) -> list[bytes]:
        return [] if self.first_delta is None else [self.chunk(self.first_delta)]

    def ending(self, finish: str, usage: dict[str, Any] | None) -> list[bytes]:
        """The last chunks: finish reason, usage, `[DONE]`, if this server sends them."""
        with_finish = {"usage": usage} if usage and self.usage == "with finish" else {}
        end = [self.chunk(self.last_delta, finish, **with_finish)]
        if usage and self.usage == "chunk":
            end.append(self.chunk(None, usage=usage))
        return [*end, self.event("[DONE]")] if self.has_done else end


VLLM = ResponseShape(
    "vllm",
    owned_by="vllm",
    headers={"server": "uvicorn"},
    pages={"/version": {"version": "0.11.0"}, "/health": ""},
    model_fields={"root": MODEL, "parent": None, "max_model_len": CONTEXT, "permission": []},
    choice_fields={"logprobs": None},
    first_delta={"role": "assistant", "content": ""},
    last_delta={"content": ""},
    reasoning_field="reasoning",
    tokenizes="messages",
)
LLAMA_CPP = ResponseShape(
    "llama.cpp",
    owned_by="llamacpp",
    headers={"Server": "llama.cpp"},
    pages={
        "/props": {
            "default_generation_settings": {"id": 0, "n_ctx": CONTEXT, "params": {"temperature": 0.8}},
            "total_slots": 4,
            "model_path": "/models/parrot.gguf",
            "chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}",
            "build_info": "b6600-da30ab5f8",
        },
        "/health": {"status": "ok"},
    },
    model_fields={
        "meta": {
            "vocab_type": 2,
            "n_vocab": VOCAB,
            "n_ctx_train": 8192,
            "n_embd": 576,
            "n_params": PARAMETERS,
            "size": 98_000_000,
        }
    },
    chunk_fields={"system_fingerprint": "b6600-da30ab5f8"},
    first_delta={"role": "assistant", "content": None},
    tokenizes="prompt",
)
LLAMA_CPP_PYTHON = ResponseShape(
    "llama-cpp-python",
    owned_by="me",
    headers={"server": "uvicorn"},
    pages={
        "/openapi.json": {
            "openapi": "3.1.0",
            "info": {"title": "🦙 llama.cpp Python API", "version": "0.3.36"},
            "paths": {"/v1/chat/completions": {}, "/v1/models": {}, "/extras/tokenize/count": {}},
        }
    },
    model_fields={"permissions": []},
    choice_fields={"logprobs": None},
    line_end="\r\n",
    first_delta={"role": "assistant"},
    usage="none",
    comment=": ping - 2025-10-09 08:53:20.000000+00:00",
)
TRANSFORMERS = ResponseShape(
    "transformers",
    owned_by="toy",
    headers={"server": "uvicorn"},
    pages={
        "/health": {"status": "ok"},
        "/openapi.json": {
            "openapi": "3.1.0",
            "info": {"title": "FastAPI", "version": "0.1.0"},
            "paths": {"/load_model": {}, "/v1/chat/completions": {}, "/v1/models": {}, "/health": {}},
        },
    },
    chunk_fields={"system_fingerprint": ""},
    first_delta={"role": "assistant"},
    usage="with finish",
    has_done=False,
)
OLLAMA = ResponseShape(
    "ollama",
    owned_by="library",
    pages={"/api/version": {"version": "0.12.3"}, "/": "Ollama is running"},
    chunk_fields={"system_fingerprint": "fp_ollama"},
    role_everywhere=True,
    last_delta={"role": "assistant", "content": ""},
    reasoning_field="reasoning",
)
OPENAI = ResponseShape(
    "openai",
    owned_by="system",
    chunk_fields={"service_tier": "default", "system_fingerprint": "fp_50cad350e4", "obfuscation": "x7Qk"},
    choice_fields={"logprobs": None},
    first_delta={"role": "assistant", "content": "", "refusal": None},
)
SHAPES: Final = (VLLM, LLAMA_CPP, LLAMA_CPP_PYTHON, TRANSFORMERS, OLLAMA, OPENAI)


def context_exceeded(shape: ResponseShape, asked: int) -> dict[str, Any]:
    """Each server's error for a prompt of `asked` tokens that is too long."""
    if shape is LLAMA_CPP:
        message = f"request ({asked} tokens) exceeds the available context size ({CONTEXT} tokens), try increasing it"
        figures = {"n_prompt_tokens": asked, "n_ctx": CONTEXT}
        return {"error": {"code": 400, "message": message, "type": "exceed_context_size_error"} | figures}
    message = (
        f"This model's maximum context length is {CONTEXT} tokens. However, you requested {asked} tokens in the "
        "messages. Please reduce the length of the messages."
    )
    code = 400 if shape is VLLM else "context_length_exceeded"
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": code}}
