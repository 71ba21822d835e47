"""Which server, which model, which key."""

from __future__ import annotations

import pytest

from ttchat_tui.domain.model_spec import RemoteEndpoint, RemoteOptions
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.remote.endpoint import Endpoint, api_key, is_loopback, wanted

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
def test_a_name_says_the_server_and_the_model(name: str, server: str, model: str) -> None:
    want = wanted(name, LAB)
    assert want.endpoint is not None
    assert (want.endpoint.name, want.model) == (server, model)


def test_a_named_endpoint_has_its_own_key_and_its_own_models_names() -> None:
    endpoint = wanted("remote:lab/x", LAB).endpoint
    assert endpoint is not None
    assert endpoint.api_key_env == "LAB_KEY"
    assert endpoint.model_name("org/model") == "remote:lab/org/model"


def test_without_a_server_none_is_assumed() -> None:
    assert wanted("remote:m", RemoteOptions()).endpoint is None


@pytest.mark.parametrize("url", ["lab:8000", "ftp://lab", "http://", "http://lab:99999/v1", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(EngineError, match="no address"):
        wanted("remote:", RemoteOptions(base_url=url))


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(EngineError) as caught:
        wanted("remote:", RemoteOptions(base_url="https://me:hunter2@lab/v1"))
    assert "hunter2" not in str(caught.value) + caught.value.info.cure


@pytest.mark.parametrize("url", ["https://lab/v1?api_key=hunter2", "https://lab/v1#hunter2"])
def test_a_url_that_nothing_can_be_put_behind_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(EngineError) as caught:
        wanted("remote:", RemoteOptions(base_url=url))
    assert "hunter2" not in str(caught.value) + caught.value.info.cure


@pytest.mark.parametrize("key", ["sk-a\nb", "\N{LEFT DOUBLE QUOTATION MARK}sk", "sk\x7f"])
def test_a_key_that_cannot_be_sent_is_told_by_its_variable_and_not_repeated(key: str) -> None:
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
def test_a_key_crosses_the_network_in_the_open_only_by_order(
    url: str, is_allowed: bool, is_sent: bool
) -> None:
    endpoint = Endpoint(name="lab", base_url=url, api_key_env="KEY", key_over_plain_http=is_allowed)
    if is_sent:
        assert api_key(endpoint, {"KEY": "sk"}) == "sk"
    else:
        with pytest.raises(EngineError, match="plain http"):
            api_key(endpoint, {"KEY": "sk"})
    assert api_key(endpoint, {}) == ""
