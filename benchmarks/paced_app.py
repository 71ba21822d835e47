"""The app as `ttchat_tui.cli.chat` builds it, with the paced engine in a separate process."""

from __future__ import annotations

import os
import sys

from benchmarks.paced_engine import FACTORY
from tests.fakes import prepare_scripted
from ttchat_tui.cli import terminal
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.schema import Config
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.opening import open_store
from ttchat_tui.ui import launch

MAX_TOKENS = 100_000


def main() -> int:
    paths = find_paths(os.environ)
    paths.log_file.parent.mkdir(parents=True, exist_ok=True)
    engine = IsolatedEngine(paths.engine_log_file, factory=FACTORY)
    host = EngineHost(engine, prepare_scripted)
    store = open_store(paths.database)
    host.start()
    host.load("paced")
    session = ChatSession(
        store, host, model="paced", default_sampling=lambda _: SamplingParams(max_tokens=MAX_TOKENS)
    )
    app = launch.build(session, Config(), paths, UiState())
    try:
        with terminal.captured(paths.log_file):
            app.run()
        return int(app.return_code or 0)
    finally:
        session.close()
        host.shutdown()
        store.close()


if __name__ == "__main__":
    sys.exit(main())
