"""The dialog for saving a transcript: format and file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button, Input, RadioButton, RadioSet, Static

from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import ENDINGS, file_path, missing_folder
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.line_field import LineField

FORMATS: Final[dict[str, tuple[str, str]]] = {
    "markdown": (".md", "Markdown, to read"),
    "json": (".json", "JSON, with all figures"),
    "jsonl": (".jsonl", "JSONL, messages format"),
}
"""Format → its suffix and its label."""


class FormatButton(RadioButton):
    """Textual marks the chosen button by colour only, which NO_COLOR removes."""

    BUTTON_LEFT = BUTTON_RIGHT = " "

    def render(self) -> Content:
        self.BUTTON_INNER = "●" if self.value else "○"
        return super().render()


class SaveTranscript(Dialog[tuple[str, Path]]):
    """Result: the format (a key of `FORMATS`), and the file or folder to write to. No file is ever replaced."""

    heading = "Save the transcript"
    AUTO_FOCUS = "Input"

    def __init__(self, folder: Path, name: str) -> None:
        """`name`: the suggested file name, without a suffix."""
        super().__init__()
        self._format = "markdown"
        self._suggested = str(folder / f"{name}.md")

    def body(self) -> ComposeResult:
        with RadioSet(compact=True):
            for name, (_, label) in FORMATS.items():
                yield FormatButton(label, value=name == self._format, name=name)
        yield LineField(self._suggested, placeholder="File", compact=True)
        yield Static("", classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            yield Button("Save", id="save", variant="primary", compact=True)

    @on(RadioSet.Changed)
    def _format_chosen(self, event: RadioSet.Changed) -> None:
        self._format = event.pressed.name or "markdown"
        field = self.query_one(Input)
        # Only a suffix of a known format is changed.
        if field.value.endswith(tuple(ending for ending, _ in FORMATS.values())):
            field.value = str(Path(field.value).with_suffix(FORMATS[self._format][0]))

    @on(Input.Changed)
    def _path_changed(self, event: Input.Changed) -> None:
        is_folder = event.value.rstrip().endswith("/")
        hint, text = self.query_one(".hint", Static), hint_for(target_of(event.value), is_folder=is_folder)
        hint.update(text)
        hint.display = bool(text)

    @on(Input.Submitted)
    @on(Button.Pressed, "#save")
    def _accept(self) -> None:
        typed = self.query_one(Input).value
        target = target_of(typed)
        if target is None or not is_known(target):
            self.app.bell()
        elif typed.rstrip().endswith("/"):
            self.dismiss((self._format, target / Path(self._suggested).stem))
        else:
            is_file = target.suffix and not os.path.isdir(target)
            self.dismiss((ENDINGS[target.suffix.lower()] if is_file else self._format, target))

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()


def target_of(typed: str) -> Path | None:
    """The typed path with `~` expanded; None if it is blank or invalid."""
    try:
        return file_path(typed.strip()) if typed.strip() else None
    except StorageError:
        return None


def is_known(target: Path) -> bool:
    """Whether it is a folder, or a file with a known suffix or none."""
    return os.path.isdir(target) or not target.suffix or target.suffix.lower() in ENDINGS


def hint_for(target: Path | None, *, is_folder: bool = False) -> str:
    """What saving to `target` would do, as `storage.export.write_export` does it. `is_folder`: it was typed with a final
    slash."""
    if target is None:
        return "Enter the name of a file or folder."
    if os.path.isdir(target):
        return "Saves into this folder, named after the conversation."
    if is_folder:
        return "Saves into a new folder, named after the conversation."
    if not is_known(target):
        return f"Unknown format. Use one of {', '.join(ENDINGS)}."
    if (folder := missing_folder(target)) is not None:
        return f"In a new folder: {folder}"
    if not target.suffix:
        return "The format's suffix is added."
    return "This file exists; the new one gets a number." if os.path.exists(target) else ""
