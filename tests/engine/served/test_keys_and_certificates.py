"""Keys never leave the machine unencrypted, and certificates are checked."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engine.served.raw_server import MODELS, Handler, RawServer, answer, data, said, sends, stream
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served.engine import ServedEngine

KEY = "sk-very-secret"
ENVIRON = {"OPENAI_API_KEY": KEY}


def load(
    url: str, environ: dict[str, str], transport: httpx.BaseTransport | None = None
) -> tuple[ServedEngine, EngineInfo]:
    engine = ServedEngine(environ, transport)
    spec = ModelSpec(engine="remote", name="remote:", options=RemoteOptions(base_url=url))
    return engine, engine.load(spec, lambda _: None)


def reply(engine: ServedEngine) -> GenerationFinished:
    sampling = SamplingParams(max_tokens=8)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", "Hi"),), sampling=sampling, seed=1)
    *_, last = engine.generate(request, GenerationControl(sampling))
    assert isinstance(last, GenerationFinished)
    return last


LEAKS: list[Handler] = [
    sends(answer(401, {"error": {"message": f"Received API key = {KEY}, which is not known"}})),
    sends(answer(500, f"no such key: {KEY}", kind="text/plain")),
    stream(said("Half"), data({"error": {"message": f"the key {KEY} has expired"}})),
    stream(said("Half"), f"data: {KEY}\n\n".encode()),
    stream(said("Half"), data({"error": {"message": f"{'the key ' * 36}{KEY} has expired"}})),
]


@pytest.mark.parametrize("chat", LEAKS, ids=["refusal", "failure", "mid-stream", "no JSON", "on the cut"])
def test_a_key_that_a_server_repeats_is_neither_shown_nor_stored_nor_logged(
    chat: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = RawServer(chat)
    engine, _ = load(server.url, ENVIRON)
    error = reply(engine).error
    engine.close()
    server.close()
    assert server.chats[0].headers["authorization"] == f"Bearer {KEY}"
    assert error is not None
    assert "[key]" in error.message or error.message.endswith("…")
    assert KEY[:6] not in f"{error.message} {error.cure}"
    assert KEY not in caplog.text


def test_a_key_does_not_follow_to_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[httpx.Request] = []

    def away(request: httpx.Request) -> httpx.Response:
        heard.append(request)
        return httpx.Response(302, headers={"Location": "http://lab.example/v1/models"})

    with pytest.raises(EngineError) as caught:
        load("https://lab.example/v1", ENVIRON, httpx.MockTransport(away))
    assert caught.value.info.kind == "endpoint_redirect"
    assert [request.url.scheme for request in heard] == ["https"]


def test_an_unknown_host_name_is_reported_as_written() -> None:
    def nowhere(request: httpx.Request) -> httpx.Response:
        try:
            raise socket.gaierror(-2, "Name or service not known")
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    with pytest.raises(EngineError) as caught:
        load("https://labb.example/v1", {}, httpx.MockTransport(nowhere))
    assert caught.value.info.kind == "endpoint_dns"
    assert "https://labb.example/v1" in caught.value.info.cure


def test_https_to_an_http_port_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak_http() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=speak_http, daemon=True).start()
        with pytest.raises(EngineError) as caught:
            load(f"https://127.0.0.1:{listener.getsockname()[1]}/v1", {})
    assert caught.value.info.kind == "endpoint_tls"


@pytest.fixture
def secure_url(certificate: Path) -> Iterator[str]:
    server = RawServer(other=sends(answer(200, MODELS)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server.secure(context)
    yield server.url.replace("http:", "https:")
    server.close()


def test_a_self_signed_certificate_is_not_accepted(secure_url: str) -> None:
    with pytest.raises(EngineError) as caught:
        load(secure_url, ENVIRON)
    assert caught.value.info.kind == "endpoint_tls"
    assert "certificate" in caught.value.info.message
    assert "SSL_CERT_FILE" in caught.value.info.cure


def test_the_given_cure_makes_a_certificate_accepted(
    secure_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    engine, info = load(secure_url, ENVIRON)
    engine.close()
    assert info.model == "m"
