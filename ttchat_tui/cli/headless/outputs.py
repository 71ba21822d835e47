"""Output of `-p` on stdout: the text, one JSON object, or a JSON object per event."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Protocol, TextIO

import msgspec

from ttchat_tui.cli.errors import notify
from ttchat_tui.cli.headless.driver import Replied, TextEvent, write_text
from ttchat_tui.cli.named_tokens import named
from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import LoadProgress, TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import alternatives_of, perplexity_of
from ttchat_tui.domain.text import VisibleReply, json_escaped
from ttchat_tui.domain.thought_stream import AnswerFilter
from ttchat_tui.domain.thoughts import extract_answer, extract_thoughts, find_unopened_end
from ttchat_tui.session.recorder import tokens_of


class Output(Protocol):
    """Called in this order; every method may raise BrokenPipeError."""

    @property
    def hides_thoughts(self) -> bool:
        """Nothing is written while the model thinks."""
        ...

    def load(self, progress: LoadProgress) -> None: ...

    def loaded(self, info: EngineInfo) -> None: ...

    def failed(self, error: ErrorInfo) -> None:
        """Called instead of the methods below: there is no reply."""
        ...

    def streamed(self, event: TextEvent, text: str) -> None:
        """`text` belongs to `event`; the last event brings the text that was held back."""
        ...

    def done(self, message: Message, info: EngineInfo, replied: Replied) -> None:
        """`message` is `replied.message`, which is not None here."""
        ...


class TextOutput:
    """The answer as it streams, with control characters made visible (`--output json` has them exactly), and one newline."""

    def __init__(self, stdout: TextIO, *, has_thoughts: bool = False) -> None:
        """`has_thoughts`: the whole reply, as it streams."""
        self._stdout = stdout
        self.hides_thoughts = not has_thoughts
        self._visible = VisibleReply()
        self._answer = AnswerFilter()
        self._is_noted = False
        self._text = ""
        """What was written."""

    def load(self, progress: LoadProgress) -> None:
        """Nothing: it is on stderr."""

    def loaded(self, info: EngineInfo) -> None:
        """Nothing: it is on stderr."""

    def failed(self, error: ErrorInfo) -> None:
        """Nothing: it is on stderr."""

    def streamed(self, event: TextEvent, text: str) -> None:
        if self.hides_thoughts:
            self._write(self._answer.feed(text))
        else:
            write_text(event, text, self._write)

    def _write(self, text: str) -> None:
        if self._answer.has_given_thought and not self._is_noted:
            self._is_noted = True
            notify("The text above is the model's thinking; its answer follows.")
        self._text += text
        self._stdout.write(self._visible.feed(text))
        self._stdout.flush()

    def done(self, message: Message, info: EngineInfo, replied: Replied) -> None:
        if self.hides_thoughts:
            self._write(self._answer.finish())
        self._stdout.write(self._visible.end())
        if self._text and not self._text.endswith(("\n", "\r")):
            self._stdout.write("\n")
            self._stdout.flush()
        if not self.hides_thoughts and find_unopened_end(self._text):  # too late to print the missing tag
            notify("The text before the first closing tag is the model's thinking, not its answer.")


class CandidatesTextOutput(TextOutput):
    """All candidates after the last has ended, each below a line with its number and seed."""

    def streamed(self, event: TextEvent, text: str) -> None:
        """Nothing: rows stream at the same time and would mix."""

    def done(self, message: Message, info: EngineInfo, replied: Replied) -> None:
        candidates = (message, *replied.siblings)
        for number, candidate in enumerate(candidates, start=1):
            assert candidate.reply is not None
            shown = VisibleReply()
            content = extract_answer(candidate.content) if self.hides_thoughts else candidate.content
            text = (shown.feed(content) + shown.end()).rstrip("\n")
            self._stdout.write(f"[{number}/{len(candidates)}, seed {candidate.reply.seed}]\n{text}\n")
            self._stdout.write("\n" if number < len(candidates) else "")
        self._stdout.flush()


class JsonOutput:
    """One object at the end: see `result`."""

    hides_thoughts = True

    def __init__(self, stdout: TextIO, is_kept: bool) -> None:
        self._stdout = stdout
        self._is_kept = is_kept

    def load(self, progress: LoadProgress) -> None:
        """Nothing: it is on stderr."""

    def loaded(self, info: EngineInfo) -> None:
        """Nothing: its figures are in the result."""

    def failed(self, error: ErrorInfo) -> None:
        _write_object(self._stdout, no_result(error))

    def streamed(self, event: TextEvent, text: str) -> None:
        """Nothing: the text is in the result."""

    def done(self, message: Message, info: EngineInfo, replied: Replied) -> None:
        _write_object(self._stdout, result(message, info, replied, self._is_kept))


class JsonLinesOutput:
    """A line per event with the key `event`: `load` (last with phase `ready`), `token` (with tokens, or text that was held
    back), `done` (as `result`)."""

    hides_thoughts = False

    def __init__(self, stdout: TextIO, is_kept: bool, alternatives: int | None = None) -> None:
        """`alternatives`: how many of them each token comes with; None: tokens are not listed."""
        self._stdout = stdout
        self._is_kept = is_kept
        self._alternatives = alternatives
        self._pieces: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
        """Of each row."""
        self._last_load: tuple[str, int] | None = None

    def load(self, progress: LoadProgress) -> None:
        """A line at the beginning of a phase, and for each tenth of it."""
        step = (progress.phase, 10 * progress.done // progress.total if progress.total else 0)
        if step == self._last_load:
            return
        self._last_load = step
        fields = msgspec.structs.asdict(progress)
        _write_object(self._stdout, {"event": "load", **fields})

    def loaded(self, info: EngineInfo) -> None:
        about = {"model": info.model, "engine": info.label, "context_length": info.context_length}
        _write_object(self._stdout, {"event": "load", "phase": "ready", **about, "load_s": info.load_s})

    def failed(self, error: ErrorInfo) -> None:
        _write_object(self._stdout, {"event": "done", **no_result(error)})

    def streamed(self, event: TextEvent, text: str) -> None:
        tokens = event if isinstance(event, TokenEvent) else None
        if not text and (tokens is None or not tokens.times_s):  # the end of a row
            return
        _write_object(
            self._stdout,
            {
                "event": "token",
                "row": getattr(event, "row", 0),
                "text": text,
                "token_ids": tokens.token_ids if tokens else (),
                "times_s": tokens.times_s if tokens else (),
                "logprobs": tokens.logprobs if tokens else (),
                **self._listed(tokens),
            },
        )

    def _listed(self, event: TokenEvent | None) -> dict[str, Any]:
        """The tokens of an event with their alternatives, if they are asked for."""
        if self._alternatives is None:
            return {}
        if event is None:
            return {"tokens": ()}
        pieces = self._pieces[event.row]
        pieces.update(event.pieces)
        return {
            "tokens": [
                {
                    **named(token.token_id, pieces),
                    "logprob": token.logprob,
                    "rank": token.shown_rank,
                    "entropy": token.entropy,
                    "alternatives": [
                        {**named(each.token_id, pieces), "logprob": each.logprob, "cut": each.cut}
                        for each in alternatives_of(token)[: self._alternatives]
                    ],
                }
                for token in tokens_of(event, pieces)
            ]
        }

    def done(self, message: Message, info: EngineInfo, replied: Replied) -> None:
        _write_object(self._stdout, {"event": "done", **result(message, info, replied, self._is_kept)})


def output_for(
    choice: str,
    stdout: TextIO,
    *,
    is_kept: bool,
    candidates: int,
    alternatives: int | None = None,
    has_thoughts: bool = False,
) -> Output:
    """The output for a value of `--output`. `is_kept`: the conversation is stored on disk. `has_thoughts`: text has the thoughts
    too, as the others have anyway."""
    match choice:
        case "json":
            return JsonOutput(stdout, is_kept)
        case "jsonl":
            return JsonLinesOutput(stdout, is_kept, alternatives)
        case _:
            output = CandidatesTextOutput if candidates > 1 else TextOutput
            return output(stdout, has_thoughts=has_thoughts)


def result(message: Message, info: EngineInfo, replied: Replied, is_kept: bool) -> dict[str, Any]:
    """The object that `--output json` prints. `error` is present only after one; ids are null if nothing is stored.

    The first of several candidates has the fields of a single reply; `candidates` has all of them in order, and `batch`
    their figures together.
    """
    is_kept = is_kept and replied.is_kept
    record = message.reply
    assert record is not None
    stats = record.stats or GenerationStats()
    found: dict[str, Any] = {
        **_text_and_thoughts(message),
        "finish_reason": record.finish_reason,
        "model": record.model,
        "engine": record.engine,
        "seed": record.seed,
        "sampling": msgspec.to_builtins(record.sampling),
        "usage": _usage(stats),
        "timings": {
            "load_s": info.load_s,
            "ttft_s": stats.ttft_s,
            "prefill_tps": stats.prefill_tps,
            **_rates(stats),
        },
        "likelihood": _likelihood(stats),
        "conversation_id": message.conversation_id if is_kept else None,
        "message_id": message.id if is_kept else None,
    }
    if replied.batch is not None:
        found["candidates"] = [
            _candidate(one, one.reply, is_kept) for one in (message, *replied.siblings) if one.reply
        ]
        found["batch"] = {"completion_tokens": replied.batch.completion_tokens, **_rates(replied.batch)}
    if stats.notes:
        found["notes"] = stats.notes
    if replied.error is not None:
        found["error"] = msgspec.to_builtins(replied.error)
    return found


def no_result(error: ErrorInfo) -> dict[str, Any]:
    """The object in place of `result` if there is no reply."""
    return {"text": "", "finish_reason": "error", "error": msgspec.to_builtins(error)}


def _candidate(message: Message, record: ReplyRecord, is_kept: bool) -> dict[str, Any]:
    stats = record.stats or GenerationStats()
    return {
        **_text_and_thoughts(message),
        "finish_reason": record.finish_reason,
        "seed": record.seed,
        "completion_tokens": stats.completion_tokens,
        "likelihood": _likelihood(stats),
        "message_id": message.id if is_kept else None,
    }


def _text_and_thoughts(message: Message) -> dict[str, str]:
    """`thoughts` is present only if there are some."""
    thoughts = extract_thoughts(message.content)
    return {"text": extract_answer(message.content), **({"thoughts": thoughts} if thoughts else {})}


def _usage(stats: GenerationStats) -> dict[str, int | None]:
    return {
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "cached_tokens": stats.cached_tokens,
        "decode_forwards": stats.decode_forwards,
    }


def _likelihood(stats: GenerationStats) -> dict[str, float | None]:
    """How probable the tokens were to their model; null without recorded probabilities."""
    mean = stats.mean_logprob
    return {
        "mean_logprob": mean,
        "perplexity": None if mean is None else perplexity_of(mean),
        "greedy_share": stats.greedy_share,
    }


def _rates(stats: GenerationStats) -> dict[str, float | None]:
    return {"decode_tps": stats.decode_tps, "total_s": stats.total_s}


def _write_object(stdout: TextIO, fields: dict[str, Any]) -> None:
    stdout.write(json_escaped(msgspec.json.encode(fields).decode()) + "\n")
    stdout.flush()
