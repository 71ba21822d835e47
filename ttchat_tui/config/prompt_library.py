"""All prompt templates and presets of the user, as they were when the files were last read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.prompt_files import (
    PRESET_SUFFIX,
    TEMPLATE_SUFFIX,
    files_in,
    named_file,
    read_preset,
    read_template,
)
from ttchat_tui.domain.preset import BUILT_IN, Preset
from ttchat_tui.domain.prompt_template import PromptTemplate

Entry = TypeVar("Entry", PromptTemplate, Preset)


class PromptLibrary:
    """`read` reads the folders again. A file that cannot be used is a fault, and hides no other."""

    def __init__(self, paths: Paths) -> None:
        self.prompts_dir, self.presets_dir = paths.prompts_dir, paths.presets_dir
        self.templates: dict[str, PromptTemplate] = {}
        """By name, in the order of the names."""
        self.presets: dict[str, Preset] = dict(BUILT_IN)
        """By name: the built-in ones first."""
        self.template_faults: dict[str, ConfigError] = {}
        """By the name of the file."""
        self.preset_faults: dict[str, ConfigError] = {}

    def read(self) -> None:
        """Read all files again. May run on another thread: each table is replaced as a whole."""
        self.templates, self.template_faults = _read_all(self.prompts_dir, TEMPLATE_SUFFIX, read_template)
        presets, self.preset_faults = _read_all(self.presets_dir, PRESET_SUFFIX, read_preset)
        self.presets = BUILT_IN | presets

    def template(self, name: str) -> PromptTemplate:
        """One template, from its file as it is now.

        Raises:
            ConfigError: there is none of this name, or it cannot be used.
        """
        return read_template(named_file(self.prompts_dir, TEMPLATE_SUFFIX, name, "template"))

    def preset(self, name: str) -> Preset:
        """One preset, from its file as it is now, or a built-in one.

        Raises:
            ConfigError: there is none of this name, or it cannot be used.
        """
        if name in BUILT_IN:
            return BUILT_IN[name]
        return read_preset(named_file(self.presets_dir, PRESET_SUFFIX, name, "preset", tuple(BUILT_IN)))


def _read_all(
    folder: Path, suffix: str, read: Callable[[Path], Entry]
) -> tuple[dict[str, Entry], dict[str, ConfigError]]:
    entries: dict[str, Entry] = {}
    faults: dict[str, ConfigError] = {}
    try:
        files = files_in(folder, suffix)
    except ConfigError as error:
        return {}, {folder.name: error}
    for file in files:
        try:
            entry = read(file)
        except ConfigError as error:
            faults[file.name] = error
        else:
            entries[entry.name] = entry
    return entries, faults
