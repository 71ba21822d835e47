"""Names of models on the hub, as users type or paste them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from ttchat_tui.models.catalog import CatalogEntry, HubGguf, entry_for_repo
from ttchat_tui.models.gguf_names import is_plain, quantisation_of

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME: Final = re.compile(
    rf"(?P<repo>{_PART}/{_PART})(?::(?P<tag>[A-Za-z0-9_-]+)|/(?P<file>.+\.gguf))?", re.DOTALL
)
_ADDRESS: Final = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/|hf:(?://)?", re.IGNORECASE)
_BRANCH: Final = re.compile(r"/(?:blob|resolve)/(?P<revision>[^/]+)/")


def entry_for_hub_name(name: str) -> CatalogEntry | None:
    """The entry of `org/repo`, `org/repo:Q4_K_M`, `org/repo/file.gguf`, or of the hub's address of one; None for any other
    text."""
    bare = name.rstrip("/")
    if _ADDRESS.match(name):
        bare = unquote(_ADDRESS.sub("", name, count=1).split("?")[0]).rstrip("/")
    branch = _BRANCH.search(bare)
    revision = branch["revision"] if branch else "main"
    match = _NAME.fullmatch(_BRANCH.sub("/", bare, count=1))
    if match is None or not is_plain(match["file"] or "file"):
        return None
    repo, tag, file = match["repo"], (match["tag"] or "").upper(), match["file"] or ""
    tag = "" if tag == "LATEST" else tag  # As Ollama calls a model without a tag.
    if not tag and not file:
        return entry_for_repo(repo, revision)
    alias = f"{repo}:{tag}" if tag else f"{repo}/{file}"
    return CatalogEntry(
        alias=alias,
        name=file.rpartition("/")[2] or f"{repo.rpartition('/')[2]}:{tag}",
        sources=(
            HubGguf(repo=repo, revision=revision, file=file, quantisation=tag or quantisation_of(file)),
        ),
    )
