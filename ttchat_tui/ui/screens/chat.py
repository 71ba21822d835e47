"""The chat screen: the mediator between the session and the widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Center, Horizontal, Vertical
from textual.css.query import NoMatches
from textual.events import Key, Paste
from textual.geometry import Region
from textual.message import Message as TextualMessage
from textual.notifications import Notification
from textual.screen import Screen

from ttchat_tui.domain.conversation import joined
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import (
    ConversationsChanged,
    Update,
)
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import toasts
from ttchat_tui.ui.commands import TABLE, bindings
from ttchat_tui.ui.engine_pump import EnginePump
from ttchat_tui.ui.live_metrics import LiveMetrics
from ttchat_tui.ui.screens.attaching import Attaching
from ttchat_tui.ui.screens.branch_actions import BranchActions
from ttchat_tui.ui.screens.comparing import Comparing
from ttchat_tui.ui.screens.constraining import ConstraintActions
from ttchat_tui.ui.screens.elsewhere import FOLLOW_S, LOOK_S
from ttchat_tui.ui.screens.file_actions import FileActions
from ttchat_tui.ui.screens.finding import Finding
from ttchat_tui.ui.screens.getting import Getting
from ttchat_tui.ui.screens.inspecting import Inspecting
from ttchat_tui.ui.screens.ledger_actions import LedgerActions
from ttchat_tui.ui.screens.organising import OrganisingActions
from ttchat_tui.ui.screens.pausing import PausingActions
from ttchat_tui.ui.screens.previewing import Previewing
from ttchat_tui.ui.screens.prompt_actions import PromptActions
from ttchat_tui.ui.screens.queueing import Queueing
from ttchat_tui.ui.screens.recalling import Recalling
from ttchat_tui.ui.screens.setting import SettingActions
from ttchat_tui.ui.screens.sidebars import SIDEBARS
from ttchat_tui.ui.screens.steering import SteeringActions
from ttchat_tui.ui.screens.thinking import ThinkingActions
from ttchat_tui.ui.screens.timing import Timing
from ttchat_tui.ui.screens.transcript_actions import TranscriptActions
from ttchat_tui.ui.screens.updates import UpdateDrawing
from ttchat_tui.ui.services import Services
from ttchat_tui.ui.slash import PlainText, SlashCommand, SlashError, parse_below
from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanScreen
from ttchat_tui.ui.textual_patches.privates import add_bindings, is_bound
from ttchat_tui.ui.widgets.key_line import KeyLine
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.status_line import StatusLine
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from ttchat_tui.ui.app import TtchatApp


LEAST_BESIDE: Final = 20
"""Cells beside an open panel in which toasts can be read."""


class ChatScreen(
    BranchActions,
    UpdateDrawing,
    Finding,
    Recalling,
    Queueing,
    TranscriptActions,
    LedgerActions,
    Inspecting,
    Timing,
    FileActions,
    Getting,
    OrganisingActions,
    PromptActions,
    Attaching,
    SettingActions,
    ThinkingActions,
    ConstraintActions,
    PausingActions,
    SteeringActions,
    Previewing,
    Comparing,
    DirtySpanScreen[None],
):
    """The app's main screen; dialogs open on top of it."""

    AUTO_FOCUS = "Prompt"

    class Begun(TextualMessage):
        """The prompt is mounted and has its draft."""

    class Completed(TextualMessage):
        """The sidebars are mounted."""

    _last_command = ("", "")
    """The action that a slash command named last, and the command; empty once the engine has refused it."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.session = services.session
        self.key_overrides = services.config.keys
        add_bindings(self, bindings(TABLE, self.key_overrides))
        self.metrics = LiveMetrics(self.session)
        self.pump = EnginePump(
            self.session, self.show_updates, self._flush, self._has_widgets, self.call_after_refresh
        )
        self.is_whole = False

    def compose(self) -> ComposeResult:
        # Before there are child widgets that a change of classes would restyle.
        self.place_sidebars(self.size.width)
        config = self.services.config.ui
        yield StatusLine()
        with Horizontal(id="columns"), Vertical(id="chat", classes="-no-left -no-right"):
            yield Transcript(self.view_of_key, thoughts=config.thoughts)
            with Center(id="writing"):
                yield Prompt(config)
        yield KeyLine(narrower_than={each.toggle: each.fits_from for each in SIDEBARS.values()})

    def on_mount(self) -> None:
        # Not with the sidebars: a stored draft must not replace what is typed after the first frame.
        self.show_updates(self._first_conversation())
        self.post_message(self.Begun())
        self.watch(self.transcript, "scroll_y", self.read_again, init=False)
        self.screen_layout_refresh_signal.subscribe(self, self._layout_changed)
        self.call_after_refresh(self._mount_sidebars)
        self.run_worker(self.pump.run(), group="pump", exit_on_error=True)

    async def _mount_sidebars(self) -> None:
        """After the first frame, in which the prompt already takes keys."""
        await self.mount_sidebars()
        self.is_whole = True
        self.post_message(self.Completed())
        self.show_interrupted()
        self.restore_queue()
        self._refresh_settings()
        self._refresh_metrics()
        self.place_sidebars(self.size.width)
        self.show_updates([ConversationsChanged()])
        notice = self.session.storage_notice
        if notice is not None:
            self.show_error(notice)
        self.set_interval(LOOK_S, self.follow_others)
        self.set_interval(FOLLOW_S, self.follow_queue)
        self.set_interval(FOLLOW_S, self.follow_history)
        self.services.on_screen_ready()

    def _first_conversation(self) -> Sequence[Update]:
        resume = self.services.resume
        try:
            resumed = self.session.resume(resume.sampling, resume.system_prompt) if resume else []
        except StorageError as error:
            self.show_error(error.info)
            resumed = []
        return resumed or self.session.new_conversation()

    def place_sidebars(self, width: int) -> None:
        super().place_sidebars(width)
        self.on_message_selection_selection_changed()

    def _layout_changed(self, _: Screen[object]) -> None:
        """Where toasts have room changes with the text, the prompt and the terminal."""
        if self._has_widgets() and self.app.screen is self:
            self.place_toasts(cast("TtchatApp", self.app).shown_toasts())

    def place_toasts(self, shown: Sequence[Notification]) -> None:
        """Above the prompt or what is open there, beside an open panel. Where they do not fit below the text, it makes room:
        they cover neither what is read nor what is operated."""
        if not shown:
            toasts.make_room(self.transcript, 0)
            return
        text, full = self.transcript, self.transcript.region
        full = full.grow((0, 0, text.styles.margin.bottom, 0))
        area = self._beside_panels(full)
        rows = toasts.rows_of(shown, min(area.width, toasts.WIDTH) - 3)
        least = toasts.LEAST_LEFT if area.height == full.height else 1  # else completions are over the text
        rows = max(0, min(rows, area.height - least))
        has_room = not text.styles.margin.bottom  # once made it stays, or the text would move back and forth
        fits = has_room and text.rows_of_text + rows <= area.bottom - full.y
        needed = full.bottom - area.bottom + rows
        toasts.make_room(text, 0 if fits else max(0, min(needed, full.height - 1)))
        toasts.place(self, area, rows)

    def _beside_panels(self, area: Region) -> Region:
        """The part of `area` beside the overlay and above the completions. A terminal may be so narrow that there is none."""
        if self.overlay:
            panel = self.query_one(SIDEBARS[self.overlay].selector).region
            left = Region(area.x, area.y, panel.x - area.x, area.height)
            right = Region(panel.right, area.y, area.right - panel.right, area.height)
            beside = max(left, right, key=lambda each: each.width)
            area = beside if beside.width >= LEAST_BESIDE else area
        for each in self.query("CompletionList"):
            if each.display and each.region.overlaps(area):
                area = Region(area.x, area.y, area.width, max(0, each.region.y - area.y))
        return area

    def _has_widgets(self) -> bool:
        """False once the app has begun to remove its widgets."""
        try:
            return all(each.is_attached for each in (self.transcript, self.prompt, self.status))
        except NoMatches:
            return False

    def _flush(self) -> float:
        if self.session.is_answering and self.metrics.is_due():
            self._refresh_metrics()
        return self.flush_candidates() if self.has_candidates_open else self.transcript.flush()

    # --- messages from the widgets

    @on(Prompt.Submitted)
    async def _submitted(self, event: Prompt.Submitted) -> None:
        cast("TtchatApp", self.app).drop_stale_toasts()
        if self.is_editing:
            await self.submit_edit(event.text)
            return
        kept, typed = self.prompt.parted(event.text)
        match parse_below(kept, typed):
            case PlainText(draft):
                text = await self.attached(draft)
                if text is None or not self._take_draft(event.text):
                    return  # a file cannot be attached
                self.apply_typed_settings()
                self.transcript.follow()
                self.show_updates(self.session.submit(text))
                self.keep_draft()
            case SlashCommand(action, argument):
                if not self._take_draft(event.text, kept):
                    return
                self.keep_draft()  # what was typed of the command
                self._last_command = (action.name, typed)
                if not await self.run_command(action, argument) and self.prompt.text == kept:
                    self.prompt.set_draft(event.text, returned=kept)
                    self.prompt.mark_refused()
            case SlashError(sentence):
                self.prompt.mark_refused()
                self.show_error(ErrorInfo(kind="usage", message=sentence))

    def return_command(self, *names: str) -> None:
        """The engine has refused what one of these actions has set: its command comes back to be corrected, if it was the last
        one and nothing was typed since."""
        (name, command), self._last_command = self._last_command, ("", "")
        above = self.prompt.text
        is_untouched = self.prompt.parted(f"{above}\n\n")[0] == above  # empty, or a message that came back
        if name in names and is_untouched:
            self.prompt.set_draft(joined(above, command), returned=above)
            self.prompt.mark_refused()

    def _take_draft(self, sent: str, kept: str = "") -> bool:
        """Leave of the draft what was written since it was `sent`, below what is `kept`. False: it was sent already, or changed."""
        if not self.prompt.text.startswith(sent):
            return False
        written_since = self.prompt.text.removeprefix(sent)
        self.prompt.clear_draft()
        self.prompt.give_back(kept)
        if written_since:
            self.prompt.write(written_since)
        return True

    @on(Prompt.DraftChanged)
    def _draft_changed(self, event: Prompt.DraftChanged) -> None:
        self.keep_draft()
        self.count()

    @on(Prompt.ScrollRequested)
    def _scroll_requested(self, event: Prompt.ScrollRequested) -> None:
        scroll = self.transcript.scroll_page_up if event.pages < 0 else self.transcript.scroll_page_down
        scroll()  # Textual's actions of these names raise if there is nothing to scroll

    @on(Transcript.CopyRequested)
    def _copy_requested(self, event: Transcript.CopyRequested) -> None:
        self.copy(event.text)

    def on_key(self, event: Key) -> None:
        """Send keys that nothing else handles to the prompt, unless they pause or step the reply."""
        if self.paces(event.key):
            event.stop()
        elif event.is_printable and event.character is not None and not is_bound(self, event.key):
            self.prompt.write(event.character)
            self.close_overlay()
            event.stop()

    def on_paste(self, event: Paste) -> None:
        event.stop()
        self.prompt.paste(event.text)
        self.close_overlay()
