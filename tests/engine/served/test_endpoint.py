"""Which server, which model, which key."""

from __future__ import annotations

import msgspec
import pytest

from ttchat_tui.domain.model_spec import RemoteEndpoint, RemoteOptions
from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.credentials import api_key
from ttchat_tui.engine.served.endpoint import Endpoint, checked_url, is_loopback, resolve_target

LAB = RemoteOptions(
    base_url="http://127.0.0.1:8000/v1/",
    endpoints={
        "lab": RemoteEndpoint(base_url="https://lab.example/v1", api_key_env="LAB_KEY", model="llama")
    },
)


@pytest.mark.parametrize(
    ("name", "server", "model"),
    [
        ("remote:", "127.0.0.1:8000", ""),
        ("remote:org/model", "127.0.0.1:8000", "org/model"),
        ("llama3:8b", "127.0.0.1:8000", "llama3:8b"),
        ("remote:lab/org/model", "lab", "org/model"),
        ("remote:lab/", "lab", "llama"),
        ("remote:127.0.0.1:11434/llama3.1", "127.0.0.1:11434", "llama3.1"),
    ],
)
def test_a_name_gives_the_server_and_the_model(name: str, server: str, model: str) -> None:
    want = resolve_target(name, LAB)
    assert want.endpoint is not None
    assert (want.endpoint.name, want.model) == (server, model)


def test_a_named_endpoint_has_its_own_key_and_its_own_models_names() -> None:
    endpoint = resolve_target("remote:lab/x", LAB).endpoint
    assert endpoint is not None
    assert endpoint.api_key_env == "LAB_KEY"
    assert endpoint.model_name("org/model") == "remote:lab/org/model"


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("http://lab:8000/v1/chat/completions", "http://lab:8000/v1"),
        ("http://lab:8000/v1/chat/completions/", "http://lab:8000/v1"),
        ("http://lab:8000/v1/models", "http://lab:8000/v1"),
        ("https://lab.example/api/v1/completions", "https://lab.example/api/v1"),
        (
            "https://lab.example/openai/deployments/models/v1",
            "https://lab.example/openai/deployments/models/v1",
        ),
        ("lab:8000", "http://lab:8000"),
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("api.example.com/v1", "https://api.example.com/v1"),
        ("  https://lab/v1  ", "https://lab/v1"),
    ],
)
def test_copied_urls_become_base_urls(url: str, base_url: str) -> None:
    endpoint = resolve_target("remote:", RemoteOptions(base_url=url)).endpoint
    assert endpoint is not None
    assert endpoint.base_url == base_url


@pytest.mark.parametrize(
    "model", ["127.0.0.1:8080/m", "lab/m", "127.0.0.1:9000/m", "org/m", "m", "/models/m.gguf"]
)
def test_a_models_name_leads_back_to_its_server_whatever_it_begins_with(model: str) -> None:
    options = RemoteOptions(
        base_url="http://127.0.0.1:9000/v1", endpoints={"lab": RemoteEndpoint(base_url="http://l/v1")}
    )
    endpoint = resolve_target("remote:", options).endpoint
    assert endpoint is not None
    again = resolve_target(endpoint.model_name(model), options)
    assert again.endpoint is not None
    assert (again.endpoint.base_url, again.model) == ("http://127.0.0.1:9000/v1", model)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "header_env"),
        ({"headers": {"x-api-key": "x"}}, "header_env"),
        ({"headers": {"Host": "x"}}, "not a header"),
        ({"headers": {"a b": "x"}}, "not a header"),
        ({"headers": {"X-Title": "a\r\nEvil: 1"}}, "cannot be sent"),
        ({"header_env": {"Content-Length": "X"}}, "not a header"),
        ({"extra_body": {"messages": []}}, "messages"),
    ],
)
def test_headers_and_fields_that_an_endpoint_may_not_set_are_refused(
    more: dict[str, object], word: str
) -> None:
    lab = msgspec.convert({"base_url": "https://lab/v1", **more}, RemoteEndpoint)
    with pytest.raises(EngineError) as caught:
        resolve_target("remote:lab/", RemoteOptions(endpoints={"lab": lab}))
    assert word in caught.value.info.message + caught.value.info.cure


def test_without_a_server_none_is_assumed() -> None:
    assert resolve_target("remote:m", RemoteOptions()).endpoint is None


@pytest.mark.parametrize(
    "url", [" ", "ftp://lab", "http://", "http://lab:99999/v1", "http://[::1", "lab:99999", "::"]
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(EngineError, match="not a server address"):
        resolve_target("remote:", RemoteOptions(base_url=url))


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(EngineError) as caught:
        resolve_target("remote:", RemoteOptions(base_url="https://me:hunter2@lab/v1"))
    assert "hunter2" not in str(caught.value) + caught.value.info.cure


@pytest.mark.parametrize("url", ["https://lab/v1?api_key=hunter2", "https://lab/v1#hunter2"])
def test_a_url_that_takes_no_path_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(EngineError) as caught:
        resolve_target("remote:", RemoteOptions(base_url=url))
    assert "hunter2" not in str(caught.value) + caught.value.info.cure


@pytest.mark.parametrize("key", ["sk-a\nb", "\N{LEFT DOUBLE QUOTATION MARK}sk", "sk\x7f"])
def test_a_key_that_cannot_be_sent_is_reported_by_its_variable_and_not_repeated(key: str) -> None:
    endpoint = Endpoint(name="lab", base_url="https://lab/v1", api_key_env="LAB_KEY")
    with pytest.raises(EngineError, match="LAB_KEY") as caught:
        api_key(endpoint, {"LAB_KEY": key})
    assert "sk" not in str(caught.value) + caught.value.info.cure


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.0.0.1/v1", False),
        ("http://localhost.example/v1", False),
        ("http://127.0.0.1@lab/v1", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_that_looks_like_it(url: str, is_local: bool) -> None:
    assert is_loopback(url) is is_local


@pytest.mark.parametrize(
    ("url", "is_allowed", "is_sent"),
    [
        ("https://lab/v1", False, True),
        ("http://127.0.0.1/v1", False, True),
        ("http://lab/v1", True, True),
        ("http://lab/v1", False, False),
    ],
)
def test_a_key_is_sent_over_plain_http_only_if_configured(url: str, is_allowed: bool, is_sent: bool) -> None:
    endpoint = Endpoint(name="lab", base_url=url, api_key_env="KEY", key_over_plain_http=is_allowed)
    if is_sent:
        assert api_key(endpoint, {"KEY": "sk"}) == "sk"
    else:
        with pytest.raises(EngineError, match="plain http"):
            api_key(endpoint, {"KEY": "sk"})
    assert api_key(endpoint, {}) == ""


@pytest.mark.parametrize("host", ["a\x05b", "a\x7fb", "\u2603.\u2028"])
def test_a_host_with_characters_that_no_address_has_is_named(host: str) -> None:
    with pytest.raises(EngineError, match="is not a server address") as caught:
        Caller(Endpoint(name=host, base_url=f"http://{host}/v1"), "", connect_timeout_s=1.0)
    assert caught.value.info.kind == "endpoint_url"


@pytest.mark.parametrize(
    ("given", "base_url"),
    [
        ("HTTP://Lab:8000/v1", "http://lab:8000/v1"),
        ("//lab/v1", "http://lab/v1"),
        ("http:/lab/v1", "http://lab/v1"),
        ("https:api.lab.org/v1", "https://api.lab.org/v1"),
        ("::1", "http://[::1]"),
        ("http://lab:11434/api/generate", "http://lab:11434"),
        ("http://lab/v1/chat", "http://lab/v1"),
    ],
)
def test_a_carelessly_written_address_is_understood(given: str, base_url: str) -> None:
    assert checked_url(given) == base_url


@pytest.mark.parametrize(
    "url", ["http://la b/v1", "http://lab\\v1", "http://lab/v1/ chat", "unix:///tmp/s", "ws://lab"]
)
def test_an_invalid_address_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ModelLoadError, match="is not a server address"):
        checked_url(url)
