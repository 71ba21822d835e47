"""Repositories over HTTP, against a hub on loopback: what is fetched, resumed, verified, refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.builders import Cancelled, ignore
from tests.models.hub_server import COMMIT, FILES, REPO, WEIGHTS, Hub, serving
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.models.catalog import HuggingFace
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.hub import ATTEMPTS, fetch_repo

SOURCE = HuggingFace(repo=REPO)
HALF = len(WEIGHTS) // 2


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as hub:
        yield hub


class Fetcher:
    """`fetch_repo` with its waits noted instead of waited."""

    def __init__(self, hub: Hub, work: Path) -> None:
        self.hub = hub
        self.work = work
        self.pauses: list[float] = []
        self.environ = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(work / "no-home")}

    def __call__(self, report=ignore, **environ: str) -> Path:
        return fetch_repo(SOURCE, self.work, report, {**self.environ, **environ}, self.pauses.append)


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetcher:
    return Fetcher(hub, tmp_path / "work")


def test_only_the_files_that_a_chat_needs_are_fetched(fetch: Fetcher) -> None:
    folder = fetch()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        name: FILES[name] for name in ("config.json", "tokenizer.json", "model.safetensors")
    }


def test_all_files_come_from_one_commit(fetch: Fetcher, hub: Hub) -> None:
    fetch()
    assert hub.requests[0][0] == f"/api/models/{REPO}/revision/main"
    assert all(f"/resolve/{COMMIT}/" in path for path, _ in hub.requests[1:])


def test_progress_counts_all_files_together_then_verifies(fetch: Fetcher) -> None:
    seen: list[LoadProgress] = []
    fetch(seen.append)
    total = sum(len(FILES[name]) for name in ("config.json", "tokenizer.json", "model.safetensors"))
    downloads = [event for event in seen if event.phase == "download"]
    assert [event.done for event in downloads] == sorted(event.done for event in downloads)
    assert (downloads[-1].done, downloads[-1].total) == (total, total)
    assert seen[-1].phase == "verify"


def test_an_interrupted_transfer_resumes(fetch: Fetcher, hub: Hub) -> None:
    hub.break_after = [HALF, 100_000]
    folder = fetch()
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [headers.get("range") for headers in hub.asked("model.safetensors")] == [
        None,
        f"bytes={HALF}-",
        f"bytes={HALF + 100_000}-",
    ]


def test_a_new_pull_resumes_an_interrupted_one(fetch: Fetcher, hub: Hub) -> None:
    hub.break_after = [HALF] + [0] * ATTEMPTS
    with pytest.raises(ModelError):
        fetch()
    hub.requests.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked("config.json") == []
    assert [headers.get("range") for headers in hub.asked("model.safetensors")] == [f"bytes={HALF}-"]


def test_cancelling_keeps_the_partial_file(fetch: Fetcher, hub: Hub) -> None:
    def cancel_at_the_last_byte(progress: LoadProgress) -> None:
        if progress.done == progress.total:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(cancel_at_the_last_byte)
    assert (fetch.work / COMMIT / "model.safetensors.part").stat().st_size == len(WEIGHTS)
    hub.requests.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked("model.safetensors") == []


def test_a_server_that_ignores_ranges_sends_the_whole_again(fetch: Fetcher, hub: Hub) -> None:
    hub.break_after = [HALF]
    hub.honours_ranges = False
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_it_gives_up_without_new_bytes_and_keeps_the_partial_file(fetch: Fetcher, hub: Hub) -> None:
    hub.break_after = [HALF] + [0] * (ATTEMPTS + 1)
    with pytest.raises(ModelError, match="failed 5 times") as caught:
        fetch()
    assert caught.value.info.kind == "download_failed"
    assert f"`ttchat-tui models pull {REPO}` resumes" in caught.value.info.cure
    assert (fetch.work / COMMIT / "model.safetensors.part").stat().st_size == HALF
    assert sum(fetch.pauses) < 15


def test_a_partial_file_that_is_too_long_is_deleted(fetch: Fetcher) -> None:
    part = fetch.work / COMMIT / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(WEIGHTS) + 1))
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_files_of_another_commit_are_deleted(fetch: Fetcher) -> None:
    old = fetch.work / "0ld"
    old.mkdir(parents=True)
    (old / "model.safetensors.part").write_bytes(b"old")
    fetch()
    assert not old.exists()


def test_weights_with_a_wrong_hash_are_refused_and_deleted(fetch: Fetcher, hub: Hub) -> None:
    hub.lies = True
    with pytest.raises(
        ModelError, match=r"hash of model\.safetensors is not the one that the hub lists"
    ) as caught:
        fetch()
    assert caught.value.info.kind == "model_broken"
    assert not (fetch.work / COMMIT / "model.safetensors").exists()
    hub.lies = False
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_small_file_is_verified_by_gits_hash(fetch: Fetcher) -> None:
    left = fetch.work / COMMIT / "config.json"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"!" * len(FILES["config.json"]))
    with pytest.raises(ModelError, match=r"hash of config\.json is not the one that the hub lists"):
        fetch()


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_names_the_licence_page_and_the_token(
    fetch: Fetcher, hub: Hub, status: int
) -> None:
    hub.status, hub.error_code = status, "GatedRepo"
    with pytest.raises(ModelError, match="gated") as caught:
        fetch()
    assert caught.value.info.kind == "model_gated"
    for needed in (f"{hub.endpoint}/{REPO}", "HF_TOKEN", "hf auth login"):
        assert needed in caught.value.info.cure


@pytest.mark.parametrize(("status", "code"), [(404, ""), (401, "RepoNotFound"), (404, "RevisionNotFound")])
def test_a_missing_repository_is_unknown(fetch: Fetcher, hub: Hub, status: int, code: str) -> None:
    hub.status, hub.error_code = status, code
    with pytest.raises(ModelError, match=REPO) as caught:
        fetch()
    assert caught.value.info.kind == "model_unknown"


def test_a_passing_server_error_is_retried(fetch: Fetcher, hub: Hub) -> None:
    hub.failures = ATTEMPTS - 1
    assert (fetch() / "config.json").exists()
    assert len(fetch.pauses) == ATTEMPTS - 1


def test_a_lasting_server_error_ends_the_pull(fetch: Fetcher, hub: Hub) -> None:
    hub.failures = 1000
    with pytest.raises(ModelError) as caught:
        fetch()
    assert caught.value.info.kind == "download_failed"


def test_an_endpoint_that_is_no_hub_is_reported(fetch: Fetcher, hub: Hub) -> None:
    hub.listing = lambda: b"<html>Log in to the Wi-Fi</html>"  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="did not answer like the hub"):
        fetch()


def test_no_hub_at_all_counts_as_offline(fetch: Fetcher) -> None:
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        fetch(HF_ENDPOINT="http://127.0.0.1:9")
    assert caught.value.info.kind == "offline"


def test_the_hub_is_not_asked_when_the_user_forbids_it(fetch: Fetcher, hub: Hub) -> None:
    with pytest.raises(ModelError) as caught:
        fetch(HF_HUB_OFFLINE="1")
    assert caught.value.info.kind == "offline"
    assert hub.requests == []


def test_a_repository_without_safetensors_is_refused_before_anything_is_fetched(
    fetch: Fetcher, hub: Hub
) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelError, match="no safetensors") as caught:
        fetch()
    assert ".gguf" in caught.value.info.cure
    assert len(hub.requests) == 1


@pytest.mark.parametrize(
    "name", ["../tokenizer.json", "/etc/tokenizer.json", ".tokenizer.json", "a/config.json"]
)
def test_a_name_outside_the_folder_is_never_fetched(fetch: Fetcher, hub: Hub, name: str) -> None:
    hub.files[name] = b"evil"
    folder = fetch()
    assert len(list(folder.iterdir())) == 3
    assert len(hub.requests) == 4


def test_an_empty_file_is_a_file(fetch: Fetcher, hub: Hub) -> None:
    hub.files["added_tokens.json"] = b""
    assert (fetch() / "added_tokens.json").read_bytes() == b""
    assert fetch.pauses == []


@pytest.mark.parametrize("kept_in", ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME"])
def test_the_users_token_is_sent_to_the_hub(fetch: Fetcher, hub: Hub, tmp_path: Path, kept_in: str) -> None:
    file = tmp_path / "token"
    file.write_text("hf_made_up\n")
    where = {"HF_TOKEN": "hf_made_up", "HF_TOKEN_PATH": str(file), "HF_HOME": str(tmp_path)}
    fetch(**{kept_in: where[kept_in]})
    assert {headers.get("authorization") for _, headers in hub.requests} == {"Bearer hf_made_up"}


def test_the_token_is_not_sent_to_where_the_hub_redirects(fetch: Fetcher, hub: Hub) -> None:
    with serving(Hub()) as storage:
        hub.redirect_to = storage.endpoint
        folder = fetch(HF_TOKEN="hf_made_up")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [headers.get("authorization") for _, headers in storage.requests] == [None]


def test_without_a_token_none_is_sent(fetch: Fetcher, hub: Hub) -> None:
    fetch()
    assert all("authorization" not in headers for _, headers in hub.requests)
