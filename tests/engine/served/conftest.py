"""The subjects of the engine contract in this folder: the remote engine on scripted servers, or on a real one.

TTCHAT_TEST_REMOTE_URL names a real server (`make test-remote` sets it): then that one is the only subject.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from tests.engine.engine_subject import CONTEXT, LONG_REPLY, Subject
from tests.engine.served.scripted_server import ScriptedServer, StreamGate, serving
from tests.engine.served.shapes import LLAMA_CPP, MODEL, VLLM
from tests.fakes import Script
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, ProgressReporter, PromptCounted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.served.engine import ServedEngine

REAL_URL = os.environ.get("TTCHAT_TEST_REMOTE_URL", "")
REAL_MODEL = os.environ.get("TTCHAT_TEST_REMOTE_MODEL", "")


class NumberedTokens:
    """The served engine. Servers send text without ids: each token gets a number made from its text."""

    def __init__(self) -> None:
        self._engine = ServedEngine(environ={})

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        return self._engine.load(spec, report)

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        return self._engine.count(count_id, messages, sampling, keep)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        for event in self._engine.generate(request, control):
            if isinstance(event, TokenEvent):
                piece = event.text.encode()
                number = crc32(piece) & 0xFFFF
                pieces = event.pieces or ({number: piece} if request.record == "full" else {})
                event = msgspec.structs.replace(
                    event, token_ids=(number,) * len(event.times_s), pieces=pieces
                )
            yield event

    def unload(self) -> None:
        self._engine.unload()

    def close(self) -> None:
        self._engine.close()


@pytest.fixture(scope="session", params=["real"] if REAL_URL else ["vllm", "llama.cpp"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with ExitStack() as stack:
        gate, url, model, context = None, REAL_URL, REAL_MODEL, 0
        if not REAL_URL:
            gate, model, context = StreamGate(), MODEL, CONTEXT
            script = Script(stepped=True, replies=(LONG_REPLY,), context_length=CONTEXT)
            shape = VLLM if request.param == "vllm" else LLAMA_CPP
            url = stack.enter_context(serving(ScriptedServer(shape, script, gate))).base_url
        options = RemoteOptions(base_url=url, connect_timeout_s=30.0)
        engine = NumberedTokens()
        spec = ModelSpec(engine="remote", name=model, context_length=context, options=options)
        if REAL_URL:  # some tell how long their context is
            known = engine.load(spec, lambda progress: None).context_length
            spec = msgspec.structs.replace(spec, context_length=known)
        one = Subject(engine, spec, gate, late=25)
        yield one
        one.engine.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key behind it in the file."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("openssl is not here to make a certificate")
    file = tmp_path / "certificate.pem"
    command = (
        f"{tool} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", file, "-out", tmp_path / "c"], check=True, capture_output=True
    )
    file.write_bytes(file.read_bytes() + (tmp_path / "c").read_bytes())
    return file
