"""Text that cannot be kept at the end is printed as written."""

from __future__ import annotations

import os
import threading

import pytest

from tests.fakes import Script, ScriptedEngine
from ttchat_tui.cli import chat
from ttchat_tui.cli.invocation import bare_invocation
from ttchat_tui.config.load import load_config
from ttchat_tui.signals import EndingSignals
from ttchat_tui.storage.drafts import StoredDrafts
from ttchat_tui.storage.errors import not_found


def test_a_draft_that_cannot_be_stored_is_printed_with_its_lines_and_without_a_cure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invocation = bare_invocation(os.environ)
    config = load_config(invocation.paths, environ=os.environ)
    screen_ready = threading.Event()
    screen_ready.set()

    def refuse(*_: object) -> None:
        raise not_found("This conversation")

    monkeypatch.setattr(StoredDrafts, "set", refuse)
    with (
        EndingSignals() as ending,
        chat.open_session(
            invocation, config, "no-such-model", ScriptedEngine(Script()), screen_ready, ending
        ) as session,
    ):
        session.save_draft("def f():\n    return 1\n\n\x1b[2J  please fix")
    assert capsys.readouterr().err == (
        "ttchat-tui: This conversation no longer exists: it was deleted, perhaps in another window. "
        "This was written and not sent:\n"
        "def f():\n    return 1\n\n␛[2J  please fix\n"
    )
