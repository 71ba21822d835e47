"""What `-p` writes to stdout: the text, one JSON object, or a JSON object for each event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TextIO

import msgspec

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import ErrorInfo, GenerationFinished, LoadProgress, TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.text import json_escaped, visible


class Output(Protocol):
    """Called in this order; every method may raise BrokenPipeError."""

    def load(self, progress: LoadProgress) -> None: ...

    def loaded(self, info: EngineInfo) -> None: ...

    def streamed(self, event: TokenEvent | GenerationFinished, text: str) -> None:
        """`text` came with `event`; GenerationFinished brings what was still held back."""
        ...

    def done(self, message: Message, info: EngineInfo, error: ErrorInfo | None) -> None: ...


class TextOutput:
    """The reply's text as it comes, control characters shown (`--output json` has them exactly), and one newline."""

    def __init__(self, stdout: TextIO, is_kept: bool) -> None:
        self._stdout = stdout
        self._last = ""

    def load(self, progress: LoadProgress) -> None:
        """Nothing: stderr tells."""

    def loaded(self, info: EngineInfo) -> None:
        """Nothing: stderr tells."""

    def streamed(self, event: TokenEvent | GenerationFinished, text: str) -> None:
        self._last = text or self._last
        self._stdout.write(visible(text))
        self._stdout.flush()

    def done(self, message: Message, info: EngineInfo, error: ErrorInfo | None) -> None:
        if self._last and not self._last.endswith("\n"):
            self._stdout.write("\n")
            self._stdout.flush()


class JsonOutput:
    """One object, when all is done: see `result`."""

    def __init__(self, stdout: TextIO, is_kept: bool) -> None:
        self._stdout = stdout
        self._is_kept = is_kept

    def load(self, progress: LoadProgress) -> None:
        """Nothing: stderr tells."""

    def loaded(self, info: EngineInfo) -> None:
        """Nothing: its figures are in the result."""

    def streamed(self, event: TokenEvent | GenerationFinished, text: str) -> None:
        """Nothing: the text is in the result."""

    def done(self, message: Message, info: EngineInfo, error: ErrorInfo | None) -> None:
        _write_object(self._stdout, result(message, info, error, self._is_kept))


class JsonLinesOutput:
    """A line for each event, by its key `event`: `load` (last with phase `ready`), `token`, `done` (as `result`)."""

    def __init__(self, stdout: TextIO, is_kept: bool) -> None:
        self._stdout = stdout
        self._is_kept = is_kept

    def load(self, progress: LoadProgress) -> None:
        fields = msgspec.structs.asdict(progress)
        _write_object(self._stdout, {"event": "load", **fields})

    def loaded(self, info: EngineInfo) -> None:
        about = {"model": info.model, "engine": info.label, "context_length": info.context_length}
        _write_object(self._stdout, {"event": "load", "phase": "ready", **about, "load_s": info.load_s})

    def streamed(self, event: TokenEvent | GenerationFinished, text: str) -> None:
        tokens = event if isinstance(event, TokenEvent) else None
        _write_object(
            self._stdout,
            {
                "event": "token",
                "text": text,
                "token_ids": tokens.token_ids if tokens else (),
                "times_s": tokens.times_s if tokens else (),
                "logprobs": tokens.logprobs if tokens else (),
            },
        )

    def done(self, message: Message, info: EngineInfo, error: ErrorInfo | None) -> None:
        _write_object(self._stdout, {"event": "done", **result(message, info, error, self._is_kept)})


OUTPUTS: Final[dict[str, Callable[[TextIO, bool], Output]]] = {
    "text": TextOutput,
    "json": JsonOutput,
    "jsonl": JsonLinesOutput,
}
"""By the value of `--output`; made with stdout and whether the conversation is kept on disk."""


def result(message: Message, info: EngineInfo, error: ErrorInfo | None, is_kept: bool) -> dict[str, Any]:
    """The object that `--output json` prints. `error` is there only if there is one; ids are null if nothing is kept."""
    record = message.reply
    assert record is not None
    stats = record.stats or GenerationStats()
    found: dict[str, Any] = {
        "text": message.content,
        "finish_reason": record.finish_reason,
        "model": record.model,
        "engine": record.engine,
        "seed": record.seed,
        "sampling": msgspec.to_builtins(record.sampling),
        "usage": {
            "prompt_tokens": stats.prompt_tokens,
            "completion_tokens": stats.completion_tokens,
            "cached_tokens": stats.cached_tokens,
            "decode_forwards": stats.decode_forwards,
        },
        "timings": {
            "load_s": info.load_s,
            "ttft_s": stats.ttft_s,
            "prefill_tps": stats.prefill_tps,
            "decode_tps": stats.decode_tps,
            "total_s": stats.total_s,
        },
        "conversation_id": message.conversation_id if is_kept else None,
        "message_id": message.id if is_kept else None,
    }
    if error is not None:
        found["error"] = msgspec.to_builtins(error)
    return found


def _write_object(stdout: TextIO, fields: dict[str, Any]) -> None:
    stdout.write(json_escaped(msgspec.json.encode(fields).decode()) + "\n")
    stdout.flush()
