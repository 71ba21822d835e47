"""Teacher forcing on a server that gives the probabilities of a prompt's tokens.

vLLM: `prompt_logprobs` of POST /v1/completions, whose prompt may be token ids (`vllm/entrypoints/openai/completion/protocol.py`),
with POST /tokenize and /detokenize beside `/v1` (`vllm/entrypoints/serve/tokenize/protocol.py`). For each token of the prompt
but the first one, `choices[0].prompt_logprobs` has a mapping of ids, the token's own among them, to `logprob`, `rank` from 1
and `decoded_token`. llama.cpp's server, transformers serve and others give probabilities of what they generate only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.recording import ALTERNATIVES, Distribution, packed
from ttchat_tui.engine.base import PromptTooLong
from ttchat_tui.engine.decoding.scoring_windows import windows
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.errors import protocol_error, status_error
from ttchat_tui.engine.served.loose_json import object_of

_TIMEOUT_S: Final = 600.0
"""Of one request. A server without a card reads a long prompt slowly."""
_BYTES_A_TOKEN: Final = 4096
"""More than the alternatives of a token need in an answer."""
_LEAST_BYTES: Final = 1 << 20
_UNKNOWN_CONTEXT: Final = 2048
_PROBE: Final = "a"


class _Cancelled(Exception):
    """The user cancelled."""


class Following:
    """Follows the tokens of one request."""

    def __init__(
        self, caller: Caller, model: str, context_length: int, control: GenerationControl, received_s: float
    ) -> None:
        """`context_length`: 0 if it is not known. `received_s`: when the request came, by `time.perf_counter`."""
        self._caller = caller
        self._model = model
        self._context_length = context_length or _UNKNOWN_CONTEXT
        self._most = (context_length or sys.maxsize) - 1
        """Tokens of one prompt: the API generates a token after it."""
        self._control = control
        self._received_s = received_s
        self._pieces: dict[int, bytes] = {}
        """Those that are known."""

    def events(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        """`GenerationStarted`, a `TokenEvent` for each given token, `GenerationFinished`.

        Raises:
            EngineError
        """
        followed = 0
        try:
            given = request.given
            if given.text:
                parts, prompt_tokens = self._text(given.text)
            else:
                parts, prompt_tokens = [(given.prompt_ids, given.ids)], len(given.prompt_ids)
            yield GenerationStarted(
                request.id, prompt_tokens, 0, self._context_length, time_s=self._now_s(), is_chunked=True
            )
            for prompt, ids in parts:
                for event in self._follow(request.id, prompt, ids):
                    followed += 1
                    yield event
        except _Cancelled:
            yield GenerationFinished(request.id, "cancelled", GenerationStats())
            return
        stats = GenerationStats(
            completion_tokens=followed, context_length=self._context_length, total_s=self._now_s()
        )
        yield GenerationFinished(request.id, "length", stats)

    def _text(self, text: str) -> tuple[list[tuple[tuple[int, ...], tuple[int, ...]]], int]:
        """The windows of a text, each as the ids before its tokens and those, and the number of its tokens. A text is tokenised
        by the server, which takes the names of control tokens in it for these."""
        ids = self._tokenised(text, has_beginning=False)
        bare, whole = (self._tokenised(_PROBE, has_beginning=each) for each in (False, True))
        places = range(len(whole) - len(bare) + 1)
        begins = next((place for place in places if whole[place : place + len(bare)] == bare), 0)
        beginning = whole[:begins]
        room = self._context_length - len(beginning) - 1  # the server generates a token
        parts = [
            ((*beginning, *ids[each.start : each.first]), ids[each.first : each.end])
            for each in windows(len(ids), room, has_beginning=bool(beginning))
        ]
        return parts if beginning else [((), ids[:1]), *parts], len(ids)

    def _follow(self, request_id: int, prompt: Sequence[int], ids: Sequence[int]) -> Iterator[TokenEvent]:
        """The tokens `ids` after `prompt`. The first one of all has no probability if nothing precedes it, and neither have those for
        which the context has no room beside the token that the server generates: the last one of a reply that filled it.

        Raises:
            PromptTooLong: it has no room for any of `ids`.
        """
        room = self._most - len(prompt)
        if room < 1:
            raise PromptTooLong(
                f"The prompt has {len(prompt):,} tokens, the context of {self._model} holds {self._most + 1:,}.",
                "Use a model or a server with a longer context.",
            )
        ids, beyond = ids[:room], ids[room:]
        if prompt or len(ids) > 1:
            yield from self._seen(request_id, prompt, ids)
        else:
            beyond = [*ids, *beyond]
        for token_id in beyond:
            yield self._token(request_id, token_id, None)

    def _seen(self, request_id: int, prompt: Sequence[int], ids: Sequence[int]) -> Iterator[TokenEvent]:
        body = {
            "model": self._model,
            "prompt": [*prompt, *ids],
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": ALTERNATIVES,
        }
        answer = self._ask(
            self._caller.url("/completions"), body, _BYTES_A_TOKEN * (len(prompt) + len(ids)) + _LEAST_BYTES
        )
        choices = answer.get("choices")
        first = object_of(cast("list[object]", choices)[0]) if isinstance(choices, list) and choices else {}
        listed = first.get("prompt_logprobs")
        if not isinstance(listed, list) or len(cast("list[object]", listed)) != len(prompt) + len(ids):
            raise protocol_error(self._caller.endpoint, "no probabilities of the prompt's tokens")
        for token_id, found in zip(ids, cast("list[object]", listed)[len(prompt) :], strict=True):
            yield self._token(request_id, token_id, found)

    def _token(self, request_id: int, token_id: int, found: object) -> TokenEvent:
        listed = _listed(found)
        new = {each: piece for each, (_, _, piece) in listed.items() if each not in self._pieces}
        self._pieces.update(new)
        if token_id not in self._pieces:
            self._pieces[token_id] = new[token_id] = self._piece_of(token_id)
        own = listed.get(token_id)
        likely = sorted(listed.items(), key=lambda each: each[1][1])[:ALTERNATIVES]
        distribution = own and Distribution(
            own[1], None, packed([(each, logprob, "unknown") for each, (logprob, _, _) in likely])
        )
        return TokenEvent(
            request_id,
            (token_id,),
            self._pieces[token_id].decode("utf-8", "replace"),
            (self._now_s(),),
            logprobs=(own[0] if own else None,),
            distributions=(distribution,),
            pieces=new,
        )

    def _tokenised(self, text: str, *, has_beginning: bool) -> tuple[int, ...]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": has_beginning}
        size = _LEAST_BYTES + 32 * len(text.encode("utf-8", "replace"))
        tokens = self._ask(self._caller.root_url("/tokenize"), body, size).get("tokens")
        if not isinstance(tokens, list) or not all(
            isinstance(each, int) for each in cast("list[object]", tokens)
        ):
            raise protocol_error(self._caller.endpoint, "no tokens of the text")
        return tuple(cast("list[int]", tokens))

    def _piece_of(self, token_id: int) -> bytes:
        body = {"model": self._model, "tokens": [token_id]}
        text = self._ask(self._caller.root_url("/detokenize"), body, _LEAST_BYTES).get("prompt")
        return text.encode("utf-8", "replace") if isinstance(text, str) else b""

    def _ask(self, url: str, body: object, most_bytes: int) -> dict[str, Any]:
        answer = self._caller.ask(url, body, timeout_s=_TIMEOUT_S, tick=self._tick, most_bytes=most_bytes)
        if not answer.is_good:
            raise status_error(
                answer.status,
                answer.body,
                self._caller.endpoint,
                has_key=self._caller.has_key,
                model=self._model,
            )
        return object_of(answer.json())

    def _tick(self) -> None:
        if self._control.is_cancelled:
            raise _Cancelled

    def _now_s(self) -> float:
        return time.perf_counter() - self._received_s


def _listed(found: object) -> dict[int, tuple[float, int, bytes]]:
    """Log-probability, rank from 0 and piece of each listed token."""
    listed: dict[int, tuple[float, int, bytes]] = {}
    for key, each in object_of(found).items():
        fields = object_of(each)
        logprob, rank, text = (fields.get(name) for name in ("logprob", "rank", "decoded_token"))
        if key.isdecimal() and isinstance(logprob, int | float) and isinstance(rank, int):
            piece = text.encode("utf-8", "replace") if isinstance(text, str) else b""
            listed[int(key)] = (float(logprob), rank - 1, piece)
    return listed
