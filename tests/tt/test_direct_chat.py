"""examples/direct_chat.py over real ttnn, the checkout's Generator and a mock card that computes, as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.tt.conftest import CARDS, shadow_card
from ttchat_tui.domain.text import VisibleReply

SCRIPT: Final = Path(__file__).parents[2] / "examples" / "direct_chat.py"
LINES: Final = ("Hello card", "Go on, please")
TOKENS: Final = 12


@pytest.mark.timeout(400)
def test_it_answers_two_turns_as_the_engine_in_the_app_does(checkout: Path, tmp_path: Path) -> None:
    from tests.tt.torch_ttnn.card import (
        Card,
        request_for,
    )  # torch is not in every venv that collects this file
    from tests.tt.torch_ttnn.small_models import LLAMA, write_model

    folder = write_model(tmp_path / "models", LLAMA)
    card = Card(checkout, tmp_path)
    card.load(folder, 1024)
    turns: list[str] = []
    expected = f"{folder.name} is ready (tt S5 performance, 1,024 tokens).\n"
    for line in LINES:
        turns.append(line)
        reply, found = card.reply(request_for(*turns, tokens=TOKENS))
        assert found.wrong == 0, str(found)
        turns.append(reply.text)
        shown = VisibleReply()
        expected += f"> {shown.feed(reply.text)}{shown.end()}\n"
    card.engine.close()

    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), "--temperature", "0", "--max-tokens", str(TOKENS)],
        input="\n".join(LINES),
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **shadow_card(CARDS[0]),
            "TT_LOGGER_LEVEL": "",  # As on a user's machine.
            "TT_METAL_HOME": str(checkout),
            "TTCHAT_TT__TRACE": "false",  # The mock cannot record.
            "TTCHAT_TT__CACHE_DIR": str(tmp_path / "cache"),
            "TTCHAT_MODEL__CONTEXT_LENGTH": "1024",
        },
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{expected}> \n"
