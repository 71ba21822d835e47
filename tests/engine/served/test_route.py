"""The route to a server: proxies and certificates from the environment, redirects, logins. Errors name the variable."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.engine_subject import finished, text
from tests.engine.served.raw_server import DONE, Heard, RawServer, answer, end, listed, said, sends, stream
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec, RemoteEndpoint, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served import route
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.endpoint import Endpoint
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.engine.served.route import proxy_for, tls_context

PROXY = {"HTTPS_PROXY": "http://proxy:3128", "HTTP_PROXY": "http://proxy:3128"}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def servers() -> Iterator[Callable[..., RawServer]]:
    kept: list[RawServer] = []

    def start(*handlers: Any) -> RawServer:
        kept.append(RawServer(*handlers))
        return kept[-1]

    yield start
    for server in kept:
        server.close()


def engine_at(url: str, environ: dict[str, str] | None = None, model: str = "m", **more: Any) -> ServedEngine:
    """Loaded; without a `model` it takes what the server lists. `more` are fields of an endpoint."""
    engine = ServedEngine(environ or {})
    lab = RemoteEndpoint(base_url=url, **more)
    options = RemoteOptions(endpoint="lab", endpoints={"lab": lab}, connect_timeout_s=2.0, retries=0)
    engine.load(ModelSpec(engine="remote", name=f"remote:lab/{model}", options=options), lambda _: None)
    return engine


def reply(engine: ServedEngine, **sampling: Any) -> list[Any]:
    params = SamplingParams(**sampling)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", "Hi"),), sampling=params, seed=1)
    events = list(engine.generate(request, GenerationControl(params)))
    engine.close()
    return events


# -- proxies


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_through"),
    [
        ("https://lab.example/v1", "", True),
        ("https://lab.example/v1", "[::1],other", True),
        ("https://lab.example/v1", "*", False),
        ("https://lab.example/v1", "example", False),
        ("https://lab.example/v1", ".example", False),
        ("https://lab.example/v1", "*.example", False),
        ("https://lab.example/v1", "LAB.example", False),
        ("https://lab.example/v1", "ab.example", True),
        ("https://lab.example/v1", "lab.example:443", False),
        ("https://lab.example/v1", "lab.example:8443", True),
        ("https://lab.example/v1", "https://lab.example", False),
        ("http://10.1.2.3:8000/v1", "10.0.0.0/8", False),
        ("http://10.1.2.3:8000/v1", "10.1.2.3/8", False),
        ("http://11.1.2.3:8000/v1", "10.0.0.0/8", True),
        ("http://10.1.2.3:8000/v1", "10.1.2.3", False),
        ("http://10.1.2.3:8000/v1", "10.1.2.3:8000", False),
        ("http://[fd00::1]:8000/v1", "[fd00::1]", False),
        ("http://[fd00::1]:8000/v1", "fd00::/8", False),
        ("http://[fd00::1]:8000/v1", "[fd00::1]:8000", False),
        ("http://127.0.0.1:8000/v1", "", False),
        ("http://localhost:8000/v1", "", False),
        ("https://lab.example/v1", "[::1, ,:, [::]:x,///,10.0.0.0/99", True),
    ],
)
def test_the_proxy_is_used_except_for_no_proxy(url: str, no_proxy: str, is_through: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxy_for(url, {**PROXY, name: no_proxy}) is not None) is is_through


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("socks5://proxy:1080", "socks5://proxy:1080"),
        ("socks5h://me:pw@proxy:1080", "socks5h://me:pw@proxy:1080"),
        ("proxy:3128", "http://proxy:3128"),
    ],
)
def test_every_kind_of_proxy_can_be_used(value: str, url: str) -> None:
    found = proxy_for("https://lab.example/v1", {"ALL_PROXY": value})
    assert found is not None
    assert (found.url, found.variable) == (url, "ALL_PROXY")
    route.transport(httpx.Limits(), found).close()


@pytest.mark.parametrize("value", ["gopher://proxy", "http://", "socks5://proxy:99999", "http://[::1"])
def test_an_invalid_proxy_is_reported_by_its_variable(value: str) -> None:
    with pytest.raises(EngineError, match="all_proxy") as caught:
        proxy_for("https://lab.example/v1", {"all_proxy": value})
    assert caught.value.info.kind == "endpoint_proxy"


def test_a_proxy_that_does_not_answer_is_reported_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{port}")
    with pytest.raises(EngineError) as caught:
        engine_at("http://lab.invalid:8000/v1")
    assert caught.value.info.kind == "endpoint_proxy"
    assert "ALL_PROXY" in caught.value.info.cure


def test_a_request_goes_through_the_proxy(
    servers: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def through(client: socket.socket, heard: Heard) -> None:
        is_list = heard.path == "http://lab.invalid:8000/v1/models"
        client.sendall(answer(200, {"data": [{"id": "m"}]}) if is_list else answer(404, {}))

    proxy = servers(None, through)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "[::1],10.0.0.0/8")
    assert text(reply(engine_at("http://lab.invalid:8000/v1"))) == "Hi"


# -- certificates


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_missing_certificates_are_reported_by_their_variable(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/nowhere/certificates")
    with pytest.raises(EngineError, match=variable) as caught:
        engine_at("https://127.0.0.1:9/v1")
    assert caught.value.info.kind == "endpoint_tls"


def test_a_file_without_certificates_is_reported_by_its_variable(tmp_path: Any) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    with pytest.raises(EngineError, match="SSL_CERT_FILE"):
        tls_context({"SSL_CERT_FILE": str(file)})


def test_plain_http_needs_no_certificates(
    servers: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates")

    def never(_: object) -> ssl.SSLContext:
        raise AssertionError("certificates were read")

    monkeypatch.setattr(route, "tls_context", never)
    assert text(reply(engine_at(servers().url))) == "Hi"


# -- the wrong scheme


def test_plain_http_to_a_port_that_asks_for_tls_is_reported(servers: Callable[..., RawServer]) -> None:
    server = servers(None, sends(answer(400, "Client sent an HTTP request to an HTTPS server.\n")))
    with pytest.raises(EngineError, match="speaks TLS") as caught:
        engine_at(server.url)
    assert f"https://127.0.0.1:{server.port}" in caught.value.info.cure


def test_plain_http_to_a_silent_tls_port_is_reported(
    servers: Callable[..., RawServer], certificate: Path
) -> None:
    server = servers()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server.secure(context)
    with pytest.raises(EngineError, match="speaks TLS"):
        engine_at(server.url)


def test_a_server_that_hangs_up_is_not_taken_for_one_that_speaks_tls(
    servers: Callable[..., RawServer],
) -> None:
    with pytest.raises(EngineError, match="closed the connection"):
        engine_at(servers(None, sends(b"")).url, model="")


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_a_post_keeps_its_body(servers: Callable[..., RawServer], status: int) -> None:
    new = servers()
    old = servers(sends(answer(status, "", f"Location: {new.url}/chat/completions")))
    engine = engine_at(old.url)
    assert text(reply(engine)) == "Hi"
    assert new.chats[0].method == "POST"
    assert new.chats[0].json == old.chats[0].json


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_secret_follows_to_another_origin(servers: Callable[..., RawServer], status: int) -> None:
    new = servers()
    old = servers(sends(answer(status, "", f"Location: {new.url}/chat/completions")))
    environ = {"LOGIN": "me:hunter22", "KEY": "sk-secret"}
    engine = engine_at(old.url, environ, user_env="LOGIN", header_env={"X-Key": "KEY"})
    assert text(reply(engine)) == "Hi"
    assert {"authorization", "x-key"} <= set(old.chats[0].headers)
    assert not {"authorization", "x-key"} & set(new.chats[0].headers)


def test_a_permanent_redirect_gets_no_secret_later_either(
    servers: Callable[..., RawServer],
) -> None:
    new = servers()
    old = servers(sends(answer(308, "", f"Location: {new.url}/chat/completions")))
    caller = Caller(Endpoint(name="lab", base_url=old.url), "sk-secret", connect_timeout_s=2.0)
    for _ in range(2):
        assert caller.ask(caller.url("/chat/completions"), {"a": 1}, timeout_s=5.0).is_good
    caller.close()
    assert (len(old.chats), len(new.chats)) == (1, 2)
    assert all("authorization" not in heard.headers for heard in new.chats)


def test_a_redirect_in_a_circle_ends(servers: Callable[..., RawServer]) -> None:
    server = servers(sends(answer(302, "", "Location: /v1/chat/completions")))
    error = finished(reply(engine_at(server.url))).error
    assert error is not None
    assert "circle" in error.message


# -- what an endpoint adds


def test_login_headers_and_fields_of_an_endpoint_are_sent(servers: Callable[..., RawServer]) -> None:
    server = servers(stream(said("Hi"), end("stop"), DONE), listed)
    environ = {"LOGIN": "me:hunter22", "TENANT": "t-17"}
    engine = engine_at(
        server.url,
        environ,
        user_env="LOGIN",
        headers={"X-Title": "chat"},
        header_env={"X-Tenant": "TENANT", "X-None": "UNSET"},
        extra_body={"reasoning_effort": "low", "temperature": 0.25},
    )
    assert text(reply(engine)) == "Hi"
    sent = server.chats[0]
    assert sent.headers["authorization"] == "Basic " + base64.b64encode(b"me:hunter22").decode()
    assert (sent.headers["x-title"], sent.headers["x-tenant"]) == ("chat", "t-17")
    assert "x-none" not in sent.headers
    assert sent.json is not None
    assert (sent.json["reasoning_effort"], sent.json["temperature"]) == ("low", 0.25)


def test_a_login_that_a_server_repeats_is_not_shown(servers: Callable[..., RawServer]) -> None:
    def repeat(client: socket.socket, heard: Heard) -> None:
        client.sendall(
            answer(401, {"error": f"no: {heard.headers['authorization']} of me:hunter22 (hunter22)"})
        )

    server = servers(repeat)
    error = finished(reply(engine_at(server.url, {"LOGIN": "me:hunter22"}, user_env="LOGIN"))).error
    assert error is not None
    shown = error.message + error.cure
    assert "hunter22" not in shown
    assert base64.b64encode(b"me:hunter22").decode() not in shown
    assert "LOGIN" in shown


def test_a_login_is_not_sent_over_plain_http_to_another_machine() -> None:
    with pytest.raises(EngineError, match="LOGIN") as caught:
        engine_at("http://lab.invalid/v1", {"LOGIN": "me:hunter22"}, user_env="LOGIN")
    assert caught.value.info.kind == "key_over_plain_http"


def test_usual_ports_are_asked_at_the_same_time() -> None:
    from ttchat_tui.engine.served.probing import probe

    waiting, both = [], threading.Event()

    def together(client: socket.socket, heard: Heard) -> None:
        waiting.append(heard)
        if len(waiting) == 2:
            both.set()
        both.wait(1.0)
        listed(client, heard)

    first, second = RawServer(other=together), RawServer(other=together)
    places = [Endpoint(name=str(each.port), base_url=each.url) for each in (first, second)]
    found = probe(lambda each: Caller(each, "", connect_timeout_s=2.0), lambda: None, places=places)
    assert both.is_set()
    assert found.endpoint.name == str(first.port)
    assert found.elsewhere == (str(second.port),)
    first.close()
    second.close()
