"""200 replies through a server that breaks on purpose (`llmock`): none is lost or cut short silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.engine_subject import finished, text
from tests.remote.real_server import RealServer, python_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.served.engine import ServedEngine

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
REPLIES = 200
FAULTS = ("disconnect", "truncate", "stall", "malformed")
KINDS = {"connection_lost", "endpoint_protocol", "endpoint_error", "rate_limited", "endpoint_timeout"}


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    tool = str(Path(python_of(".venv-remote-llmock")).with_name("llmock"))
    command = [tool, "serve", "--host", "127.0.0.1", "--port", "{port}", "--response-style", "static"]
    for fault in FAULTS:
        command += ["--stream-fault", f"{fault}=0.1"]
    for status in (429, 500, 503):
        command += ["--error-rate", f"{status}=0.05"]
    log = tmp_path_factory.mktemp("llmock") / "log"
    server = RealServer("llmock", [*command, "--stream-stall-seconds", "60"], log, "gpt-4o")
    server.start()
    yield server
    server.stop()


def test_no_reply_is_lost_or_cut_short_silently(chaos: RealServer) -> None:
    engine = ServedEngine(environ={"OPENAI_API_KEY": "any"})
    options = RemoteOptions(base_url=chaos.base_url, token_timeout_s=1.0, first_token_timeout_s=2.0)
    engine.load(ModelSpec(engine="remote", name=chaos.model, options=options), lambda _: None)
    sampling = SamplingParams(max_tokens=200)
    ends: Counter[str] = Counter()
    whole, parts = set[str](), set[str]()
    for number in range(REPLIES):
        asked = GenerationRequest(
            id=number, messages=(ChatMessage("user", "Say it."),), sampling=sampling, seed=1
        )
        events = list(engine.generate(asked, GenerationControl(sampling)))
        end = finished(events)
        ends[end.error.kind if end.error else end.reason] += 1
        if end.error is None:
            whole.add(text(events))
        else:
            assert end.error.kind in KINDS
            assert end.error.message
            parts.add(text(events))
    engine.close()
    print(dict(ends))
    assert len(whole) == 1, "a reply reported as complete is complete"
    assert all(next(iter(whole)).startswith(part) for part in parts), "what came is kept as it came"
    assert ends["stop"] > REPLIES / 4
    assert ends["connection_lost"]
    assert ends["endpoint_protocol"]
