"""Servers as they were met, and what a reply through each comes to: `data/served.jsonl` and `data/more_servers.jsonl`.

A case's `expect` is read by a machine where its words allow that (`expected`); for all other names it describes what to look
for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
import pytest

from tests.engine.engine_subject import finished, text
from tests.engine.served.played_server import CASES, MORE, PACE, played, refusing
from tests.engine.served.raw_server import DONE, Handler, Heard, answer, end, in_turn, said, sends, stream
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import GenerationEvent, PrefillProgress, RequestAdapted, Retrying
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served.engine import ServedEngine

Requests: TypeAlias = Callable[[Any], bool]
Check: TypeAlias = "Callable[[Played], None]"
REFUSED: Final = re.compile(r"status (\d+) and error\.message: (.*)")


class Played(msgspec.Struct):
    """The result of a case."""

    info: EngineInfo | None = None
    replies: list[list[GenerationEvent]] = []
    error: ErrorInfo | None = None
    """Of the load or the last reply."""
    chats: list[Heard] = []

    @property
    def text(self) -> str:
        return text(self.replies[-1]) if self.replies else ""

    @property
    def words(self) -> str:
        """All messages beside the text."""
        events = [event for reply in self.replies for event in reply]
        notes = [note for event in events if isinstance(event, RequestAdapted) for note in event.notes]
        notes += finished(events).stats.notes if events else ()
        error = (self.error.message, self.error.cure) if self.error else ()
        return "\n".join((*notes, *error))


class RefusalCase(msgspec.Struct, frozen=True):
    """A server that refuses a part of a request, and a check of the request that it accepts."""

    is_refused: Requests
    is_right: Requests


REFUSALS: Final[dict[str, RefusalCase]] = {
    "p_max_tokens": RefusalCase(
        lambda sent: "max_tokens" in sent, lambda sent: sent["max_completion_tokens"] == 100
    ),
    "p_temperature": RefusalCase(lambda sent: "temperature" in sent, lambda sent: "top_p" in sent),
    "p_top_p": RefusalCase(lambda sent: "top_p" in sent, lambda sent: "temperature" in sent),
    "p_stop": RefusalCase(lambda sent: "stop" in sent, lambda sent: "temperature" in sent),
    "p_extra_penalties_422": RefusalCase(
        lambda sent: "presence_penalty" in sent or "frequency_penalty" in sent,
        lambda sent: {"temperature", "top_p", "max_tokens"} <= set(sent),
    ),
    "p_both_temp_topp": RefusalCase(
        lambda sent: {"temperature", "top_p"} <= set(sent), lambda sent: "temperature" in sent
    ),
    "p_system": RefusalCase(
        lambda sent: sent["messages"][0]["role"] == "system",
        lambda sent: sent["messages"] == [{"role": "user", "content": "Be brief.\n\nHello"}],
    ),
    "p_nostream": RefusalCase(lambda sent: sent["stream"], lambda sent: "stream_options" not in sent),
    "p_max_tokens_big": RefusalCase(
        lambda sent: sent.get("max_tokens", 0) > 4096, lambda sent: sent["max_tokens"] == 4096
    ),
}
GREETING: Final = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello"))
LONG: Final = (
    *(ChatMessage(role, "word " * 400) for _ in range(6) for role in ("user", "assistant")),
    ChatMessage("user", "Hello"),
)


SLOW: Final = ("slow_comments", "slow_progress", "mid_empty_deltas")
"""Cases that send a sign of life more often than the time-outs, and take longer than them in all."""


def chat_of(name: str, routes: dict[str, Any]) -> Handler | None:
    """The answer to chat requests that `routes` do not cover."""
    hi = stream(said("Hi"), end("stop"), DONE)
    if name in REFUSALS:
        found = REFUSED.search(CASES[name]["note"])
        assert found is not None
        return refusing(int(found[1]), found[2], REFUSALS[name].is_refused)
    if name == "s500_once":
        return in_turn(sends(answer(500, "oops")), hi)
    if name.startswith("ctx_"):
        refusal = "".join(piece["send"] for piece in routes.pop("/v1/chat/completions"))
        return in_turn(sends(refusal.encode("latin-1")), hi)
    return None


def play(name: str) -> Played:
    """Load from the case's server and request a reply, or two if the first one teaches something."""
    routes, is_slow = dict((CASES | MORE)[name]["routes"]), name in SLOW
    server = played(routes, chat_of(name, routes), pace=0.4 if is_slow else PACE)
    engine, result = ServedEngine(environ={}), Played()
    path = "" if name in ("no_v1", "api_v1") else "/v1"
    remote = RemoteOptions(base_url=server.url.removesuffix("/v1") + path)
    if is_slow:
        remote = msgspec.structs.replace(remote, first_token_timeout_s=1.5, token_timeout_s=1.5)
    is_long = name.startswith("ctx_")
    sampling = SamplingParams(
        temperature=0.7,
        max_tokens=100_000 if name == "p_max_tokens_big" else 500 if is_long else 100,
        stop=("END",) if name.startswith("p_") else (),
    )
    try:
        model = "" if name.startswith("m_") else "m1"
        result.info = engine.load(ModelSpec(engine="remote", name=model, options=remote), lambda _: None)
        for number in range(2 if name.startswith(("p_", "r301")) else 1):
            request = GenerationRequest(
                id=number, messages=LONG if is_long else GREETING, sampling=sampling, seed=1
            )
            result.replies.append(list(engine.generate(request, GenerationControl(sampling))))
            result.error = finished(result.replies[-1]).error
    except EngineError as error:
        result.error = error.info
    finally:
        engine.close()
        server.close()
    result.chats = server.chats
    return result


def expected(words: str) -> Check:
    """Read `text Hi, reason stop, 3 and 1 tokens`, `thinking …, then Yes`, `failed: …`, `words: …`, `a note: …`, `model m1`,
    `context 4096`, `asked 2 times`."""
    said = re.search(r"\btext (?:'([^']*)'|([^\s,;]+))", words)
    thought = re.search(r"thinking\b.* then (\w+)\Z", words)
    reported = re.search(r"\b(failed|words|a note): (.*)\Z", words, re.DOTALL)
    counted = re.search(r"(\d+) and (\d+) tokens", words)
    model, context, asked = (
        re.search(pattern, words)
        for pattern in (r"\bmodel ([^\s,]+)", r"\bcontext (\d+)", r"\basked (\d+) times")
    )
    assert said or thought or reported or model or context, f"not to be read by a machine: {words!r}"

    def check(played: Played) -> None:
        right = said[1] or said[2] if said else f"<think>\nThink\n</think>\n\n{thought[1]}" if thought else ""
        if said or thought or reported:
            assert played.text == right, words
        assert (played.error is not None) == bool(reported and reported[1] != "a note"), played.error
        assert (reported[2] if reported else "") in played.words
        if reported and reported[1] == "failed":
            assert f"failed: {reported[2]}" in played.words
        if not reported:
            assert not played.words
        if played.replies and not played.error:
            last = finished(played.replies[-1])
            reason = re.search(r"\breason (\w+)", words)
            assert last.reason == (reason[1] if reason else "stop")
            assert last.stats.is_estimate or "absent" not in words
            if counted:
                tokens = (last.stats.prompt_tokens, last.stats.completion_tokens)
                assert tokens == (int(counted[1]), int(counted[2]))
        info = played.info
        assert model is None or (info is not None and info.model == model[1])
        assert context is None or (info is not None and info.context_length == int(context[1]))
        assert asked is None or len(played.chats) == int(asked[1])

    return check


def notes(note: str, said: str = "") -> Check:
    """A reply that ends well, with a note."""

    def check(played: Played) -> None:
        assert (played.text, played.error) == (said, None)
        assert note in played.words

    return check


def fails(kind: str, *words: str, said: str = "", asked: int = 1) -> Check:
    """An error of this kind, with these words; what came is kept."""

    def check(played: Played) -> None:
        assert played.text == said
        assert played.error is not None
        assert played.error.kind == kind
        assert all(word in played.words for word in words), played.words
        assert len(played.chats) == asked

    return check


def sent_again(name: str) -> Check:
    """What a server has refused is not sent again for this model, and is reported once."""

    def check(played: Played) -> None:
        refusal = REFUSALS[name]
        first, *_, last_but_one, last = [heard.json for heard in played.chats]
        assert played.text == "Hi"
        assert refusal.is_refused(first)
        assert not refusal.is_refused(last)
        assert refusal.is_right(last)
        assert last == last_but_one, "it is remembered"
        adapted = [event for reply in played.replies for event in reply if isinstance(event, RequestAdapted)]
        reported = [note for event in adapted for note in event.notes]
        assert len(reported) == len(set(reported)), "it is said once"
        if name in ("p_temperature", "p_top_p"):
            assert adapted[-1].capabilities is not None
            assert name.removeprefix("p_") not in adapted[-1].capabilities.sampling, (
                "its slider is greyed out"
            )

    return check


def left_out(played: Played) -> None:
    """Both numbers are read, and the oldest turns are left out."""
    last = finished(played.replies[-1])
    assert (played.text, last.stats.context_length, len(played.chats)) == ("Hi", 4096, 2)
    assert last.stats.dropped_messages > 0


def progress(played: Played) -> None:
    reported = [(each.done, each.total) for each in played.replies[0] if isinstance(each, PrefillProgress)]
    assert reported[:10] == [(done, 1000) for done in range(0, 1000, 100)]


def not_waited_for(played: Played) -> None:
    assert not any(isinstance(event, Retrying) for event in played.replies[0])


def loaded_with_note(played: Played) -> None:
    assert played.text == "Hello there"
    assert played.info is not None
    assert "requested anyway" in played.info.notes[0]


def listed_once(played: Played) -> None:
    assert played.info is not None
    assert played.info.served == ("remote:m1", "remote:m2")


def moved(played: Played) -> None:
    first, *others = played.chats
    assert played.text == "Hello there"
    assert [each.path for each in others] == ["/r301dst/v1/chat/completions"] * 2
    assert all((each.method, each.json) == ("POST", first.json) for each in others)


def both(*checks: Check) -> Check:
    def check(played: Played) -> None:
        for one in checks:
            one(played)

    return check


ASSERTED: Final[dict[str, Check]] = {
    "fin_cf": fails("content_filter", "content filter", said="Hi"),
    "fin_abort": fails("connection_lost", "broke off the reply", said="Hi"),
    "refusal": notes("refusal", "I cannot help with that."),
    "tool_calls": notes('wanted to call get_weather with {"city":"Oslo"}; this app runs no tools'),
    "fn_call": notes("wanted to call f; this app runs no tools"),
    "audio_images": notes("sent an image, which is not shown"),
    "empty_reply": notes("empty reply"),
    "only_done": notes("empty reply"),
    "json_as_array": expected("text Hi"),
    "br_lie": fails("endpoint_protocol", "with br, which was not requested"),
    "surrogate": expected("text 😀"),
    "slow_comments": expected("text Hi"),
    "slow_progress": progress,
    "mid_empty_deltas": expected("text 'Hi you'"),
    "s429_long": fails("rate_limited", "10 min"),
    "s429_quota": both(fails("quota_used_up", "quota"), not_waited_for),
    "s500_once": fails("endpoint_error", "oops"),
    "s404_model": fails("model_missing", "there: m2.", "such as remote:m2"),
    "m_bare_list": listed_once,
    "m_data_null": fails("model_missing", "no models yet", asked=0),
    "m_dup": listed_once,
    "m_embed_first": expected("model m1"),
    "r301post": moved,
    "no_v1": expected("text Hi"),
    "api_v1": expected("text Hi"),
    **dict.fromkeys(("s401_models_only", "no_models_404", "models_501"), loaded_with_note),
    **{name: sent_again(name) for name in REFUSALS},
    **{name: left_out for name in CASES | MORE if name.startswith("ctx_")},
}
"""What is right where a case's words are for people."""


def test_every_case_is_run_once() -> None:
    assert len(CASES) == 79
    assert not CASES.keys() & MORE.keys()
    assert set(ASSERTED) <= set(CASES | MORE)


@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_each_case_ends_as_expected(name: str) -> None:
    check = ASSERTED.get(name) or expected((CASES | MORE)[name]["expect"])
    check(play(name))
