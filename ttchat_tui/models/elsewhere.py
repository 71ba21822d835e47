"""Models that other programs downloaded: they are listed and loaded where they are, never copied, changed or deleted.

Layouts, as these programs write them:
Hugging Face: `models--org--name/snapshots/<commit>/…`.
LM Studio: `<models>/publisher/repository/file.gguf`; `downloadsFolder` of its settings.json names another `<models>`.
llama.cpp: `<cache>/org_repository_file.gguf` (common/download.cpp); newer versions use the Hugging Face cache.
Ollama: `<models>/manifests/<host>/<namespace>/<model>/<tag>` is JSON; its layer of the type
`application/vnd.ollama.image.model` names `<models>/blobs/sha256-…`, a GGUF file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.shards import shards_of
from ttchat_tui.domain.special_files import open_regular
from ttchat_tui.domain.user_paths import expanded, home
from ttchat_tui.models import hub_settings
from ttchat_tui.models.catalog import HubGguf
from ttchat_tui.models.gguf_names import choose, models_among
from ttchat_tui.models.weights import find_weights

Program: TypeAlias = Literal["Hugging Face cache", "LM Studio", "llama.cpp", "Ollama"]

_PREFIXES: Final[dict[str, Program]] = {
    "lmstudio:": "LM Studio",
    "llama.cpp:": "llama.cpp",
    "ollama:": "Ollama",
}
"""Begins of the names of such models, as `--model` takes them. Those of the Hugging Face cache have their name on the hub."""

_OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
_OLLAMA_ADAPTER: Final = "application/vnd.ollama.image.adapter"
_OLLAMA_HOST: Final = "registry.ollama.ai"
_LARGEST_MANIFEST: Final = 2**20
"""Bytes. Ollama's have one or two thousand."""
_DEEPEST: Final = 6
"""Levels of folders below one of LM Studio's or of a snapshot that are searched."""


class FoundModel(msgspec.Struct, frozen=True):
    """A model of another program."""

    name: str
    """What --model takes."""
    path: Path
    program: Program


class _LmStudioSettings(msgspec.Struct, frozen=True):
    downloads_folder: str = msgspec.field(default="", name="downloadsFolder")


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str = ""
    digest: str = ""


class _Manifest(msgspec.Struct, frozen=True):
    layers: tuple[_Layer, ...] = ()


def found_elsewhere(environ: Mapping[str, str]) -> list[FoundModel]:
    """All of them, program by program. What cannot be read, is incomplete or holds no model to chat with is left out."""
    every = (*_hugging_face(environ), *_lm_studio(environ), *_llama_cpp(environ), *_ollama(environ))
    return list({found.name: found for found in reversed(every)}.values())[::-1]


def find_elsewhere(name: str, environ: Mapping[str, str]) -> FoundModel | None:
    """The model that `name` means, such as `ollama:qwen2.5:0.5b`; None if there is none."""
    if not is_elsewhere(name):
        return None
    wanted = name.removesuffix(":latest")
    return next((found for found in found_elsewhere(environ) if found.name in (name, wanted)), None)


def is_elsewhere(name: str) -> bool:
    """Whether `name` begins like the name of another program's model."""
    return name.startswith(tuple(_PREFIXES))


def copy_of(source: HubGguf, environ: Mapping[str, str]) -> Path | None:
    """The file of `source` that the Hugging Face cache, LM Studio or llama.cpp has; None without one."""
    for folder in (*_snapshots(source.repo, source.revision, environ),
                   *(root / source.repo for root in _lm_studio_folders(environ))):  # fmt: skip
        names = [path.relative_to(folder).as_posix() for path in _ggufs_below(folder)]
        try:
            first = choose(names, file=source.file, quantisation=source.quantisation)[0]
        except ValueError:
            continue
        if (path := _model_at(folder / first)) is not None:
            return path
    if not source.file:
        return None
    return _model_at(_llama_cpp_folder(environ) / f"{source.repo}/{source.file}".replace("/", "_"))


def program_of(path: Path, environ: Mapping[str, str]) -> Program:
    """The program whose folder `path` is in; the Hugging Face cache for any other."""
    if path.is_relative_to(_llama_cpp_folder(environ)):
        return "llama.cpp"
    is_lm_studios = any(path.is_relative_to(folder) for folder in _lm_studio_folders(environ))
    return "LM Studio" if is_lm_studios else "Hugging Face cache"


def _hugging_face(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    """GGUF files of snapshots with several models; of one model the repository's own name is enough."""
    for repo in hub_settings.cached_repos(environ):
        for snapshot in _snapshots(repo, "main", environ):
            names = models_among(path.relative_to(snapshot).as_posix() for path in _ggufs_below(snapshot))
            for name in names:
                if (path := _model_at(snapshot / name)) is not None:
                    yield FoundModel(f"{repo}/{name}", path, "Hugging Face cache")


def _lm_studio(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    for root in _lm_studio_folders(environ):
        for path in _ggufs_below(root):
            if path == shards_of(path)[0] and (model := _model_at(path)) is not None:
                yield FoundModel(f"lmstudio:{path.relative_to(root).as_posix()}", model, "LM Studio")


def _llama_cpp(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    folder = _llama_cpp_folder(environ)
    for path in _ggufs_below(folder, deepest=1):
        if path == shards_of(path)[0] and (model := _model_at(path)) is not None:
            yield FoundModel(f"llama.cpp:{path.name}", model, "llama.cpp")


def _ollama(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    for root in _ollama_folders(environ):
        manifests = root / "manifests"
        for file in _files_below(manifests):
            name, path = _ollama_name(file.relative_to(manifests).parts), _ollama_blob(file, root)
            if name and path is not None and (model := _model_at(path)) is not None:
                yield FoundModel(f"ollama:{name}", model, "Ollama")


def _ollama_name(parts: tuple[str, ...]) -> str:
    """`qwen2.5:0.5b` for (`registry.ollama.ai`, `library`, `qwen2.5`, `0.5b`), as `ollama list` shows it but without
    `:latest`; empty for another file."""
    if len(parts) != len(("host", "namespace", "model", "tag")):
        return ""
    host, namespace, model, tag = parts
    before = "" if host == _OLLAMA_HOST else f"{host}/"
    before += "" if host == _OLLAMA_HOST and namespace == "library" else f"{namespace}/"
    return f"{before}{model}" + ("" if tag == "latest" else f":{tag}")


def _ollama_blob(manifest: Path, root: Path) -> Path | None:
    """The weights of a manifest; None without them, and for a model in several blobs or with an adapter: one of them alone is
    another model."""
    try:
        layers = msgspec.json.decode(_small_text(manifest), type=decodable(_Manifest)).layers
    except (msgspec.DecodeError, RecursionError):
        return None
    digests = [layer.digest for layer in layers if layer.media_type == _OLLAMA_MODEL]
    if len(digests) != 1 or any(layer.media_type == _OLLAMA_ADAPTER for layer in layers):
        return None
    kind, _, digest = digests[0].partition(":")
    return root / "blobs" / f"{kind}-{digest}" if digest.isalnum() and kind.isalnum() else None


def _model_at(path: Path) -> Path | None:
    try:
        return find_weights(path)
    except (ValueError, OSError):
        return None


def _ggufs_below(folder: Path, deepest: int = _DEEPEST) -> list[Path]:
    return [path for path in _files_below(folder, deepest) if path.name.endswith(".gguf")]


def _files_below(folder: Path, deepest: int = _DEEPEST) -> list[Path]:
    """Files below `folder`, sorted; links to folders are not followed. Empty if there is no such folder."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        if len(Path(parent).relative_to(folder).parts) + 1 >= deepest:
            folders.clear()
        found += (Path(parent, name) for name in names)
    return sorted(found)


def _snapshots(repo: str, revision: str, environ: Mapping[str, str]) -> list[Path]:
    """Snapshots of `repo` in the hub's cache: that of `revision`, and if there is none, all of them."""
    named = hub_settings.cached_snapshot(repo, revision, environ)
    if named is not None:
        return [named]
    base = hub_settings.cache_folder(environ) / f"models--{repo.replace('/', '--')}" / "snapshots"
    return sorted(base.iterdir()) if base.is_dir() else []


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else home()


def _lm_studio_folders(environ: Mapping[str, str]) -> list[Path]:
    """The models folder that the user chose in LM Studio, and those of its folders: the one that its pointer names, that of
    today, and that of its first versions."""
    at_home = _user_home(environ)
    folders = [at_home / ".lmstudio", at_home / ".cache" / "lm-studio"]
    if pointed := _small_text(at_home / ".lmstudio-home-pointer").strip():
        folders.insert(0, Path(pointed))
    chosen: list[Path] = []
    for folder in folders:
        with suppress(msgspec.DecodeError, RecursionError):
            text = _small_text(folder / "settings.json")
            named = msgspec.json.decode(text, type=decodable(_LmStudioSettings)).downloads_folder
            chosen += [Path(named)] if named else []
    every = (*chosen, *(folder / "models" for folder in folders))
    return list(dict.fromkeys(folder for folder in every if folder.is_absolute() and "\0" not in str(folder)))


def _small_text(path: Path) -> str:
    """The text of a file of another program; empty if there is none, it is no text, or is without measure."""
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST_MANIFEST + 1)
        return content.decode("utf-8") if len(content) <= _LARGEST_MANIFEST else ""
    except (OSError, ValueError):
        return ""


def _llama_cpp_folder(environ: Mapping[str, str]) -> Path:
    if named := environ.get("LLAMA_CACHE"):
        return expanded(named)
    cache = environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else _user_home(environ) / ".cache") / "llama.cpp"


def _ollama_folders(environ: Mapping[str, str]) -> list[Path]:
    """The user's own folder, and that of the service of Ollama's installer for Linux."""
    if named := environ.get("OLLAMA_MODELS"):
        return [expanded(named)]
    return [_user_home(environ) / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]
