"""The checks of `doctor`: a function for each subject gives a fact, a verdict, and a command that helps."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ttchat_tui import __version__
from ttchat_tui.cli.constraint_setting import check_constraint_setting
from ttchat_tui.cli.doctor.hub_checks import hub_checks
from ttchat_tui.cli.engine_choice import chosen_kind
from ttchat_tui.cli.screen_settings import check_screen_settings
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import load_config, place_of
from ttchat_tui.config.paths import Paths, shipped
from ttchat_tui.config.schema import config_type
from ttchat_tui.domain.installation import install_command
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check, version_of
from ttchat_tui.engine.factory import ENGINES
from ttchat_tui.models import library
from ttchat_tui.models.catalog import catalog
from ttchat_tui.storage.opening import about_the_file, open_store

PACKAGES: Final = ("transformers", "ttnn", "textual")
EXTRAS: Final[dict[str, tuple[str, str]]] = {
    "constrain": ("llguidance", "--choices, --json-schema, --regex and --grammar of in-process engines"),
    "web": ("textual-serve", "ttchat-tui serve"),
}
"""Extras that no engine declares: the package, and what it is for."""
LITTLE_SPACE: Final = 2_000_000_000
LITTLE_MEMORY: Final = 1_500_000_000


def all_checks(paths: Paths, config_file: Path | None) -> Iterator[Check]:
    """Every check: the program, its files, the machine, the terminal, the engines."""
    yield _python()
    yield _packages()
    yield from _extras()
    yield _configuration(paths, config_file)
    yield _default_model(paths)
    yield _conversations(paths)
    yield from _machine(paths)
    yield from _terminal()
    yield from _engines(paths, config_file)


def _engines(paths: Paths, config_file: Path | None) -> Iterator[Check]:
    """The lines of each engine."""
    try:
        config = load_config(paths, environ=os.environ, file=config_file)
    except ConfigError:
        config = config_type()()  # the line `config` reports the error
    for engine in ENGINES.values():
        yield from engine.doctor(
            DoctorRequest(
                options=config.options_of(engine.kind),
                is_chosen=config.model.engine == engine.kind,
                environ=os.environ,
                hub_checks=lambda: hub_checks(os.environ),
            )
        )


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("program", "ok", f"ttchat-tui {__version__} on Python {version} ({sys.executable})")


def _packages() -> Check:
    versions = {name: version_of(name) for name in PACKAGES}
    installed = [f"{name} {version}" for name, version in versions.items() if version]
    absent = [name for name, version in versions.items() if not version]
    return Check(
        "packages", "ok", ", ".join(installed) + (f"; not installed: {', '.join(absent)}" if absent else "")
    )


def _extras() -> Iterator[Check]:
    for name, (package, purpose) in EXTRAS.items():
        version = version_of(package)
        if version is not None:
            yield Check(f"[{name}]", "ok", f"installed ({package} {version}): {purpose}")
        else:
            cure = install_command(f"ttchat-tui[{name}]")
            yield Check(f"[{name}]", "ok", f"not installed: {purpose}", cure)


def _configuration(paths: Paths, config_file: Path | None) -> Check:
    file = config_file or paths.config_file
    try:
        config = load_config(paths, environ=os.environ, file=config_file)
        where = functools.partial(place_of, paths=paths, environ=os.environ, file=config_file)
        check_screen_settings(config, paths, where)
        check_constraint_setting(config.sampling, chosen_kind(config), where)
    except ConfigError as error:
        example = shipped("config.example.toml")
        return Check("config", "wrong", str(error), f"Correct {file}; {example} shows every key.")
    return Check("config", "ok", str(file) if os.path.exists(file) else f"defaults (no {file})")


def _default_model(paths: Paths) -> Check:
    here = library.installed(paths.models_dir, os.environ)
    names = ", ".join(f"{row.name} ({library.format_size(row.size_bytes)})" for row in here)
    if not any(row.is_default for row in here):
        default = catalog().default
        fact = f"the default model {default} is missing" + (f"; here: {names}" if names else "")
        return Check("models", "note", fact, f"ttchat-tui models pull {default}")
    return Check("models", "ok", names)


def _conversations(paths: Paths) -> Check:
    if not os.path.exists(paths.database):
        return Check("conversations", "ok", f"none yet ({paths.database})")
    store = open_store(paths.database)
    try:
        if store.notice is not None:
            notice = about_the_file(store.notice)
            return Check("conversations", "wrong", notice.message, notice.cure)
        return Check("conversations", "ok", f"{len(store.conversations(limit=10**9))} in {paths.database}")
    finally:
        store.close()


def _machine(paths: Paths) -> Iterator[Check]:
    yield Check("processor", "ok", f"{os.cpu_count()} cores")
    memory = available_memory()
    if memory is not None:
        fact = f"{memory / 1e9:.1f} GB available"
        is_little = memory < LITTLE_MEMORY
        cure = "Close other programs: the default model needs about 1 GB." if is_little else ""
        yield Check("memory", "note" if is_little else "ok", fact, cure)
    folder = next(each for each in (paths.cache_dir, *paths.cache_dir.parents) if os.path.exists(each))
    free = shutil.disk_usage(folder).free
    is_little = free < LITTLE_SPACE
    cure = f"Free some space: models go to {paths.models_dir}." if is_little else ""
    yield Check("disk", "note" if is_little else "ok", f"{free / 1e9:.0f} GB free for models", cure)


def available_memory() -> int | None:
    """Bytes that a process can allocate without swapping (Linux's MemAvailable); None elsewhere."""
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
