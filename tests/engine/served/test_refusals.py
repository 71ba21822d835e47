"""Refused parts of a request: it is sent again in an accepted form, reported once, and remembered for the model."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.engine_subject import finished, text
from tests.engine.served.played_server import refusing
from tests.engine.served.raw_server import DONE, Handler, Heard, RawServer, answer, data, end, said, stream
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, GenerationStarted, RequestAdapted
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.served.adaptation import Adaptation
from ttchat_tui.engine.served.dialects import DIALECTS
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.engine.served.refusal import Refusal, parse_refusal
from ttchat_tui.engine.served.request import body_of

SAMPLING = SamplingParams(temperature=0.7, top_k=20, presence_penalty=0.5, max_tokens=100_000, stop=("END",))
TURNS = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello"))


class RefusedClient:
    """An engine on a server that refuses."""

    def __init__(self, chat: Handler) -> None:
        self.server = RawServer(chat, _listed)
        self.engine = ServedEngine({})
        self.info = self.load()

    def load(self) -> EngineInfo:
        options = RemoteOptions(base_url=self.server.url)
        return self.engine.load(ModelSpec(engine="remote", name="m1", options=options), lambda _: None)

    def reply(
        self, *turns: ChatMessage, sampling: SamplingParams = SAMPLING, **more: Any
    ) -> list[GenerationEvent]:
        request = GenerationRequest(id=1, messages=turns or TURNS, sampling=sampling, seed=1, **more)
        return list(self.engine.generate(request, GenerationControl(sampling)))

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [heard.json for heard in self.server.chats if heard.json is not None]


def _listed(client: socket.socket, heard: Heard) -> None:
    client.sendall(answer(200, {"data": [{"id": "m1"}]}) if heard.path == "/v1/models" else answer(404, {}))


Serve = Callable[[Handler], RefusedClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    clients: list[RefusedClient] = []

    def start(chat: Handler) -> RefusedClient:
        clients.append(RefusedClient(chat))
        return clients[-1]

    yield start
    for client in clients:
        client.engine.close()
        client.server.close()


def picky(refuse: Callable[[dict[str, Any]], bytes | None], *parts: bytes) -> Handler:
    """Answers with `refuse(body)`, or with `parts` (`Hi` at first) if that is None."""

    def handle(client: socket.socket, heard: Heard) -> None:
        assert heard.json is not None
        no = refuse(heard.json)
        if no is not None:
            client.sendall(no)
        else:
            stream(*(parts or (said("Hi"), end("stop"), DONE)))(client, heard)

    return handle


def notes(events: list[GenerationEvent]) -> list[str]:
    return [note for event in events if isinstance(event, RequestAdapted) for note in event.notes]


def role(sent: dict[str, Any]) -> str:
    return sent["messages"][0]["role"]


UNSUPPORTED = [
    ("temperature", 400, ("Unsupported value: 'temperature' does not support 0.7 with this model. "
     "Only the default (1) value is supported.")),
    ("top_p", 400, "Unsupported parameter: 'top_p' is not supported with this model."),
    ("stop", 400, "Unsupported parameter: 'stop' is not supported with this model."),
    ("stop", 400, "Argument not supported on this model: stop"),
    ("presence_penalty", 400, "Model grok-4 does not support parameter presencePenalty."),
    ("presence_penalty", 400, '{"error":{"message":"property \'presence_penalty\' is unsupported"}}'),
    ("stream_options", 400, "Unrecognized request argument supplied: stream_options"),
    ("seed", 400, 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'),
    ("frequency_penalty", 422, ("Failed to deserialize the JSON body into the target type: unknown field "
     "`frequency_penalty`, expected one of `messages`, `model` at line 1 column 9")),
    ("presence_penalty", 400, "litellm.UnsupportedParamsError: o1 does not support parameters: ['presence_penalty']"),
    ("seed", 400, "Malformed input request: #: extraneous key [seed] is not permitted"),
    ("temperature", 400, "temperature: Extra inputs are not permitted"),
    ("top_p", 500, "generate() got an unexpected keyword argument 'top_p'"),
    ("temperature", 400, "invalid temperature: only 1 is allowed for this model"),
    ("seed", 400, "json: cannot unmarshal number into Go struct field ChatCompletionRequest.seed of type int"),
    ("seed", 400, "AiError: Bad input: Type mismatch of '/seed', 'integer' not in 'number'"),
    ("frequency_penalty", 400, "frequency_penalty: property not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "status", "message"), UNSUPPORTED)
def test_a_rejected_field_is_left_out_from_then_on(
    serve: Serve, field: str, status: int, message: str
) -> None:
    client = serve(refusing(status, message, lambda sent: field in sent))
    first, second = client.reply(), client.reply()
    assert (text(first), text(second)) == ("Hi", "Hi")
    assert [field in sent for sent in client.sent] == [True, False, False], "asked again once, then known"
    left_out = {name for name in client.sent[0] if name not in client.sent[-1]}
    assert left_out == {field}, "nothing else is given up"
    assert len(notes(first)) == (field != "stream_options")
    assert not notes(second), "said once"


def places(*names: str) -> bytes:
    found = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": 0}
             for name in names]  # fmt: skip
    return answer(422, {"detail": found})


def test_fields_that_fastapi_names_by_their_place_are_left_out_together(serve: Serve) -> None:
    names = ("presence_penalty", "frequency_penalty")
    client = serve(picky(lambda sent: places(*names) if names[0] in sent else None))
    assert text(client.reply()) == "Hi"
    assert len(client.sent) == 2
    assert not set(names) & set(client.sent[-1])


@pytest.mark.parametrize("name", ["temperature", "top_p", "seed"])
def test_a_field_that_only_param_names_is_left_out(serve: Serve, name: str) -> None:
    no = answer(
        400, {"error": {"message": "This is not possible.", "param": name, "code": "unsupported_value"}}
    )
    client = serve(picky(lambda sent: no if name in sent else None))
    assert text(client.reply()) == "Hi"
    assert name not in client.sent[-1]


def test_if_no_field_is_named_the_rarest_are_left_out_first(serve: Serve) -> None:
    client = serve(refusing(422, "Extra inputs are not permitted", lambda sent: "presence_penalty" in sent))
    assert text(client.reply()) == "Hi"
    assert {"temperature", "top_p", "max_tokens"} <= set(client.sent[-1])


def test_of_temperature_and_top_p_rejected_together_top_p_is_left_out(serve: Serve) -> None:
    message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    client = serve(refusing(400, message, lambda sent: {"temperature", "top_p"} <= set(sent)))
    assert text(client.reply()) == "Hi"
    assert client.sent[-1]["temperature"] == 0.7
    assert "top_p" not in client.sent[-1]


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "max_tokens is deprecated",
    ],
)
def test_the_length_is_sent_under_its_newer_name_if_the_old_one_is_refused(
    serve: Serve, message: str
) -> None:
    client = serve(refusing(400, message, lambda sent: "max_tokens" in sent))
    first = client.reply()
    client.reply()
    assert text(first) == "Hi"
    assert not notes(first), "nothing is lost by it"
    assert [sent.get("max_completion_tokens") for sent in client.sent] == [None, 100_000, 100_000]


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens, whereas you provided 100000.",
        "max_tokens: 100000 > 4096, which is the maximum allowed number of output tokens for claude-3-5-haiku-20241022",
        (
            "`max_tokens` must be less than or equal to `4096`, the maximum value for `max_tokens` is less than the "
            "`context_window` for this model"
        ),
        "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]",
        "Range of max_tokens should be [1, 4096]",
        "max_tokens exceeds the limit: 4096",
    ],
)
def test_no_request_exceeds_the_servers_longest_reply(serve: Serve, message: str) -> None:
    client = serve(refusing(400, message, lambda sent: sent["max_tokens"] > 4096))
    events = client.reply()
    assert text(events) == "Hi"
    assert [sent["max_tokens"] for sent in client.sent] == [100_000, 4096]
    assert b'"max_tokens":4096' in msgspec.json.encode(client.sent[-1])
    assert "4,096" in notes(events)[0]


def test_a_limit_in_fastapis_wording_is_read(serve: Serve) -> None:
    found = [{"type": "less_than_equal", "loc": ["body", "temperature"], "ctx": {"le": 0.5},
              "msg": "Input should be less than or equal to 0.5", "input": 0.7}]  # fmt: skip
    client = serve(picky(lambda sent: answer(422, {"detail": found}) if sent["temperature"] > 0.5 else None))
    assert text(client.reply()) == "Hi"
    assert client.sent[-1]["temperature"] == 0.5
    assert "temperature" in client.info.capabilities.sampling


def test_a_rejected_value_does_not_remove_its_field(serve: Serve) -> None:
    message = "Input validation error: `top_p` must be > 0.0 and < 1.0"
    client = serve(refusing(422, message, lambda sent: sent.get("top_p") == 1.0))
    assert text(client.reply(sampling=SamplingParams(top_p=1.0))) == "Hi"
    client.reply(sampling=SamplingParams(top_p=0.9))
    assert [sent.get("top_p") for sent in client.sent] == [1.0, None, 0.9]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "System role not supported"),
        (500, "System role not supported"),
        (400, "This model does not support system messages"),
        (400, "Only user and assistant roles are supported!"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (422, "messages.0.role: Input should be 'user' or 'assistant'"),
        (400, 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter'),
    ],
)
def test_a_system_prompt_joins_the_first_message_if_its_role_is_refused(
    serve: Serve, status: int, message: str
) -> None:
    client = serve(refusing(status, message, lambda sent: role(sent) != "user"))
    events = client.reply()
    client.reply()
    assert text(events) == "Hi"
    assert [role(sent) for sent in client.sent] == ["system", "user", "user"]
    assert client.sent[-1]["messages"] == [{"role": "user", "content": "Be brief.\n\nHello"}]
    assert "system prompt" in notes(events)[0]


def test_a_system_prompt_gets_the_developer_role_if_openai_wants_it(serve: Serve) -> None:
    no = {"message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
          "param": "messages[0].role", "code": "unsupported_value"}  # fmt: skip
    client = serve(picky(lambda sent: answer(400, {"error": no}) if role(sent) == "system" else None))
    assert text(client.reply()) == "Hi"
    assert client.sent[-1]["messages"][0] == {"role": "developer", "content": "Be brief."}
    assert "temperature" in client.sent[-1]


def test_if_neither_role_is_accepted_the_user_message_has_the_system_prompt(serve: Serve) -> None:
    message = "Developer instruction is not enabled for this model"
    client = serve(refusing(400, message, lambda sent: role(sent) != "user"))
    assert text(client.reply()) == "Hi"
    assert role(client.sent[-1]) == "user"


@pytest.mark.parametrize(
    "message",
    [
        "Your organization must be verified to stream this model. Please go to ...",
        "Streaming is not supported for this model",
        "Unsupported value: 'stream' does not support true with this model.",
    ],
)
def test_a_reply_comes_in_one_piece_where_streaming_is_refused(serve: Serve, message: str) -> None:
    whole = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})

    def handle(client: socket.socket, heard: Heard) -> None:
        assert heard.json is not None
        no = answer(400, {"error": {"message": message}}) if heard.json["stream"] else answer(200, whole)
        client.sendall(no)

    client = serve(handle)
    events = client.reply()
    assert text(events) == "Hi"
    assert (client.sent[-1]["stream"], "stream_options" in client.sent[-1]) == (False, False)
    assert "one piece" in notes(events)[0]


def test_stop_strings_are_applied_here_where_they_are_refused(serve: Serve) -> None:
    message = "Unsupported parameter: 'stop' is not supported with this model."
    no = answer(400, {"error": {"message": message}})
    client = serve(picky(lambda sent: no if "stop" in sent else None, said("Hi END you"), end("stop"), DONE))
    events = client.reply()
    assert text(events) == "Hi "
    assert "stop" in client.info.capabilities.sampling


def test_the_sliders_learn_what_has_no_effect_also_for_later_loads(serve: Serve) -> None:
    message = "Unsupported parameter: 'temperature' is not supported with this model."
    client = serve(refusing(400, message, lambda sent: "temperature" in sent))
    reported = [event for event in client.reply() if isinstance(event, RequestAdapted)]
    assert reported[0].capabilities is not None
    assert "temperature" not in reported[0].capabilities.sampling
    assert client.load().capabilities == reported[0].capabilities


@pytest.mark.parametrize(
    "message",
    ["Unsupported parameter: 'temperature' is not supported.", "temperature: Extra inputs are not permitted"],
)
def test_a_refusal_as_the_first_event_of_a_stream_counts_too(serve: Serve, message: str) -> None:
    def handle(client: socket.socket, heard: Heard) -> None:
        assert heard.json is not None
        failed = stream(data({"error": {"message": message, "code": 400}}))
        taken = stream(said("Hi"), end("stop"), DONE)
        (failed if "temperature" in heard.json else taken)(client, heard)

    client = serve(handle)
    assert text(client.reply()) == "Hi"
    assert len(client.sent) == 2


def test_candidates_learn_from_each_other_and_it_is_reported_once(serve: Serve) -> None:
    message = "Unsupported parameter: 'temperature' is not supported with this model."
    client = serve(refusing(400, message, lambda sent: "temperature" in sent))
    client.engine._responder._capabilities = msgspec.structs.replace(  # type: ignore[union-attr]
        client.info.capabilities, batch_sizes=(1, 2, 3)
    )
    events = client.reply(candidates=(Candidate(seed=2), Candidate(seed=3)))
    assert finished(events).reason == "stop"
    assert len(notes(events)) == 1
    assert len(client.sent) == 6


@pytest.mark.parametrize(
    "message", ["The model is overloaded", "temperature is nice", "Stop it, seed of evil"]
)
def test_a_refusal_about_something_else_is_reported(serve: Serve, message: str) -> None:
    client = serve(refusing(400, message, lambda _: True))
    error = finished(client.reply()).error
    assert error is not None
    assert message in error.message
    assert len(client.sent) == 1


def test_a_server_that_refuses_everything_ends_the_reply(serve: Serve) -> None:
    client = serve(refusing(400, "Unsupported parameter", lambda _: True))
    assert finished(client.reply()).reason == "error"
    assert len(client.sent) < 10


@given(st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(
    st.sampled_from(["error", "message", "param", "detail", "loc", "msg", "code", "input"]), each)))  # fmt: skip
def test_any_body_can_be_read_and_learning_is_bounded(body: Any) -> None:
    complaint = parse_refusal(json.dumps(body).encode("utf-8", "surrogatepass"))
    known, steps = Adaptation(), 0
    whole = body_of(DIALECTS[0], "m", TURNS, SAMPLING, 1, max_tokens=9)
    while (found := known.learn_from(known.applied(whole), complaint)) != known:
        known, steps = found, steps + 1
        assert steps < 40
    assert {"model", "messages", "stream"} <= set(known.applied(whole))


def test_what_a_server_repeats_of_the_conversation_is_not_read() -> None:
    found = [
        {"type": "missing", "loc": ["body", "user"], "msg": "Field required", "input": {"temperature": 0.7}}
    ]
    complaint = parse_refusal(json.dumps({"detail": found}).encode())
    assert complaint == Refusal("missing\nField required", ("user",))


# -- too long


LONG = [ChatMessage(role, "word " * 40) for _ in range(4) for role in ("user", "assistant")]
TOO_LONG = [
    (422, ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 300. Given: 440 `inputs` tokens and "
     "10 `max_new_tokens`")),
    (422, "Input validation error: `inputs` must have less than 300 tokens. Given: 440"),
    (400, ("Requested token count exceeds the model's maximum context length of 300 tokens. You requested a total of 450 "
     "tokens: 440 tokens from the input messages and 10 tokens for the completion.")),
    (400, "The input (440 tokens) is longer than the model's context length (300 tokens)."),
    (400, ("The number of tokens to keep from the initial prompt is greater than the context length "
     "(n_keep: 440>= n_ctx: 300). Try to load the model with a larger context length")),
    (400, ("Trying to keep the first 440 tokens when context the overflows. However, the model is loaded with context "
     "length of only 300 tokens, which is not enough.")),
    (400, ("This endpoint's maximum context length is 300 tokens. However, you requested about 450 tokens (440 of text "
     "input, 10 in the output).")),
    (400, "prompt is too long: 440 tokens > 300 maximum"),
    (400, "input length and `max_tokens` exceed context limit: 440 + 10 > 300, decrease input length"),
    (400, "This model's maximum context length is 300 tokens. However, your messages resulted in 440 tokens."),
    (400, "This model's maximum context length is 300 tokens. However, your request has 440 input tokens."),
    (400, "You passed 440 input tokens and requested 10 output tokens. However, the model's context length is only 300"),
    (400, "The decoder prompt (length 440) is longer than the maximum model length of 300."),
    (400, "request (440 tokens) exceeds the available context size (300 tokens), try increasing it"),
    (400, "Requested tokens (440) exceed context window of 300"),
    (400, "Prompt contains 440 tokens and 0 draft tokens, too large for model with 300 maximum context length"),
    (400, "The input token count (440) exceeds the maximum number of tokens allowed (300)."),
    (400, "This model's maximum prompt length is 300 but the request contains 440 tokens."),
    (400, "The prompt is too long: 440, model maximum context length: 300"),
    (400, "too many tokens: total number of tokens in the prompt cannot exceed 300 - received 440"),
    (413, ("Request too large for model on tokens per minute (TPM): Limit 300, Requested 440, please reduce your message "
     "size")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message"), TOO_LONG)
def test_the_oldest_turns_are_left_out_where_the_server_says_how_many_tokens_fit(
    serve: Serve, status: int, message: str
) -> None:
    client = serve(refusing(status, message, lambda sent: len(sent["messages"]) > 7))
    events = client.reply(*LONG, ChatMessage("user", "Hello"))
    assert text(events) == "Hi"
    started = [event for event in events if isinstance(event, GenerationStarted)]
    assert started[-1].context_length == 300, "the limit is read"
    assert started[-1].dropped_messages == finished(events).stats.dropped_messages > 0, "and it is said"
    assert client.sent[-1]["messages"][-1]["content"] == "Hello"
    assert client.sent[-1]["messages"][0]["role"] == "user"
    assert len(client.sent) == 2, "both numbers are read: one try was enough"


@pytest.mark.parametrize(
    "message",
    [
        "Please reduce the length of the messages or completion.",
        "Your input exceeds the context window of this model.",
        "Input is too long for requested model.",
    ],
)
def test_without_numbers_turns_are_left_out_until_it_fits(serve: Serve, message: str) -> None:
    client = serve(refusing(400, message, lambda sent: len(sent["messages"]) > 3))
    events = client.reply(*LONG, ChatMessage("user", "Hello"))
    assert text(events) == "Hi"
    assert finished(events).stats.dropped_messages == 6


def test_a_message_that_does_not_fit_alone_is_refused_with_the_numbers(serve: Serve) -> None:
    client = serve(refusing(400, "prompt is too long: 440 tokens > 300 maximum", lambda _: True))
    error = finished(client.reply(ChatMessage("user", "word " * 400))).error
    assert error is not None
    assert error.kind == "prompt_too_long"
    assert "300" in error.message
    assert "440" in error.message


def test_penalties_that_are_named_together_are_left_out_together(serve: Serve) -> None:
    names = {"presence_penalty", "frequency_penalty"}
    no = "Penalty is not enabled for models/gemini-2.5-pro"
    client = serve(refusing(400, no, lambda sent: bool(names & set(sent))))
    assert text(client.reply()) == "Hi"
    assert len(client.sent) == 2
    assert not names & set(client.sent[-1])


def test_of_two_penalties_rejected_together_one_is_left_out(serve: Serve) -> None:
    names = {"presence_penalty", "frequency_penalty"}
    no = "Only one of presence_penalty or frequency_penalty can be set"
    client = serve(refusing(400, no, lambda sent: names <= set(sent)))
    assert text(client.reply()) == "Hi"
    assert "presence_penalty" in client.sent[-1]


def test_seeds_stay_different_under_a_ceiling() -> None:
    adaptation = Adaptation(ceilings={"seed": 2147483647})
    seeds = [adaptation.applied({"seed": seed, "messages": []})["seed"] for seed in (2**62 + 5, 2**62 + 6, 7)]
    assert seeds == [5, 6, 7]


def test_a_context_error_without_numbers_costs_no_parameter(serve: Serve) -> None:
    no = "rpc error: code = Unknown desc = the request exceeds the available context size"
    client = serve(refusing(500, no, lambda sent: len(sent["messages"]) > 1))
    client.reply()
    assert client.sent[0].keys() == client.sent[-1].keys()
