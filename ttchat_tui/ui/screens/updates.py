"""Draws the session's updates: the transcript, the status line, the figures and the list of conversations follow them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from msgspec import structs
from textual.content import Content
from typing_extensions import assert_never

from ttchat_tui.domain.attachments import without_mentioned_blocks
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import EngineState, LoadProgress
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.reply_settings import differing, setting_words
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    BiasRefused,
    BranchShown,
    CapabilitiesChanged,
    ConstraintChecked,
    ContextChanged,
    ConversationOpened,
    ConversationsChanged,
    DraftReturned,
    EngineChanged,
    EngineFault,
    EngineProgress,
    EngineReady,
    MessageAdded,
    MessageChanged,
    MessageRemoved,
    Notice,
    PreviewChanged,
    PromptCost,
    QueueChanged,
    ReplyBegan,
    ReplyDelayed,
    ReplyEnded,
    ReplyEndedElsewhere,
    ReplyFollowed,
    ReplyPrefilling,
    ReplyRewritten,
    ReplyStarted,
    ReplyStreamed,
    SummaryWritten,
    Update,
)
from ttchat_tui.domain.user_paths import is_there
from ttchat_tui.session import MessagePath, left_out
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.live_metrics import LiveMetrics
from ttchat_tui.ui.screens.elsewhere import Elsewhere
from ttchat_tui.ui.slash import PlainText, as_typed, parse_below, parse_submission
from ttchat_tui.ui.widgets.key_line import KeyLine, ShownKey
from ttchat_tui.ui.widgets.prompt.placeholder import placeholder_of
from ttchat_tui.ui.widgets.transcript.message_format import (
    FAULT_KEY,
    cost_hint,
    fault_view,
    view_of,
    with_reload_hint,
)
from ttchat_tui.ui.widgets.transcript.views import Entry

NEAR_END: Final = 32
"""Messages at the end among which the last reply is looked for. They are on screen, nearly all."""


class UpdateDrawing(Elsewhere):
    """`show_updates` draws what has changed."""

    count_draft: Callable[[str], None]
    metrics: LiveMetrics
    show_queue: Callable[[], None]
    selection_keys: Callable[[], Sequence[ShownKey]]
    list_keys: Callable[[], Sequence[ShownKey]]
    has_answered: bool
    leave_find: Callable[[], None]
    show_constraint: Callable[[ConstraintChecked], None]
    show_refused_bias: Callable[[ErrorInfo], None]
    show_count: Callable[[PromptCost], None]
    show_summary_end: Callable[[], None]
    answer_keys: Callable[[], Sequence[ShownKey]]
    pace_keys: Callable[[], Sequence[ShownKey]]
    show_pace: Callable[[], None]
    show_preview: Callable[[], None]
    welcome_text: Callable[[], Content]
    offer_models: Callable[[], None]
    _default_sampling: SamplingParams | None = None
    """With the last loaded model."""
    _context_shown: Mapping[str, int] = MappingProxyType({})
    """Of the running reply, or of what sending the draft would take."""

    def show_updates(self, updates: Sequence[Update]) -> None:
        """Draw updates in order. An update whose data cannot be read is reported and skipped."""
        for update in updates:
            try:
                self._show_update(update)
            except StorageError as error:
                self.show_error(error.info)
        self._show_whether_busy()
        self.drop_untrue_toasts()
        self.show_pace()
        self.show_preview()
        self.on_message_selection_selection_changed()

    def _show_whether_busy(self) -> None:
        """A reply ends in several ways: with a text, withdrawn in favour of what it replaced, with its conversation."""
        self.prompt.placeholder = placeholder_of(self.session)
        self.status.set_notice(self.lasting_notice(self.session.other_windows.is_answering))
        self.prompt.set_busy(self.session.is_answering)

    def on_message_selection_selection_changed(self) -> None:
        """Show what escape does now."""
        for line in self.query_children(KeyLine):
            line.set_escape(self.escape_does())
            line.set_selection(self.list_keys() or self.selection_keys())
            line.set_pace([*self.answer_keys(), *self.pace_keys()])

    def _show_update(self, update: Update) -> None:
        """With `_show_engine` the only place that distinguishes updates."""
        match update:
            case ConversationOpened(conversation, messages):
                self._open(conversation, messages)
            case BranchShown(kept, messages, at):
                self._show_branch(kept, messages, at)
            case MessageAdded(message):
                self.transcript.set_placeholder(None)
                self.transcript.add(view_of(message))
            case MessageChanged(message):
                self.transcript.update(self.view(message))
            case ReplyFollowed(message):
                self._follow_reply(message)
            case MessageRemoved(message_id):
                self._remove(message_id)
            case ReplyBegan(message):
                self._begin_reply(message)
            case ReplyStarted(_, dropped_messages):
                self._show_start(dropped_messages)
            case ReplyPrefilling(_, done, total):
                self._show_prefill(done, total)
            case ReplyDelayed(_, words):
                self.status.set_detail(words, word="waiting:")
            case ReplyStreamed(message_id, text, thoughts):
                self.status.set_detail("", word=self.pace_word())
                self.metrics.phase = "generating"
                self.transcript.set_thoughts(message_id, thoughts)
                self.transcript.feed(message_id, text)
            case ReplyRewritten(message_id, text, thoughts):
                self.transcript.rewrite(message_id, text, thoughts)
            case ReplyEnded(message, error):
                self._end_reply(message, error)
            case ReplyEndedElsewhere():
                self.show_end_elsewhere(update)
            case QueueChanged():
                self.show_queue()
            case DraftReturned(text, error):
                self._return_draft(text, error)
            case ConversationsChanged():
                self.refresh_history()
            case PromptCost():
                self._show_cost(update)
                self.show_count(update)
            case ContextChanged():
                self.count()
            case SummaryWritten():
                self.show_summary_end()
            case PreviewChanged():
                pass  # drawn once, after all updates
            case EngineChanged() | EngineProgress() | EngineReady() | CapabilitiesChanged() | EngineFault():
                self._show_engine(update)
            case ConstraintChecked():
                self.show_constraint(update)
            case BiasRefused(error):
                self.show_refused_bias(error)
            case Notice(error):
                self.show_error(error)
            case _:
                assert_never(update)

    def _show_engine(
        self, update: EngineChanged | EngineProgress | EngineReady | CapabilitiesChanged | EngineFault
    ) -> None:
        match update:
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

    def _open(self, conversation: Conversation | None, messages: Sequence[Message]) -> None:
        self.has_answered = False
        self.leave_find()
        self.transcript.show(self._entries(messages))
        self.transcript.set_placeholder(None if messages else self.welcome_text())
        draft = self.session.draft
        self.prompt.know_pastes(self.session.folds.of(draft))
        self.prompt.set_draft(draft)
        recent = map(without_mentioned_blocks, self.session.prompts.recent())
        self.prompt.set_history(list(map(as_typed, recent)))
        if self.session.is_busy:
            self.show_place_of_reply()
            self.metrics.phase = "generating"
        self.metrics.forget_rates()
        self._show_last_stats(messages)
        self._refresh_settings()
        self.refresh_history()
        self.show_queue()
        self._refresh_metrics()
        self.count()
        self.begin_reading()

    def _show_branch(self, kept: int, messages: Sequence[Message], at: int | None) -> None:
        self.transcript.show(self._entries(messages), kept=kept, at=at)
        self._show_question_again(*self.session.path.ids[max(0, kept - 1) : kept])
        self._welcome_if_empty()
        self._show_last_stats(self.session.path)
        self._refresh_metrics()
        self.count()
        self.begin_reading()

    def _entries(self, messages: Sequence[Message]) -> Sequence[Entry]:
        """Messages that are not read yet become views when they come into view."""
        return messages.ids if isinstance(messages, MessagePath) else [self.view(each) for each in messages]

    def _show_last_stats(self, messages: Sequence[Message]) -> None:
        """Show the figures of the last reply and the context after it. A conversation without replies is not read whole for
        them. While a reply runs elsewhere, the engine cannot count anything newer."""
        near = reversed(messages[-NEAR_END:])
        self.metrics.last_stats = next((m.reply.stats for m in near if m.reply), None)
        stats, info = self.metrics.last_stats, self.session.info
        used = stats.prompt_tokens + stats.completion_tokens if stats else 0
        self._show_context(used, info.context_length if info else 0)
        self.prompt.set_token_hint("")

    def _remove(self, message_id: int) -> None:
        self.transcript.remove(message_id)
        self._show_question_again(*self.session.path.ids[-1:])
        self._welcome_if_empty()

    def _welcome_if_empty(self) -> None:
        if not self.session.path:
            self.transcript.set_placeholder(self.welcome_text())

    def count(self) -> None:
        """Count the tokens that sending would take."""
        text = self._text_to_send
        self.session.context.draft = text
        self.transcript.set_context(self.session.context.marks())
        if not text.strip():
            self.prompt.set_token_hint("")
        self.count_draft(text)

    @property
    def _text_to_send(self) -> str:
        """The draft as a message; empty for a command, also while it is being typed."""
        kept, typed = self.prompt.parted(self.prompt.text)
        submission = parse_below(kept, typed)
        if typed.strip() == "/" or not isinstance(submission, PlainText):
            submission = parse_submission(kept)
        return submission.text if isinstance(submission, PlainText) else ""

    def _show_question_again(self, message_id: int | None = None) -> None:
        """A reply to this message has begun or has gone: a note under it says if it has none."""
        asked = self.session.path.message(message_id)
        if asked is not None and asked.role == "user":
            self.transcript.update(self.view(asked))

    def _begin_reply(self, message: Message) -> None:
        self._show_question_again(message.parent_id)
        self.metrics.forget_rates()
        self.transcript.begin(structs.replace(view_of(message), figures="", note=""))

    def _show_prefill(self, done: int, total: int) -> None:
        if done >= total and self.session.pausing.is_paused:
            self.status.set_detail("", word=self.pace_word())
        elif 0 < done < total:
            self.status.set_detail(f"the prompt {done:,} / {total:,}", word="reading")

    def _end_reply(self, message: Message, error: ErrorInfo | None) -> None:
        self.has_answered = True
        cure = error.cure if error else ""
        if error and self.session.engine_state == "failed":
            cure = with_reload_hint(cure)
        self.transcript.finish(
            view_of(message, error_cure=cure, differing=self.session.branching.differing(message))
        )
        self.metrics.last_stats = message.reply.stats if message.reply else None
        self._refresh_metrics()
        self.count()
        self.announce_reply(self.session.conversation, message.content, error)

    def _follow_reply(self, message: Message) -> None:
        self.follow_reply(message)
        if message.status != "streaming":
            self._show_last_stats(self.session.path)
            self._refresh_metrics()
            self.count()

    def _show_state(self, state: EngineState, detail: str) -> None:
        self.status.set_state(state, detail)
        if state == "generating":
            self.show_place_of_reply()
        self.show_queue()
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
        self._note_sampling(info)
        self.offer_models()
        self.announce("ttchat", f"{info.model} is ready.")
        self._refresh_settings()
        self.count()

    def _note_sampling(self, info: EngineInfo) -> None:
        """Say which settings have come with another model: the user has set none here."""
        before, now = self._default_sampling, self.session.default_sampling
        self._default_sampling = now
        if before is not None and self.session.sampling == now and (names := differing([before, now])):
            words = ", ".join(setting_words(now, names))
            self.notify(f"The sampling settings are now those of {info.model}: {words}.", markup=False)

    def _show_fault(self, error: ErrorInfo) -> None:
        """Show the error in the transcript until a model is loaded; a toast would disappear before it is read."""
        self.status.set_model("")
        self.transcript.remove(FAULT_KEY)
        self.transcript.add(fault_view(error))
        self.announce("ttchat", error.message)

    def _return_draft(self, text: str, error: ErrorInfo) -> None:
        text = without_mentioned_blocks(text, is_there)
        if text:
            self.give_back(as_typed(text))
            self.keep_draft()
        self._welcome_if_empty()
        self.show_error(error)
        self.count()

    def give_back(self, text: str) -> None:
        """Put a text that was not answered before the draft."""
        self.prompt.give_back(text)

    def _show_start(self, dropped_messages: int) -> None:
        self.metrics.phase = "prefill"
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
        constraint = self.session.sampling.constraint
        self.prompt.set_form(constraint.summary if constraint else "")
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
