"""The terminal obeys no text of others, on any path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.hostile import SEQUENCES, obeyed
from tests.cli.hostile_ways import WAYS, Ground, HostileServer
from tests.cli.starter import Starter, starting
from tests.engine.cpu.native_kernel import lend_kernel
from tests.engine.short_model import shorten
from tests.size import sized

TEXTS: Final = sized(6, 2000)
"""For each way."""


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    with starting() as one:
        yield one


@pytest.fixture
def ground(starter: Starter, own_folders: Path) -> Iterator[Ground]:
    server = HostileServer()
    yield Ground(starter, server, own_folders)
    server.raw.close()


@pytest.mark.timeout(60 + 2 * TEXTS)
@pytest.mark.parametrize("way", WAYS)
def test_the_terminal_obeys_no_text_of_others(ground: Ground, way: str) -> None:
    found: list[str] = []
    received = 0
    run, at_once = WAYS[way]
    for seed in range(0, TEXTS, at_once):
        ran = run(ground, seed)
        received += len(ran.both)
        faults = obeyed(ran.stdout) + obeyed(ran.stderr, is_redrawn=True)
        if b"Traceback" in ran.both or b"an internal error" in ran.both:
            faults.append(f"a bug: {ran.both[-600:]!r}")
        if b"\nttchat-tui: all is well." in b"\n" + ran.stderr:
            faults.append(f"a line of its own: {ran.stderr!r}")
        if ran.code not in (0, 1, 2):
            faults.append(f"exit code {ran.code}")
        found += [f"{way} {seed}: {fault}" for fault in faults]
    print(f"{way}: {TEXTS} texts, {received:,} bytes to the terminal, {len(found)} faults")
    assert not found, "\n".join(found[:30])


@pytest.mark.timeout(180)
def test_a_models_template_and_folder_are_shown_and_have_no_effect(
    ground: Ground, default_model_path: Path
) -> None:
    words = "".join(SEQUENCES[1::3]).replace("\n", "").replace("\r", "")
    lend_kernel(ground.folder / "cache")
    folder = ground.folder / "\x1b[2J\x9b31m\u202e"
    folder.mkdir()
    template = "{{ raise_exception(" + json.dumps(words) + ") }}"
    model = shorten(default_model_path, folder / "m.gguf", tokenizer__chat_template=template)
    ran = ground.starter.run("-p", "hi", "-m", str(model), timeout_s=120)
    assert ran.code == 1, ran
    assert "␛]0;title␇".encode() in ran.stderr, ran
    assert obeyed(ran.stdout) + obeyed(ran.stderr, is_redrawn=True) == []
