"""Search of the hub for repositories with .gguf files, with the sizes of their models.

API: https://huggingface.co/docs/hub/api (GET /api/models; its listings have no sizes, so each repository is asked too).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.models import hub_settings
from ttchat_tui.models.catalog import HubGguf
from ttchat_tui.models.errors import ModelError, UnexpectedAnswer
from ttchat_tui.models.gguf_names import is_plain, models_among, quantisation_of
from ttchat_tui.models.hub import Session, connected
from ttchat_tui.models.hub_names import entry_for_hub_name

REPOSITORIES: Final = 8
"""The most that are listed: each costs a request."""


class HubModel(msgspec.Struct, frozen=True):
    """A model of a repository on the hub."""

    name: str
    """What --model takes."""
    quantisation: str
    size_bytes: int
    """Of all its files."""


class _Hit(msgspec.Struct, frozen=True):
    id: str


def search(text: str, environ: Mapping[str, str], limit: int = REPOSITORIES) -> Iterator[HubModel]:
    """The models of the most downloaded repositories that match `text`, repository by repository, small ones first.

    Raises:
        ModelError: `offline`, `download_failed`.
    """
    if hub_settings.is_offline(environ):
        raise ModelError(
            "HF_HUB_OFFLINE forbids asking the hub.", kind="offline", cure="Unset it for this command."
        )
    with connected(environ) as session_for:
        for hit in _hits(session_for(HubGguf(repo="the/search")), text, limit):
            if entry_for_hub_name(hit.id) is None:
                continue
            session = session_for(HubGguf(repo=hit.id))
            try:
                with session.naming_failures():
                    listing = session.repository()
            except UnexpectedAnswer:
                continue
            except ModelError as error:
                if error.info.kind in ("model_gated", "model_unknown"):
                    continue  # nothing of it can be fetched
                raise
            sizes = {file.rfilename: file.size for file in listing.siblings if is_plain(file.rfilename)}
            yield from sorted(_models_of(hit.id, sizes), key=lambda model: (model.size_bytes, model.name))


def _hits(session: Session, text: str, limit: int) -> list[_Hit]:
    endpoint = session.endpoint
    query = {"search": text, "filter": "gguf", "sort": "downloads", "direction": "-1", "limit": str(limit)}
    try:
        with session.naming_failures():
            answer = session.get(f"{endpoint}/api/models", query)
    except ModelError as error:
        if error.info.kind in ("model_unknown", "model_gated"):
            raise ModelError(f"{endpoint} has no search.", kind="download_failed") from error
        raise
    try:
        hits = msgspec.json.decode(answer, type=decodable(list[_Hit]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedAnswer(
            f"{endpoint} did not answer like the hub ({error}).", kind="download_failed"
        ) from error
    return hits[:limit]


def _models_of(repo: str, sizes: Mapping[str, int]) -> Iterator[HubModel]:
    models = models_among(sizes)
    quantisations = [quantisation_of(first) for first in models]
    for first, files in models.items():
        quantisation = quantisation_of(first)
        is_enough = quantisation and quantisations.count(quantisation) == 1
        name = f"{repo}:{quantisation}" if is_enough else f"{repo}/{first}"
        yield HubModel(name, quantisation, sum(sizes[file] for file in files))
