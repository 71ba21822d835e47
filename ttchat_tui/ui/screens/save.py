"""The dialog for saving a transcript: what of it, format, file, and a preview."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input, RadioSet, Static

from ttchat_tui.domain.text import visible
from ttchat_tui.domain.user_paths import shortened
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import ENDINGS, TIMELINES, file_path, missing_folder
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.choice_row import ChoiceRow, MarkedButton
from ttchat_tui.ui.widgets.line_field import LineField

FORMATS: Final[dict[str, tuple[str, str]]] = {
    "markdown": (".md", "Markdown"),
    "json": (".json", "JSON"),
    "jsonl": (".jsonl", "JSONL"),
    "html": (".html", "HTML"),
    "text": (".txt", "Text"),
    "timeline": (".trace", "Timeline"),
    "csv": (".csv", "CSV"),
}
"""Format → its suffix and its label."""

PARTS: Final = {"branch": "Branch", "all": "All branches", "message": "Message", "code": "Code"}
"""What is saved: the branch on screen, every branch, the selected messages (or the last reply), their last code block."""

_PREVIEW_LINES: Final = 12
_PREVIEW_COLUMNS: Final = 200


class Saving(NamedTuple):
    """The result of the dialog."""

    format: str
    """A key of `FORMATS`; of no meaning for a code block."""
    target: Path
    """The file or folder to write to. No file is ever replaced."""
    part: str = "branch"
    """A key of `PARTS`."""
    has_thoughts: bool = True
    has_recordings: bool = False
    """JSON with what was recorded of each token."""


class SaveTranscript(Dialog[Saving]):
    heading = "Save the transcript"
    keys = "tab ←→ space choose · enter saves · esc closes"
    AUTO_FOCUS = "Input"
    help_lines = (
        ("tab", "To what is saved, its format, the file's name and the buttons"),
        ("← →, space", "Choose"),
        ("enter", "Save; on what is not chosen yet: choose it"),
    )

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        preview: Callable[[str, str, bool], Callable[[], str]],
        selected: int = 1,
        code_suffix: str = "",
        offers_thoughts: bool = False,
    ) -> None:
        """`name`: the suggested file name, without a suffix. `preview`: what renders the beginning of what would be written, by
        format, part, and whether it has thoughts; it is called on another thread. `selected`: how many messages are.
        `code_suffix`: of the code block; empty if there is none. `offers_thoughts`: there are some to leave out."""
        super().__init__()
        self._format = "markdown"
        self._part = "branch"
        self._suggested = shortened(str(folder / f"{name}.md"))
        self._preview = preview
        self._selected = selected
        self._code_suffix = code_suffix
        self._offers_thoughts = offers_thoughts
        self._has_thoughts = True
        self._has_recordings = False

    def body(self) -> ComposeResult:
        with ChoiceRow(compact=True, id="parts"):
            for name, label in PARTS.items():
                is_missing = name == "code" and not self._code_suffix
                if name == "message" and self._selected > 1:
                    label = f"{self._selected:,} messages"
                yield MarkedButton(label, value=name == self._part, name=name, disabled=is_missing)
        with ChoiceRow(compact=True, id="formats"):
            for name, (_, label) in FORMATS.items():
                yield MarkedButton(label, value=name == self._format, name=name)
        if self._offers_thoughts:
            with ChoiceRow(compact=True, id="thoughts"):
                yield MarkedButton("With thoughts", value=True, name="with")
                yield MarkedButton("Without", name="without")
        with ChoiceRow(compact=True, id="recordings"):
            yield MarkedButton("Without recordings", value=True, name="unrecorded")
            yield MarkedButton("With recordings", name="recorded")
        yield Static("", classes="preview", markup=False)
        yield LineField(self._suggested, placeholder="File", compact=True)
        yield Static("", classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            yield Button("Save", id="save", variant="primary", compact=True)

    def on_mount(self) -> None:
        self.query_one("#recordings").display = False
        self._show_preview()

    @work(exclusive=True)
    async def _show_preview(self) -> None:
        """Highlighting the code of a page takes longer than a frame."""
        has_thoughts = self._is_with_thoughts(self._format)
        text = await asyncio.to_thread(_beginning, self._preview(self._format, self._part, has_thoughts))
        self.query_one(".preview", Static).update(text)

    @on(RadioSet.Changed, "#parts")
    def _part_chosen(self, event: RadioSet.Changed) -> None:
        self._part = event.pressed.name or "branch"
        self.query_one("#formats").disabled = self._part == "code"
        self._show_choice()

    @on(RadioSet.Changed, "#formats")
    def _format_chosen(self, event: RadioSet.Changed) -> None:
        self._format = event.pressed.name or "markdown"
        self._show_choice()

    @on(RadioSet.Changed, "#thoughts")
    def _thoughts_chosen(self, event: RadioSet.Changed) -> None:
        self._has_thoughts = event.pressed.name == "with"
        self._show_choice()

    @on(RadioSet.Changed, "#recordings")
    def _recordings_chosen(self, event: RadioSet.Changed) -> None:
        self._has_recordings = event.pressed.name == "recorded"

    def _is_with_thoughts(self, format: str) -> bool:
        """JSON and timelines have everything."""
        return self._has_thoughts or format in ("json", *TIMELINES)

    def _show_choice(self) -> None:
        is_json = self._format == "json" and self._part != "code"
        self.query_one("#recordings").display = is_json
        for choice in self.query("#thoughts"):
            choice.display = not is_json
            choice.disabled = self._format in TIMELINES or self._part == "code"
        self._show_preview()
        field = self.query_one(Input)
        known = (*(ending for ending, _ in FORMATS.values()), self._code_suffix or ".md")
        if field.value.endswith(known):  # any other suffix is the user's own
            suffix = self._code_suffix if self._part == "code" else FORMATS[self._format][0]
            field.value = str(Path(field.value).with_suffix(suffix))
            field.cursor_position = len(field.value)  # the suffix stays in view
        self._show_hint()

    @on(Input.Changed)
    def _show_hint(self) -> None:
        typed = self.query_one(Input).value
        target, is_folder = target_of(typed), typed.rstrip().endswith("/")
        text = self._problem(typed) or hint_for(target, is_folder=is_folder)
        if not text and target is not None and cell_len(typed) >= self.query_one(Input).content_size.width:
            text = f"Into {visible(shortened(str(target.parent)))}"
        hint = self.query_one(".hint", Static)
        hint.update(text)
        hint.display = bool(text)

    def _problem(self, typed: str) -> str:
        """Why this cannot be saved; empty if it can."""
        target = target_of(typed)
        if target is None:
            return "Enter the name of a file or folder."
        if self._part == "code":
            return ""
        if not is_known(target):
            return f"Unknown format. Use one of {', '.join(ENDINGS)}."
        if self._part == "all" and self._format_of(target) not in ("json", "jsonl"):
            return "All branches need JSON, or JSONL with a line for each."
        return ""

    def _format_of(self, target: Path) -> str:
        is_file = target.suffix and not os.path.isdir(target)
        return ENDINGS[target.suffix.lower()] if is_file else self._format

    @on(Input.Submitted)
    @on(ChoiceRow.Accepted)
    @on(Button.Pressed, "#save")
    def _accept(self) -> None:
        typed = self.query_one(Input).value
        target = target_of(typed)
        if target is None or self._problem(typed):
            self.app.bell()
        elif typed.rstrip().endswith("/"):
            suffix = self._code_suffix if self._part == "code" else ""
            name = f"{Path(self._suggested).stem}{suffix}"
            self.dismiss(self._saving(self._format, target / name))
        else:
            format = self._format if self._part == "code" else self._format_of(target)
            self.dismiss(self._saving(format, target))

    def _saving(self, format: str, target: Path) -> Saving:
        has_recordings = self._has_recordings and format == "json" and self._part != "code"
        return Saving(format, target, self._part, self._is_with_thoughts(format), has_recordings)

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()


def _beginning(render: Callable[[], str]) -> str:
    lines = visible(render()).splitlines()
    return "\n".join(line[:_PREVIEW_COLUMNS] for line in lines[:_PREVIEW_LINES])


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
    if (folder := missing_folder(target)) is not None:
        return f"In a new folder: {folder}"
    if not target.suffix:
        return "The format's suffix is added."
    return "This file exists; the new one gets a number." if os.path.exists(target) else ""
