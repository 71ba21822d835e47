"""A conversation that moves from a local engine to a server and back. Each reply records its engine."""

from __future__ import annotations

from pathlib import Path

from tests.engine.served.raw_server import RawServer, end, said, stream
from tests.fakes import SCRIPTED, EventRecorder, Script
from ttchat_tui.domain.events import EngineLoaded, GenerationFinished, ProgressReporter
from ttchat_tui.domain.model_spec import ModelSpec, RemoteEndpoint, RemoteOptions
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.opening import open_store


def test_each_reply_of_a_conversation_records_engine_endpoint_and_model(tmp_path: Path) -> None:
    server = RawServer(stream(said("from afar"), end("stop")))
    options = RemoteOptions(endpoints={"lab": RemoteEndpoint(base_url=server.url)})

    def prepare(name: str, _report: ProgressReporter) -> ModelSpec:
        return ModelSpec(engine="remote" if name.startswith("remote:") else "cpu", name=name, options=options)

    script = Script(replies=("from here",))
    isolated = IsolatedEngine(tmp_path / "log", factory=SCRIPTED, environment=script.environment())
    host = EngineHost(SwitchingEngine(lambda _kind: ServedEngine({}), isolated), prepare)
    store = open_store(tmp_path / "db")
    session = ChatSession(store, host, model="scripted")
    recorder = EventRecorder(host)
    host.start()
    seen = 0
    try:
        for name in ("scripted", "remote:lab/m", "scripted"):
            session.load(name)
            recorder.until(EngineLoaded)
            session.submit("who?")
            recorder.until(GenerationFinished)
            for event in recorder.events[seen:]:
                session.apply(event)
            seen = len(recorder.events)
        records = [message.reply for message in session.path if message.reply]
        texts = [message.content for message in session.path if message.reply]
    finally:
        session.close()
        host.shutdown()
        store.close()
        server.close()
    assert texts == ["from here", "from afar", "from here"]
    assert [record.model for record in records] == ["scripted", "m", "scripted"]
    assert [record.engine for record in records] == ["scripted", "remote vLLM @ lab", "scripted"]
    assert [message["content"] for message in server.chats[0].json["messages"]] == [
        "who?",
        "from here",
        "who?",
    ]
