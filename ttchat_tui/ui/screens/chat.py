"""The chat screen: the mediator between the session and the widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from msgspec import structs
from textual import on
from textual.app import ComposeResult
from textual.containers import Center, Horizontal, Vertical
from textual.events import Key, Paste
from textual.message import Message as TextualMessage
from typing_extensions import assert_never

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineState, LoadProgress
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.updates import (
    CapabilitiesChanged,
    ConversationOpened,
    ConversationsChanged,
    DraftReturned,
    EngineChanged,
    EngineFault,
    EngineProgress,
    EngineReady,
    MessageAdded,
    MessageRemoved,
    Notice,
    PromptCost,
    QueueChanged,
    ReplyBegan,
    ReplyDelayed,
    ReplyEnded,
    ReplyEndedElsewhere,
    ReplyPrefilling,
    ReplyRewritten,
    ReplyStarted,
    ReplyStreamed,
    Update,
)
from ttchat_tui.session import left_out
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.commands import TABLE, bindings
from ttchat_tui.ui.engine_pump import EnginePump
from ttchat_tui.ui.live_metrics import LiveMetrics
from ttchat_tui.ui.screens.elsewhere import Elsewhere
from ttchat_tui.ui.screens.sidebars import SIDEBARS
from ttchat_tui.ui.services import Services
from ttchat_tui.ui.slash import PlainText, SlashCommand, SlashError, parse_submission
from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanScreen
from ttchat_tui.ui.textual_patches.privates import add_bindings, is_bound
from ttchat_tui.ui.widgets.key_line import KeyLine
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.status_line import StatusLine
from ttchat_tui.ui.widgets.transcript.message_format import (
    FAULT_KEY,
    cost_hint,
    fault_view,
    view_of,
    welcome,
    with_reload_hint,
)
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from ttchat_tui.ui.app import TtchatApp


class ChatScreen(Elsewhere, DirtySpanScreen[None]):
    """The app's main screen; dialogs open on top of it."""

    AUTO_FOCUS = "Prompt"

    class Begun(TextualMessage):
        """The prompt is mounted and has its draft."""

    class Completed(TextualMessage):
        """The sidebars are mounted."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.session = services.session
        self.key_overrides = services.config.keys
        add_bindings(self, bindings(TABLE, self.key_overrides))
        self.metrics = LiveMetrics(self.session)
        self.pump = EnginePump(self.session, self.show_updates, self._flush, self._has_widgets)
        # Of the running reply, or of what sending the draft would take.
        self._context_shown: dict[str, int] = {}
        self.is_whole = False

    def compose(self) -> ComposeResult:
        # Before there are child widgets that a change of classes would restyle.
        self.place_sidebars(self.size.width)
        config = self.services.config.ui
        yield StatusLine()
        with Horizontal(id="columns"), Vertical(id="chat", classes="-no-left -no-right"):
            yield Transcript()
            with Center(id="writing"):
                yield Prompt(submit_keys=config.submit_keys, newline_keys=config.newline_keys)
        yield KeyLine(narrower_than={each.toggle: each.fits_from for each in SIDEBARS.values()})

    def on_mount(self) -> None:
        # Not with the sidebars: a stored draft must not replace what is typed after the first frame.
        self.show_updates(self._first_conversation())
        self.post_message(self.Begun())
        self.call_after_refresh(self._mount_sidebars)
        self.run_worker(self.pump.run(), group="pump", exit_on_error=True)

    async def _mount_sidebars(self) -> None:
        """After the first frame, in which the prompt already takes keys."""
        await self.mount_sidebars()
        self.is_whole = True
        self.post_message(self.Completed())
        self.show_recovered()
        self._refresh_settings()
        self._refresh_metrics()
        self.show_updates([ConversationsChanged()])
        notice = self.session.storage_notice
        if notice is not None:
            self.show_error(notice)
            self.status.set_notice(
                "nothing is kept" if self.session.storage_mode == "memory" else "read-only"
            )
        self.services.on_screen_ready()

    def _first_conversation(self) -> Sequence[Update]:
        resume = self.services.resume
        try:
            resumed = self.session.resume(resume.sampling, resume.system_prompt) if resume else []
        except StorageError as error:
            self.show_error(error.info)
            resumed = []
        return resumed or self.session.new_conversation()

    # --- updates from the session

    def show_updates(self, updates: Sequence[Update]) -> None:
        """Draw updates in order. An update whose data cannot be read is reported and skipped."""
        for update in updates:
            try:
                self._show_update(update)
            except StorageError as error:
                self.show_error(error.info)
        self.on_message_selection_selection_changed()

    def on_message_selection_selection_changed(self) -> None:
        """Show what escape does now."""
        for line in self.query(KeyLine):
            line.set_escape(self.escape_does())

    def place_sidebars(self, width: int) -> None:
        super().place_sidebars(width)
        self.on_message_selection_selection_changed()

    def _show_update(self, update: Update) -> None:
        """The only place that distinguishes updates."""
        match update:
            case ConversationOpened(conversation, messages):
                self._open(conversation, messages)
            case MessageAdded(message):
                self.transcript.add(view_of(message))
            case MessageRemoved(message_id):
                self._remove(message_id)
            case ReplyBegan(message):
                self._begin_reply(message)
            case ReplyStarted(_, dropped_messages):
                self.metrics.phase = "prefill"
                self._show_dropped(dropped_messages)
            case ReplyPrefilling(_, done, total):
                self._show_prefill(done, total)
            case ReplyDelayed(_, words):
                self.status.set_detail(words, word="waiting:")
            case ReplyStreamed(message_id, text):
                self.status.set_detail("")
                self.metrics.phase = "generating"
                self.transcript.feed(message_id, text)
            case ReplyRewritten(message_id, text):
                self.transcript.rewrite(message_id, text)
            case ReplyEnded(message, error):
                self._end_reply(message, error)
            case ReplyEndedElsewhere():
                self.show_end_elsewhere(update)
            case QueueChanged(message):
                self.transcript.update(self.view(message))
            case DraftReturned(text, error):
                self._return_draft(text, error)
            case ConversationsChanged():
                self.refresh_history()
            case PromptCost():
                self._show_cost(update)
            case EngineChanged(state, detail):
                self._show_state(state, detail)
            case EngineProgress(progress):
                self._show_progress(progress)
            case EngineReady(info):
                self._show_loaded(info)
            case CapabilitiesChanged(capabilities):
                self.show_capabilities(capabilities)
            case EngineFault(error):
                self._show_fault(error)
            case Notice(error):
                self.show_error(error)
            case _:
                assert_never(update)

    def _open(self, conversation: Conversation | None, messages: Sequence[Message]) -> None:
        self.transcript.show([self.view(message) for message in messages])
        self.transcript.set_placeholder(None if messages else welcome())
        self.prompt.set_draft(self.session.draft)
        self.prompt.set_history(self.session.recent_prompts())
        self.prompt.set_busy(self.session.is_answering)
        if self.session.is_busy:
            self.show_place_of_reply()
            self.metrics.phase = "generating"
        self.metrics.forget_rates()
        self.metrics.last_stats = next((m.reply.stats for m in reversed(messages) if m.reply), None)
        self._show_last_context()
        self._refresh_settings()
        self.refresh_history()
        self._refresh_metrics()
        self.count()

    def _show_last_context(self) -> None:
        """Show the context after the last reply. While a reply runs elsewhere, the engine cannot count anything newer."""
        stats, info = self.metrics.last_stats, self.session.info
        used = stats.prompt_tokens + stats.completion_tokens if stats else 0
        self._show_context(used, info.context_length if info else 0)
        self.prompt.set_token_hint("")

    def _remove(self, message_id: int) -> None:
        self.transcript.remove(message_id)
        self._welcome_if_empty()

    def _welcome_if_empty(self) -> None:
        if not self.session.path:
            self.transcript.set_placeholder(welcome())

    def count(self) -> None:
        """Count the tokens that sending would take. Not while a reply streams: its tokens are not in a message yet."""
        if not self.session.is_answering:
            self.show_updates(self.session.count(self._text_to_send))

    @property
    def _text_to_send(self) -> str:
        """The draft as a message; empty for a command, also while it is being typed."""
        submission = parse_submission(self.prompt.text)
        return submission.text if isinstance(submission, PlainText) else ""

    def _begin_reply(self, message: Message) -> None:
        self.prompt.set_busy(True)
        self.metrics.forget_rates()
        self.transcript.begin(structs.replace(view_of(message), figures="", note=""))

    def _show_prefill(self, done: int, total: int) -> None:
        if 0 < done < total:
            self.status.set_detail(f"the prompt {done:,} / {total:,}", word="reading")

    def _end_reply(self, message: Message, error: ErrorInfo | None) -> None:
        self.prompt.set_busy(self.session.is_answering)
        cure = error.cure if error else ""
        if error and self.session.engine_state == "failed":
            cure = with_reload_hint(cure)
        self.transcript.finish(view_of(message, error_cure=cure))
        self.metrics.last_stats = message.reply.stats if message.reply else None
        self._refresh_metrics()
        self.count()
        self.ring()

    def _show_state(self, state: EngineState, detail: str) -> None:
        self.status.set_state(state, detail)
        if state == "generating":
            self.show_place_of_reply()
        self.show_queued()
        self.metrics.phase = "no model" if state == "empty" else state
        self._refresh_metrics()

    def _show_progress(self, progress: LoadProgress) -> None:
        self.status.set_progress(progress)
        self.metrics.phase = progress.phase

    def _show_loaded(self, info: EngineInfo) -> None:
        self.transcript.remove(FAULT_KEY)
        self.status.set_model(info.model, info.label)
        self._show_context(0, info.context_length)
        self.show_notes(info.notes)
        self.remember_model(self.session.loaded_model)
        self.ring()
        self._refresh_settings()
        self.count()

    def _show_fault(self, error: ErrorInfo) -> None:
        """Show the error in the transcript until a model is loaded; a toast would disappear before it is read."""
        self.status.set_model("")
        self.transcript.remove(FAULT_KEY)
        self.transcript.add(fault_view(error))
        self.ring()

    def _return_draft(self, text: str, error: ErrorInfo) -> None:
        self.prompt.set_busy(self.session.is_answering)
        if text:
            written_since = self.prompt.text.strip()
            self.prompt.set_draft(f"{text}\n\n{written_since}" if written_since else text)
            self.keep_draft()
        self._welcome_if_empty()
        self.show_error(error)

    def _show_dropped(self, dropped_messages: int) -> None:
        if dropped_messages:
            self.notify(left_out(dropped_messages), severity="warning", markup=False)

    def _show_cost(self, cost: PromptCost) -> None:
        self._show_context(cost.prompt_tokens, cost.context_length)
        self._refresh_metrics()
        # Messages that no longer fit are named without a draft too: the meter falls with them.
        is_shown = bool(self._text_to_send.strip()) or cost.dropped_messages > 0
        self.prompt.set_token_hint(cost_hint(cost) if is_shown else "")

    def _refresh_settings(self) -> None:
        panel, info = self.sampling_panel, self.session.info
        if panel is None:
            return
        if info is not None:
            panel.set_capabilities(info.capabilities)
        panel.set_context_length(info.context_length if info else 0)
        panel.set_model_default(self.session.recommended_sampling, self.session.default_sampling)
        panel.set_params(self.session.sampling)
        panel.set_system_prompt(self.session.system_prompt)

    def _refresh_metrics(self) -> None:
        if self.metrics_panel is None:
            return
        metrics = self.metrics.sample()
        if self.session.is_answering and metrics.context_used:
            self._show_context(metrics.context_used, metrics.context_length or 0)
        self.metrics_panel.show(replace(metrics, **self._context_shown))

    def _show_context(self, used: int, length: int) -> None:
        self._context_shown = {"context_used": used, "context_length": length}
        self.status.set_context(used, length)

    def _has_widgets(self) -> bool:
        """False once the app has begun to remove its widgets."""
        return bool(self.query(Transcript)) and bool(self.query(Prompt)) and bool(self.query(StatusLine))

    def _flush(self) -> float:
        if self.session.is_answering and self.metrics.is_due():
            self._refresh_metrics()
        return self.transcript.flush()

    # --- messages from the widgets

    @on(Prompt.Submitted)
    async def _submitted(self, event: Prompt.Submitted) -> None:
        cast("TtchatApp", self.app).drop_stale_toasts()
        match parse_submission(event.text):
            case PlainText(text):
                self.apply_typed_settings()
                self.prompt.clear_draft()
                self.transcript.set_placeholder(None)
                self.transcript.follow()
                self.show_updates(self.session.submit(text))
                self.keep_draft()
            case SlashCommand(action, argument):
                self.prompt.clear_draft()
                await self.run_command(action, argument)
            case SlashError(sentence):
                self.show_error(ErrorInfo(kind="usage", message=sentence))

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
        """Send keys that nothing else handles to the prompt."""
        if event.is_printable and event.character is not None and not is_bound(self, event.key):
            self._write(event.character)
            event.stop()

    def on_paste(self, event: Paste) -> None:
        event.stop()
        self._write(event.text)

    def _write(self, text: str) -> None:
        self.prompt.write(text)
        self.close_overlay()
