"""The sampler's preview in the sampling panel: `/preview`, and what the screen does for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.chat_actions import ChatActions

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel

ROOMY_ROWS: Final = 56
"""Screen height from which the open preview and the metrics both fit whole."""


class Previewing(ChatActions):
    """The preview costs something only while it can be seen."""

    VERTICAL_BREAKPOINTS = [(0, "-low"), (ROOMY_ROWS, "-high")]

    def action_preview(self) -> None:
        """Open the preview and go to it; there, close it."""
        panel = self.sampling_panel
        if self._is_preview_seen and panel is not None and not panel.focus_preview():
            self._keep_preview_open(False)
            self.close_overlay()
            return
        self._keep_preview_open(True)
        self._reveal("right")
        if panel is not None:
            panel.focus_preview()

    def on_sampling_panel_preview_toggled(self, event: SamplingPanel.PreviewToggled) -> None:
        self._keep_preview_open(event.is_open)

    def _keep_preview_open(self, is_open: bool) -> None:
        self.keep_ui_state(show_preview=is_open)
        self.place_sidebars(self.size.width)

    @property
    def _is_preview_seen(self) -> bool:
        return bool(self.services.ui_state.show_preview) and (
            self.overlay == "right" or self.has_class("-right")
        )

    def place_sidebars(self, width: int) -> None:
        super().place_sidebars(width)
        is_chosen = bool(self.services.ui_state.show_preview)
        self.set_class(is_chosen, "-previewing")
        if self.sampling_panel is not None:
            self.sampling_panel.set_preview_open(is_chosen)
            self.follow_preview()

    def follow_preview(self) -> None:
        """Let the engine send its steps while the preview is seen, and no longer."""
        preview = self.session.preview
        if self._is_preview_seen == preview.is_open:
            return
        preview.set_open(self._is_preview_seen)
        if preview.is_open:
            self.run_worker(self._open_preview())

    async def _open_preview(self) -> None:
        await in_daemon_thread(self.session.preview.load)
        self.show_preview()

    def show_preview(self) -> None:
        """Show the token that is due."""
        panel, preview = self.sampling_panel, self.session.preview
        if panel is None or not preview.is_open:
            return
        panel.show_preview(preview.token, preview.why_not)
        try:
            read = preview.reader()
        except StorageError as error:
            self.show_error(error.info)
            return
        if read is not None:
            self.run_worker(partial(self._read_token, read), group="preview", exclusive=True)

    async def _read_token(self, read: Callable[[], None]) -> None:
        try:
            await in_daemon_thread(read)
        except StorageError as error:
            self.show_error(error.info)
            return
        self.show_preview()

    def leave_inspected(self, is_pinned: bool | None) -> None:
        """The inspector has closed. `is_pinned`: its token is to be previewed."""
        if is_pinned:
            self.session.preview.pin()
            if not self._is_preview_seen:
                self.action_preview()
            elif self.sampling_panel is not None:
                self.sampling_panel.focus_preview()
        else:
            self.session.preview.look_at_last()
        self.show_preview()
