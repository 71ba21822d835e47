"""The headless chat on a scripted engine: as a session for tests, and as a program for what takes a process.

As a program: `python -m tests.cli.headless.scripted_chat OUTPUT [PROMPT]` (no prompt: the REPL), the script in its
environment, conversations in TTCHAT_DATA_DIR.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tests.fakes import SCRIPT_VARIABLE, Gate, Script, scripted_host
from ttchat_tui.cli.headless import run
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.config.paths import find_paths
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.search.thread import SearchThread


@contextmanager
def scripted_session(
    script: Script | None = None,
    gate: Gate | None = None,
    *,
    store: ConversationStore,
    model: str = "scripted",
    has_search: bool = False,
) -> Iterator[ChatSession]:
    """A session whose model is loading; everything is ended afterwards, as the composition root does it."""
    host = scripted_host(script, gate)
    host.start()
    try:
        host.load(model)
        search = (lambda: SearchThread(lambda: store.file)) if has_search else None
        session = ChatSession(store, host, model=model, search=search)
        try:
            yield session
        finally:
            session.close()
    finally:
        host.shutdown(force=True)


def invocation(prompt: str | None, output: str = "text", **changes: object) -> Invocation:
    """A call of the program with these arguments, in the test's own folders."""
    plain = Invocation(
        flags={},
        config_file=None,
        paths=find_paths(os.environ),
        prompt=prompt,
        output=output,
        save=True,
        resume=False,
        plain=prompt is None,
    )
    return msgspec.structs.replace(plain, **changes)


def main() -> int:
    script = msgspec.json.decode(os.environ.get(SCRIPT_VARIABLE, "{}"), type=Script)
    called = invocation(sys.argv[2] if len(sys.argv) > 2 else None, sys.argv[1])
    store = open_store(called.paths.database)
    try:
        with scripted_session(script, store=store) as session:
            return run(session, called)
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
