"""The app's folders and files. Nothing is created here: the code that writes a file makes its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.user_paths import expanded

APP: Final = "ttchat-tui"


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """The four folders, and what is in them."""

    config_dir: Path
    """config.toml, and the user's themes, prompt templates and presets. The app adds files only where the user saves a
    template or a preset."""
    data_dir: Path
    """What must not be lost: conversations, exports."""
    cache_dir: Path
    """What can be fetched or made again: models, kernels."""
    state_dir: Path
    """What the app remembers for convenience, and the logs."""

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"

    @property
    def themes_dir(self) -> Path:
        """The user's own themes; they override shipped ones of the same name."""
        return self.config_dir / "themes"

    @property
    def prompts_dir(self) -> Path:
        """Prompt templates and system prompts."""
        return self.config_dir / "prompts"

    @property
    def presets_dir(self) -> Path:
        return self.config_dir / "presets"

    @property
    def database(self) -> Path:
        return self.data_dir / "conversations.db"

    @property
    def exports_dir(self) -> Path:
        """Where transcripts go unless `storage.exports_dir` or a command names another place."""
        return self.data_dir / "exports"

    @property
    def models_dir(self) -> Path:
        return self.cache_dir / "models"

    @property
    def kernels_dir(self) -> Path:
        """Decode kernels that were compiled for this machine."""
        return self.cache_dir / "kernels"

    @property
    def log_file(self) -> Path:
        return self.state_dir / "ttchat-tui.log"

    @property
    def engine_log_file(self) -> Path:
        """All output of the engine's process, including its native libraries."""
        return self.state_dir / "engine.log"

    @property
    def ui_state_file(self) -> Path:
        return self.state_dir / "ui.json"


def shipped(name: str) -> Path:
    """A file or folder that comes with the program (`themes`, `config.example.toml`): in the package in a wheel, beside it
    in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / name
    return installed if installed.exists() else package.parent / name


def find_paths(environ: Mapping[str, str]) -> Paths:
    """The platform's folders for this app (XDG on Linux), each overridden by TTCHAT_{CONFIG,DATA,CACHE,STATE}_DIR.

    Raises:
        ConfigError: there is no home folder, or no current folder for a relative path.
    """

    def folder(variable: str, default: Callable[[str], str]) -> Path:
        try:
            path = expanded(environ.get(variable) or default(APP))
        except RuntimeError:  # newer versions of platformdirs, without a home folder
            path = Path("~")
        if path.parts[:1] and path.parts[0].startswith("~"):
            raise ConfigError(
                variable,
                f"the home folder in {path} is unknown",
                cure="set HOME, or set this variable to a full path",
            )
        if "\0" in str(path):
            raise ConfigError(variable, "is not a path: it contains a NUL", cure="correct it")
        try:
            return path.absolute()
        except OSError as error:
            what = f"{path} is relative to a folder that has been deleted"
            raise ConfigError(variable, what, cure="change to another folder") from error

    return Paths(
        config_dir=folder("TTCHAT_CONFIG_DIR", platformdirs.user_config_dir),
        data_dir=folder("TTCHAT_DATA_DIR", platformdirs.user_data_dir),
        cache_dir=folder("TTCHAT_CACHE_DIR", platformdirs.user_cache_dir),
        state_dir=folder("TTCHAT_STATE_DIR", platformdirs.user_state_dir),
    )
