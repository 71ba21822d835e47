"""What `doctor` checks: one function for each subject gives a fact, a verdict, and what to run if that is bad."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui import __version__
from ttchat_tui.cli.screen_settings import check_screen_settings
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import load_config, place_of
from ttchat_tui.config.paths import Paths
from ttchat_tui.engine.cpu.native import build
from ttchat_tui.models import library
from ttchat_tui.models.catalog import catalog
from ttchat_tui.storage.opening import open_store

Verdict: TypeAlias = Literal["ok", "note", "wrong"]
"""note: works, but the user should know · wrong: something that the chat needs is missing."""

CPU_PACKAGES: Final = ("torch", "tokenizers", "gguf", "safetensors", "numpy")
OTHER_PACKAGES: Final = ("transformers", "ttnn", "textual")
LITTLE_SPACE: Final = 2_000_000_000
LITTLE_MEMORY: Final = 1_500_000_000


class Check(msgspec.Struct, frozen=True):
    subject: str
    verdict: Verdict
    fact: str
    cure: str = ""


def all_checks(paths: Paths, config_file: Path | None) -> Iterator[Check]:
    """Every check, from the program to the terminal."""
    yield _python()
    yield from _packages()
    yield _compiler()
    yield _configuration(paths, config_file)
    yield _default_model(paths)
    yield _conversations(paths)
    yield from _machine(paths)
    yield from _terminal()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("program", "ok", f"ttchat-tui {__version__} on Python {version} ({sys.executable})")


def version_of(package: str) -> str | None:
    """Of an installed package; None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    missing = [name for name in CPU_PACKAGES if version_of(name) is None]
    found = ", ".join(f"{name} {version_of(name)}" for name in CPU_PACKAGES if name not in missing)
    if missing:
        # tt-metal's own venv has all that a card needs, and no reader of GGUF files.
        is_enough = missing == ["gguf"] and importlib.util.find_spec("ttnn") is not None
        yield Check(
            "cpu engine",
            "note" if is_enough else "wrong",
            f"not installed: {', '.join(missing)}" + (f" (there: {found})" if found else ""),
            "pip install gguf, for GGUF files on the CPU" if is_enough else "pip install 'ttchat-tui[cpu]'",
        )
    else:
        yield Check("cpu engine", "ok", found)
    there = [f"{name} {version_of(name)}" for name in OTHER_PACKAGES if version_of(name)]
    absent = [name for name in OTHER_PACKAGES if not version_of(name)]
    yield Check("packages", "ok", ", ".join(there) + (f"; not here: {', '.join(absent)}" if absent else ""))


def _compiler() -> Check:
    """What the decode kernel of the CPU engine is compiled with."""
    if platform.machine().lower() not in build.MACHINES:
        return Check("decode kernel", "ok", f"torch's own: there is none of ours for {platform.machine()}")
    command = build.compiler(os.environ)
    if command is None:
        fact = "no C compiler on the PATH: 4-bit models run at about half their speed"
        return Check("decode kernel", "note", fact, "Debian and Ubuntu: sudo apt install gcc; or set CC.")
    return Check("decode kernel", "ok", f"compiled for this processor by {command[0]}")


def _configuration(paths: Paths, config_file: Path | None) -> Check:
    file = config_file or paths.config_file
    try:
        config = load_config(paths, environ=os.environ, file=config_file)
        where = functools.partial(place_of, paths=paths, environ=os.environ, file=config_file)
        check_screen_settings(config, paths, where)
    except ConfigError as error:
        return Check("config", "wrong", str(error), f"Correct {file}; config.example.toml shows every key.")
    return Check("config", "ok", str(file) if os.path.exists(file) else f"defaults (no {file})")


def _default_model(paths: Paths) -> Check:
    here = library.installed(paths.models_dir, os.environ)
    names = ", ".join(f"{row.name} ({library.format_size(row.size_bytes)})" for row in here)
    if not any(row.is_default for row in here):
        default = catalog().default
        fact = f"the default model {default} is not here" + (f"; here: {names}" if names else "")
        return Check("models", "note", fact, f"ttchat-tui models pull {default}")
    return Check("models", "ok", names)


def _conversations(paths: Paths) -> Check:
    if not os.path.exists(paths.database):
        return Check("conversations", "ok", f"none yet ({paths.database})")
    store = open_store(paths.database)
    try:
        if store.notice is not None:
            return Check("conversations", "wrong", store.notice.message, store.notice.cure)
        return Check("conversations", "ok", f"{len(store.conversations(limit=10**9))} in {paths.database}")
    finally:
        store.close()


def _machine(paths: Paths) -> Iterator[Check]:
    yield Check("processor", "ok", f"{os.cpu_count()} cores")
    memory = available_memory()
    if memory is not None:
        fact = f"{memory / 1e9:.1f} GB available"
        little = memory < LITTLE_MEMORY
        cure = "Close something: the default model takes about 1 GB." if little else ""
        yield Check("memory", "note" if little else "ok", fact, cure)
    folder = next(each for each in (paths.cache_dir, *paths.cache_dir.parents) if os.path.exists(each))
    free = shutil.disk_usage(folder).free
    little = free < LITTLE_SPACE
    cure = f"Free some space: models go to {paths.models_dir}." if little else ""
    yield Check("disk", "note" if little else "ok", f"{free / 1e9:.0f} GB free for models", cure)


def available_memory() -> int | None:
    """Bytes a process can still get without swapping (Linux's MemAvailable); None elsewhere."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def _terminal() -> Iterator[Check]:
    term = os.environ.get("TERM", "")
    if term in ("", "dumb"):
        yield Check("terminal", "note", f"TERM is {term or 'not set'}: no full screen", "ttchat-tui --plain")
    else:
        colours = os.environ.get("COLORTERM") or "256 or fewer colours"
        yield Check(
            "terminal",
            "ok",
            f"{term}, {colours}" + (", NO_COLOR set" if "NO_COLOR" in os.environ else ""),
        )
    encoding = (getattr(sys.stdout, "encoding", "") or "").lower()
    if encoding.replace("-", "") != "utf8":
        yield Check("encoding", "note", f"stdout is {encoding or 'unknown'}", "export LANG=C.UTF-8")
