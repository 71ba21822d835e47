"""79 servers as they were met, and what a reply through each comes to (`data/served.jsonl`: `expect` in words)."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from tests.engine.engine_subject import finished, text
from tests.engine.remote.played_server import CASES, played
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, PrefillProgress
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.remote.remote_engine import RemoteEngine

THOUGHT: Final = "<think>\nThink\n</think>\n\nYes"


class Outcome(msgspec.Struct, frozen=True):
    """What is right for a case."""

    text: str = "Hi"
    reason: FinishReason = "stop"
    note: str = ""
    """In what the app says of the reply; empty: it says nothing."""
    error: str = ""
    """In the error's words; empty: there is none."""
    kind: str = ""
    """Of the error."""
    tokens: tuple[int, int] | None = None
    """Of prompt and reply; None: not told by the server."""
    progress: tuple[tuple[int, int], ...] | None = None
    """Of prefill, as the server told it."""


READ: Final[dict[str, Outcome]] = {
    "ok": Outcome("Hello there"),
    **{
        name: Outcome(THOUGHT)
        for name in ("rc_both", "reasoning_obj", "reasoning_details", "thinking_field", "mistral_think")
    },
    **{
        name: Outcome()
        for name in ("delta_str", "delta_list", "delta_missing_text", "usage_str", "usage_list", "usage_neg")
    },
    **{name: Outcome() for name in ("timings_list", "logprobs_list", "logprobs_old", "object_num")},
    **{name: Outcome() for name in ("error_str_none", "error_msg_empty", "crlf", "comment_as_data", "bom")},
    **{name: Outcome() for name in ("data_empty", "done_lower", "done_json", "json_as_array", "status201")},
    **{name: Outcome() for name in ("chunked_noend", "fin_no_done_hang", "fin_unknown", "slow_comments")},
    **{
        name: Outcome(tokens=(3, 1))
        for name in ("choices_null_usage", "usage_float", "usage_details_list", "usage_cached_neg")
    },
    "fin_cf": Outcome(reason="error", error="content filter", kind="content_filter"),
    "fin_abort": Outcome(reason="error", error="broke the reply off", kind="connection_lost"),
    "refusal": Outcome("I cannot help with that.", note="refusal"),
    "tool_calls": Outcome("", note='wanted to call get_weather with {"city":"Oslo"}; this app runs no tools'),
    "fn_call": Outcome("", note="wanted to call f; this app runs no tools"),
    "audio_images": Outcome("", note="sent an image, which is not shown"),
    "empty_reply": Outcome("", note="empty reply"),
    "only_done": Outcome("", note="empty reply"),
    "final_full_message": Outcome("Hello"),
    "single_nl": Outcome("Hi you"),
    "mid_empty_deltas": Outcome("Hi you"),
    "event_error": Outcome(reason="error", error="failed: boom in the GPU", kind="endpoint_error"),
    "error_bare": Outcome(reason="error", error="failed: CUDA out of memory", kind="endpoint_error"),
    "error_bare_first": Outcome(
        "", reason="error", error="failed: CUDA out of memory", kind="endpoint_error"
    ),
    "br_lie": Outcome("", reason="error", error="with br, which was not asked for", kind="endpoint_protocol"),
    "surrogate": Outcome("😀"),
    "slow_progress": Outcome(progress=tuple((done, 1000) for done in range(0, 1000, 100))),
}
"""Cases of reading what a server sends. All others are of the request: what is sent, where, and what is refused."""


def reply_of(name: str, **options: object) -> list[GenerationEvent]:
    server = played(CASES[name])
    engine = RemoteEngine(environ={})
    try:
        remote = RemoteOptions(
            base_url=server.url, **{"first_token_timeout_s": 0.5, "token_timeout_s": 0.4, **options}
        )
        engine.load(ModelSpec(engine="remote", name="m1", remote=remote), lambda _: None)
        sampling = SamplingParams(temperature=0.7, max_tokens=100)
        request = GenerationRequest(id=1, messages=(ChatMessage("user", "Hello"),), sampling=sampling, seed=1)
        return list(engine.generate(request, GenerationControl(sampling)))
    finally:
        engine.close()
        server.close()


@pytest.mark.parametrize("name", READ)
def test_a_reply_comes_to_what_is_right(name: str) -> None:
    right = READ[name]
    events = reply_of(name)
    last = finished(events)
    assert (text(events), last.reason) == (right.text, right.reason), CASES[name]["expect"]
    words = " ".join(last.stats.notes)
    assert (right.note in words) if right.note else not words
    error = last.error
    assert (error is not None and right.error in error.message and error.kind == right.kind) or (
        error is None and not right.error
    )
    if right.tokens is not None:
        assert (last.stats.prompt_tokens, last.stats.completion_tokens) == right.tokens
    assert last.stats.is_estimate == (right.tokens is None)
    if right.progress is not None:
        told = [(each.done, each.total) for each in events if isinstance(each, PrefillProgress)]
        assert tuple(told[: len(right.progress)]) == right.progress


def test_each_of_the_cases_is_one_of_reading_or_one_of_the_request() -> None:
    assert len(CASES) == 79
    assert set(READ) <= set(CASES)
