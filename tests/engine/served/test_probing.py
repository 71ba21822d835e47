"""Without a named server, the usual ports of this machine are probed and the servers found are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.served.raw_server import RawServer, answer, sends, silence
from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.served import probing
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.endpoint import USUAL_PORTS, Endpoint
from ttchat_tui.engine.served.probing import ProbeResult, probe


def place(server: RawServer) -> Endpoint:
    return Endpoint(name=f"127.0.0.1:{server.port}", base_url=server.url)


def probed(*servers: RawServer, model: str = "") -> ProbeResult:
    try:
        return probe(
            lambda endpoint: Caller(endpoint, "", connect_timeout_s=1.0),
            lambda: None,
            model,
            [place(server) for server in servers],
        )
    finally:
        for server in servers:
            server.close()


def test_the_first_server_with_models_is_used_and_the_others_reported() -> None:
    nobody, first, second = RawServer(), RawServer(), RawServer()
    nobody.close()
    found = probed(nobody, first, second)
    assert found.endpoint == place(first)
    assert found.elsewhere == (place(second).name,)
    assert f"{place(first).name} (1 model), {place(second).name} (1 model)" in found.note
    assert "authorization" not in first.heard[0].headers


def lists(*ids: str) -> RawServer:
    return RawServer(other=sends(answer(200, {"data": [{"id": each} for each in ids]})))


@pytest.mark.parametrize(("model", "number"), [("", 1), ("llama3.1", 2), ("nowhere", 1)])
def test_a_server_with_the_model_is_preferred_then_one_with_any(model: str, number: int) -> None:
    servers = lists(), lists("qwen3"), lists("qwen3", "llama3.1:latest")
    found = probed(*servers, model=model)
    assert found.endpoint == place(servers[number])
    assert found.elsewhere == tuple(place(each).name for each in servers if each is not servers[number])
    assert f"{place(servers[0]).name} (no models)" in found.note


def test_a_server_without_models_is_reported_if_there_is_no_other() -> None:
    page = RawServer(other=sends(answer(200, "<html>router</html>", kind="text/html")))
    locked = RawServer(other=sends(answer(401, {"error": "no"})))
    with pytest.raises(EngineError) as caught:
        probed(page, locked)
    assert caught.value.info.kind == "no_endpoint"
    assert f"{place(page).name} answers with a web page" in str(caught.value)
    assert f"{place(locked).name} wants a key" in str(caught.value)


def test_a_silent_port_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_TIMEOUT_S", 0.1)
    silent, talking = RawServer(other=silence()), RawServer()
    assert probed(silent, talking).endpoint == place(talking)


def test_the_manual_lists_the_ports_that_are_tried() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "served-models.md").read_text("utf-8").replace("\n", " ")
    *most, last = map(str, USUAL_PORTS)
    assert f"this machine's ports {', '.join(most)} and {last} in parallel" in manual


def test_the_search_is_cancelled_at_once() -> None:
    silent = RawServer(other=silence())

    def give_up() -> None:
        raise LoadCancelled("cancelled")

    with pytest.raises(LoadCancelled):
        probe(lambda endpoint: Caller(endpoint, "", connect_timeout_s=1.0), give_up, "", [place(silent)])
    silent.close()
