"""Tokenizers on this machine, to count a served model's tokens with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ttchat_tui.models import hub_settings
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.library import installed


def local_tokenizers(models_dir: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Model id in lower case → a folder with tokenizer.json, or a .gguf file.

    Ids are hub ids, and a catalog model's other names. A model in the hub's cache needs only its tokenizer.
    """
    found: dict[str, str] = {}
    for repo in hub_settings.cached_repos(environ):
        snapshot = hub_settings.cached_snapshot(repo, "main", environ)
        if snapshot is not None and (snapshot / "tokenizer.json").is_file():
            found[repo.lower()] = str(snapshot)
    for row in installed(models_dir, environ):
        if row.path is None or (row.path.is_dir() and not (row.path / "tokenizer.json").is_file()):
            continue
        entry = catalog().find(row.name)
        names = (entry.alias, entry.name, *entry.repos) if entry else (row.name,)
        found |= {name.lower(): str(row.path) for name in names}
    return found
