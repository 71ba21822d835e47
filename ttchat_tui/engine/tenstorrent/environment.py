"""tt-metal's location and its environment variables, which ttnn reads once, at its import."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Generator, Mapping, MutableMapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.user_paths import expanded
from ttchat_tui.engine.base import MissingDependency, ModelLoadError
from ttchat_tui.engine.tenstorrent.visible_cards import VISIBLE_VARIABLES

Api: TypeAlias = Literal["generator", "package"]

LIBRARIES: Final = ("tt_transformers", "ttt_compat")
"""Names of the library with the Generator, in `models` of a tt-metal checkout. The second one is from tt-metal PR 55977, a
rename of 2026-09 without a shim; for another rename add its name here."""

GENERATOR: Final = Path("tt", "generator.py")
"""The source of the Generator in its library."""
_FOLDER_NAME: Final = re.compile(r"(?!\.+\Z)[\w.-]{1,100}")
_ROOT_VARIABLES: Final = ("TT_METAL_HOME", "TT_METAL_RUNTIME_ROOT")
WHEEL_PYTHONS: Final = ((3, 10), (3, 12))
"""The versions of Python that ttnn's wheels are made for; the extra `tt` installs no ttnn on others."""


class Checkout(msgspec.Struct, frozen=True):
    """A tt-metal source tree with one of `LIBRARIES`."""

    root: Path
    found_by: str
    """Where it was found: a variable, the configuration, or a usual place."""

    @property
    def library(self) -> Path:
        """The folder of the library with the Generator."""
        models = self.root / "models"
        return models / _library_in(models)


def find_checkout(
    configured: str, environ: Mapping[str, str], *, home: Path, current: Path
) -> Checkout | None:
    """The first of: TT_METAL_HOME, TT_METAL_RUNTIME_ROOT, `[tt] home`, ~/tt-metal, the current folder.

    A variable that names a folder without tt_transformers is skipped: native code uses these variables for other folders
    too (a wheel's runtime root has no models/).

    Raises:
        ModelLoadError: a variable names no folder, or `[tt] home` one without the Generator.
    """
    for variable, value in _named_roots(environ):
        root = expanded(value)
        if _is_checkout(root):
            return Checkout(root, variable)
        if not root.is_dir():
            raise ModelLoadError(
                f"{variable}={value} is not a folder.",
                f"Name the root of a tt-metal checkout in {variable}, or unset it.",
            )
    if configured:
        root = expanded(configured)
        named = setting("tt.home", f'"{configured}"')
        if not _is_checkout(root):
            raise ModelLoadError(
                f"{named} has no {Path('models', LIBRARIES[0], GENERATOR)}.",
                "Name the root of a tt-metal checkout, or leave it out.",
            )
        return Checkout(root, setting("tt.home"))
    for root, name in ((home / "tt-metal", "~/tt-metal"), (current, "the current folder")):
        if _is_checkout(root):
            return Checkout(root, name)
    return None


def choose_api(
    requested: Literal["auto", "generator", "package"], checkout: Checkout | None, environ: Mapping[str, str]
) -> Api:
    """The API to use. If both are installed, the checkout's Generator wins: it supports more models and cards.

    Raises:
        MissingDependency: ttnn or the API above it is not installed.
    """
    if not is_importable("ttnn"):
        raise MissingDependency("The Tenstorrent engine needs ttnn, which is not installed.", ttnn_cure())
    has_generator = checkout is not None or importable_library() != ""
    if requested != "package" and has_generator:
        return "generator"
    if requested != "generator" and has_package():
        return "package"
    looked_for = "the tt_transformers package" if requested == "package" else "models.tt_transformers"
    without = "".join(f" {variable}={value} has none." for variable, value in _named_roots(environ))
    raise MissingDependency(
        f"ttnn is installed, but {looked_for} was not found.{without if requested != 'package' else ''}",
        f"Clone tt-metal at the release of your ttnn and set TT_METAL_HOME to it (or {setting('tt.home')}).",
    )


def has_package() -> bool:
    """The standalone tt_transformers (S7) is installed."""
    return is_importable("tt_transformers", "tt_transformers.llm_runtime")


def importable_library() -> str:
    """Name of the library that `import models.…` would find: one of `LIBRARIES`; empty if there is none."""
    if not is_importable("models"):
        return ""
    found = importlib.util.find_spec("models")
    folders = (found and found.submodule_search_locations) or ()
    return next((name for folder in folders if (name := _library_in(Path(folder)))), "")


def ttnn_cure() -> str:
    """How to get ttnn for this Python."""
    own_venv = "start ttchat-tui in tt-metal's own venv"
    if sys.version_info[:2] in WHEEL_PYTHONS:
        return f"{install_command('ttchat-tui[tt]')}, or {own_venv}."
    wheels = " and ".join(".".join(map(str, each)) for each in WHEEL_PYTHONS)
    return (
        f"Its wheels are for Python {wheels}, this is {'.'.join(map(str, sys.version_info[:2]))}: make a venv with one of "
        f"them and pip install 'ttchat-tui[tt]' there, or {own_venv}."
    )


def put_on_path(checkout: Checkout) -> None:
    """Put the checkout first on the path: other distributions also have a package named `models`."""
    root = str(checkout.root)
    if root in sys.path:
        sys.path.remove(root)
    sys.path.insert(0, root)


class EnvironmentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Input of `variables`."""

    hf_model: str
    """A hub id or a folder."""
    is_local: bool
    """The model is on this machine: the hub must not be contacted."""
    cache_dir: Path
    """Folder of this model's converted weights. Absolute: the default of tt_transformers is relative to the current folder."""
    logs_dir: Path
    """Folder of native logs. Absolute."""
    checkout: Checkout | None
    operation_timeout_s: int


def variables(settings: EnvironmentSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to set before `import ttnn`.

    Variables that the user set stay, except for the model, which is chosen here, and TT_CACHE_PATH, which `cache_parent`
    has already used.
    """
    defaults = {
        # The default is `generated` in the user's current folder.
        "TT_METAL_LOGS_PATH": str(settings.logs_dir),
        # At level `info` a card writes hundreds of lines. Errors also arrive as exceptions.
        "TT_LOGGER_LEVEL": "error",
        "LOGURU_LEVEL": "INFO",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.operation_timeout_s:
        # Turns a hang of the card into an exception (rtoptions.cpp).
        defaults["TT_METAL_OPERATION_TIMEOUT_SECONDS"] = str(settings.operation_timeout_s)
    if settings.checkout is not None:
        defaults["TT_METAL_HOME"] = str(settings.checkout.root)
    changes = {name: value for name, value in defaults.items() if not environ.get(name)}
    changes["HF_MODEL"] = settings.hf_model
    changes["TT_CACHE_PATH"] = str(settings.cache_dir)
    if settings.is_local:
        changes["HF_HUB_OFFLINE"] = "1"
    return changes


def require_whole_chunks(environ: Mapping[str, str]) -> None:
    """Check MAX_PREFILL_CHUNK_SIZE, in units of 1,024 tokens: the Generator splits long prompts into multiples of 2,048
    (`get_max_prefill_chunk_size` in tt_transformers' common.py), and reads the variable without a look at it.

    Raises:
        ModelLoadError: it is no such number; the first long prompt would fail.
    """
    size = environ.get("MAX_PREFILL_CHUNK_SIZE", "")
    if size and not (size.isdecimal() and int(size) > 0 and int(size) % 2 == 0):
        raise ModelLoadError(
            f"MAX_PREFILL_CHUNK_SIZE is {size!r}, and tt-metal splits prompts into multiples of 2,048 tokens.",
            "Set it to an even number of 1,024 tokens, such as 4 or 32, or unset it.",
        )


_OF_ONE_LOAD: Final = ("HF_MODEL", "HF_HUB_OFFLINE", "TT_CACHE_PATH", *VISIBLE_VARIABLES)
"""Variables of one model's load; the others hold for the process."""


def cache_parent(configured: str, environ: Mapping[str, str], model: Path) -> Path:
    """The folder with a subfolder of converted weights for each model: TT_CACHE_PATH, `[tt] cache_dir`, or a folder beside
    the models. Absolute."""
    named = environ.get("TT_CACHE_PATH", "").strip() or configured
    return (expanded(named) if named else model.parent / "tenstorrent").absolute()


@contextlib.contextmanager
def applied(changes: Mapping[str, str], environ: MutableMapping[str, str]) -> Generator[None, None, None]:
    """Set `changes`; when the block ends, restore the variables that belong to one load.

    With `isolation = "thread"` the environment is that of the whole app: HF_HUB_OFFLINE left in it would block every later
    download. The variables that ttnn reads at its import stay.
    """
    before = {name: environ.get(name) for name in _OF_ONE_LOAD if name in changes}
    environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value


def model_folder(path: Path, repo: str, links_dir: Path) -> Path:
    """`path` under a name that tt_transformers knows: it looks up settings by the folder's base name.

    If the folder has another name than the model (a snapshot of a cache, an alias), this creates a symbolic link with the
    model's name. Each target has its own folder below `links_dir`, because another process may load another model of the
    same name.

    Raises:
        ModelLoadError: the link cannot be created.
    """
    name = repo.rpartition("/")[2]
    if path.name == name or not _FOLDER_NAME.fullmatch(name):
        return path
    target = path.resolve()
    link = links_dir / hashlib.sha256(os.fsencode(target)).hexdigest()[:16] / name
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # Created by an earlier load of the same folder.
            link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise ModelLoadError(
            f"{link} cannot be created ({error.strerror}).",
            f"tt_transformers knows models by their folder's name: rename this model's folder to {name}.",
        ) from error
    return link


def _named_roots(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables for tt-metal's root that are set, with their values."""
    return [(name, value) for name in _ROOT_VARIABLES if (value := environ.get(name, "").strip())]


def _is_checkout(root: Path) -> bool:
    return _library_in(root / "models") != ""


def _library_in(models: Path) -> str:
    """The file decides: a folder of another name may be left behind by git, with caches in it."""
    return next((name for name in LIBRARIES if (models / name / GENERATOR).is_file()), "")


def is_importable(*modules: str) -> bool:
    """Whether all modules are installed, without importing the last one. Parents come first: looking for a child imports
    its parent, and raises if there is none."""
    return all(importlib.util.find_spec(module) is not None for module in modules)
