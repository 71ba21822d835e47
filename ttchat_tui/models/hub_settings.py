"""Settings of the Hugging Face Hub, as its own clients read them: endpoint, token, cache folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ttchat_tui.domain.user_paths import expanded, home

DEFAULT_ENDPOINT = "https://huggingface.co"


def endpoint(environ: Mapping[str, str]) -> str:
    """Base URL of the hub, without a slash at its end; HF_ENDPOINT names a mirror."""
    return (environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether HF_HUB_OFFLINE forbids asking the hub."""
    return environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}


def token(environ: Mapping[str, str]) -> str | None:
    """The user's token from HF_TOKEN, or from the file that `hf auth login` writes; None without one."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if value := environ.get(name, "").strip():
            return value
    path = environ.get("HF_TOKEN_PATH")
    try:
        return (expanded(path) if path else _home(environ) / "token").read_text("utf-8").strip() or None
    except (OSError, ValueError):
        return None


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The cache folder of the hub's own clients. It need not exist."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := environ.get(name):
            return expanded(value)
    return _home(environ) / "hub"


def cached_snapshot(repo: str, revision: str, environ: Mapping[str, str]) -> Path | None:
    """The folder of `repo` at `revision` in the hub's cache; None if there is none. It may be incomplete.

    Layout: `models--org--name/refs/<revision>` holds a commit, `models--org--name/snapshots/<commit>/` its files.
    """
    base = cache_folder(environ) / f"models--{repo.replace('/', '--')}"
    try:
        commit = (base / "refs" / revision).read_text("utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = base / "snapshots" / commit
    return snapshot if os.path.isdir(snapshot) else None


def cached_repos(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The hub ids that the hub's cache has a folder for, sorted."""
    folders = cache_folder(environ).glob("models--*--*")
    return tuple(sorted(folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders))


def _home(environ: Mapping[str, str]) -> Path:
    if named := environ.get("HF_HOME"):
        return expanded(named)
    cache = environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else home() / ".cache") / "huggingface"
