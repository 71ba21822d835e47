"""A hub that answers oddly: a pull or a search ends in words, and takes no more memory or disk than was listed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.hub_server import COMMIT, REPO, WEIGHTS, Hub, serving
from tests.size import sized
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.models import hub as hub_module
from ttchat_tui.models.catalog import HubGguf
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.hub import fetch_repo
from ttchat_tui.models.hub_search import search

GGUF = b"GGUF" + WEIGHTS
FILE = f"/{REPO}/resolve/{COMMIT}/toy-Q4_0.gguf"
LISTING = f"/api/models/{REPO}/"
OK: dict[str, str] = {}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(files={"toy-Q4_0.gguf": GGUF})) as hub:
        yield hub


def environ(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}


def pull(hub: Hub, tmp_path: Path) -> Path:
    def ignore(_: LoadProgress) -> None: ...

    source = HubGguf(repo=REPO, quantisation="Q4_0")
    return fetch_repo(source, tmp_path / "work", ignore, environ(hub, tmp_path), lambda _: None)


BODIES = [
    b"", b"null", b"{}", b"[]", b"<html>Log in</html>", b"\xff\xfe", b"[" * 100_000, b'{"sha": 3}', b'{"sha": "x", "siblings": {}}',
    b'{"sha": "x", "siblings": [{}]}', b'{"sha": "x", "siblings": [{"rfilename": 3}]}',
    b'{"sha": "x", "siblings": [{"rfilename": "a.gguf", "size": "big"}]}',
    b'{"sha": "x", "siblings": [{"rfilename": "a.gguf", "size": -5}]}',
    b'{"sha": "x", "siblings": [{"rfilename": "../../a-Q4_0.gguf", "size": 5}]}',
    b'{"sha": "x", "siblings": [{"rfilename": "a-Q4_0.gguf", "size": 1' + b"0" * 30 + b"}]}",
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_an_odd_listing_ends_a_pull_in_words(body: bytes, hub: Hub, tmp_path: Path) -> None:
    hub.answers[LISTING] = (200, body, OK)
    with pytest.raises(ModelError) as caught:
        pull(hub, tmp_path)
    assert str(caught.value)
    assert hub.asked("toy-Q4_0.gguf") == []


ANSWERS = [
    (status, body, headers)
    for status in (200, 204, 206, 301, 304, 400, 401, 403, 404, 408, 416, 418, 451)
    for body in (b"", b"short", GGUF + b"more")
    for headers in (OK, {"Content-Range": "bytes 7-9/3"}, {"Location": "/"}, {"Content-Encoding": "gzip"})
]


def test_an_odd_answer_for_a_file_ends_a_pull_in_words(hub: Hub, tmp_path: Path) -> None:
    draw = random.Random(5)
    for answer in draw.sample(ANSWERS, sized(24, len(ANSWERS))):
        hub.answers[FILE] = answer
        with pytest.raises(ModelError):
            pull(hub, tmp_path)
    hub.answers.clear()
    assert (pull(hub, tmp_path) / "toy-Q4_0.gguf").read_bytes() == GGUF


def test_a_transfer_without_end_takes_no_more_of_the_disk_than_was_listed(hub: Hub, tmp_path: Path) -> None:
    hub.is_endless = True
    with pytest.raises(ModelError, match="failed 5 times"):
        pull(hub, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.part")) < 2 * len(GGUF)


def test_a_listing_without_end_takes_no_more_memory_than_a_listing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_LONGEST_ANSWER", 2**16)
    hub.answers[LISTING] = (200, b" " * 2**20, OK)
    with pytest.raises(ModelError, match="did not answer like the hub"):
        pull(hub, tmp_path)


SEARCHES = [b"", b"{}", b"null", b'[{"id": 3}]', b"[{}]", b"<html>", b"[" * 100_000, b"\xff"]


@pytest.mark.parametrize("body", SEARCHES, ids=range(len(SEARCHES)))
def test_an_odd_answer_to_a_search_ends_in_words(body: bytes, hub: Hub, tmp_path: Path) -> None:
    hub.answers["/api/models"] = (200, body, OK)
    with pytest.raises(ModelError, match="did not answer like the hub"):
        list(search("toy", environ(hub, tmp_path)))


@pytest.mark.parametrize("body", BODIES[:12], ids=range(12))
def test_a_search_goes_on_after_a_repository_with_an_odd_listing(
    body: bytes, hub: Hub, tmp_path: Path
) -> None:
    hits = [{"id": "odd/\x1b[2J/../x"}, {"id": "odd/one"}, {"id": REPO}]
    hub.answers[LISTING] = (200, hub.listing(), OK)
    hub.answers["/api/models/odd"] = (200, body, OK)
    hub.answers["/api/models"] = (200, json.dumps(hits).encode(), OK)
    assert [model.name for model in search("toy", environ(hub, tmp_path))] == [f"{REPO}:Q4_0"]
