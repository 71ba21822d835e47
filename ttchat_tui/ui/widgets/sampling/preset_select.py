"""A menu of presets, with an entry for custom settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Label, Select

from ttchat_tui.domain.text import visible_line

CUSTOM = "custom"
"""Shown while the settings match no preset."""


def _options(names: Sequence[str]) -> list[tuple[Content, str]]:
    """Without markup: names are those of files too. Custom settings come last: they cannot be chosen, only made."""
    return [*((Content(visible_line(name)), name) for name in names), (Content.styled(CUSTOM, "dim"), "")]


class PresetMenu(Select[str], inherit_bindings=False):
    """A one-row select. Left and right choose without opening it; up and down are the panel's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "open", tooltip="Show all", key_display="enter"),
        Binding("left", "choose(-1)", "Previous preset", show=False),
        Binding("right", "choose(1)", "choose", tooltip="The next one", key_display="← →"),
    ]

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(_options(names), value="", allow_blank=False, compact=True)
        self.names = tuple(names)
        self.stepped = self.names
        """Those that left and right choose."""

    def action_choose(self, direction: int) -> None:
        """Choose the next or previous preset; from custom settings, the first or the last."""
        if self.selection not in self.stepped:
            self.value = self.stepped[0 if direction > 0 else -1]
            return
        place = self.stepped.index(self.selection) + direction
        if 0 <= place < len(self.stepped):
            self.value = self.stepped[place]


class PresetField(Horizontal):
    """Label and menu. `show` posts nothing; the user's choice posts `Chosen`."""

    DEFAULT_CSS = """
    PresetField { height: 1; }
    PresetField > Label { width: 10; }
    PresetField > PresetMenu { width: 1fr; height: 1; }
    """

    @dataclass
    class Chosen(Message):
        """The user chose a preset, by name."""

        field: PresetField
        preset: str

        @property
        def control(self) -> PresetField:
            return self.field

    def __init__(self, label: str, names: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label
        self._names = tuple(names)
        self._menu = PresetMenu(names)
        self._preset: str | None = None

    def compose(self) -> ComposeResult:
        yield Label(self._label, markup=False)
        yield self._menu

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def on_mount(self) -> None:
        self._offer()

    def show(self, preset: str | None) -> None:
        """Show the active preset, None for custom settings. Posts nothing."""
        self._preset = preset
        value = preset or ""
        if self._menu.is_mounted and self._menu.value != value:
            self._menu.value = value

    def set_names(self, names: Sequence[str], stepped: Sequence[str]) -> None:
        """Offer other presets. The shown one stays if it is among them. `stepped`: those that left and right choose."""
        self._names = tuple(names)
        self._menu.stepped = tuple(stepped)
        if self._preset not in self._names:
            self._preset = None
        if self._menu.is_mounted:
            self._offer()

    def _offer(self) -> None:
        if self._names != self._menu.names:
            self._menu.names = self._names
            self._menu.set_options(_options(self._names))
        self.show(self._preset)

    @on(Select.Changed)
    def _choose(self, event: Select.Changed) -> None:
        event.stop()
        # Changes made by `show` arrive late and are ignored.
        preset = self._menu.selection
        if not preset:
            self.show(self._preset)
        elif preset != self._preset:
            self._preset = preset
            self.post_message(self.Chosen(self, preset))
