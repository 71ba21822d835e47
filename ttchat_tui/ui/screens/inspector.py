"""The inspector: a reply token by token, with what the model might have written in the place of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.widgets import Static

from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.logit_bias import BAN, bias_words, text_of
from ttchat_tui.domain.recording import Likelihood, Recording
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.rest_of_reply import RestOfReply
from ttchat_tui.ui.widgets.inspector.about_token import figures_line, lines_about
from ttchat_tui.ui.widgets.inspector.alternatives import AlternativeList, choices_of
from ttchat_tui.ui.widgets.inspector.doubt import BY_ENTROPY, BY_PROBABILITY
from ttchat_tui.ui.widgets.inspector.hints import KeyHints, State, keys_for
from ttchat_tui.ui.widgets.inspector.token_text import TokenText
from ttchat_tui.ui.widgets.sampling.preview_rows import PreviewRows

FOLLOW_S: Final = 0.1
"""How often a running reply is looked at, in seconds."""

FIRST_SHOWN: Final = 512
"""Tokens that fill a screen, one part of a stored recording."""

_BOOST_STEP: Final = 1.0
_ELSEWHERE: Final = "Another window writes this reply. Its tokens can be looked at when it has ended."
_WAITING: Final = "Waiting for the first token …"


class InspectorScreen(Dialog[bool]):
    """Over the chat, which goes on below it. True: the user wants the sampler's preview of the token under the cursor."""

    heading = "Inspector"
    keys = "F1 explains · esc closes"
    AUTO_FOCUS = "TokenText"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]
    BINDINGS = [
        Binding("e", "write", "Write other words in place of this token and the rest", show=False),
        Binding("t", "tint", "Tint by probability, by entropy, or not", show=False),
        Binding("s", "preview", "To the sliders, with the sampler's preview of this token", show=False),
        Binding("less_than_sign", "limit(-1)", "Lower or raise the limit of what is doubtful", show=False),
        Binding("greater_than_sign", "limit(1)", "Lower or raise the limit of what is doubtful", show=False),
        Binding("x", "ban(False)", "Ban this token in the conversation, or allow it again", show=False),
        Binding("X", "ban(True)", "Ban it in the running reply only", show=False),
        Binding("plus", "boost(1)", "Make it more or less likely", show=False),
        Binding("minus", "boost(-1)", "Make it more or less likely", show=False),
        Binding("space", "pause", "Pause or resume the running reply", show=False),
        Binding("full_stop", "step", "One token of a paused reply", show=False),
    ]
    _text = getters.query_one(TokenText)
    _words = getters.query_one("#about", Static)
    _list = getters.query_one(AlternativeList)

    def __init__(
        self,
        session: ChatSession,
        message: Message,
        settings: UiSettings,
        change: Callable[[Callable[[], list[Update]]], bool],
        set_bias: Callable[..., None],
    ) -> None:
        """`change` draws what a fork has changed in the chat, and returns whether there is one; if not, it says why.
        `set_bias`: `SteeringActions.set_bias`."""
        super().__init__()
        self._session = session
        self._message = self._origin = message
        """The reply on screen, and the one that it was forked from."""
        self._settings = settings
        self._change = change
        self._set_bias = set_bias
        self._recording = Recording()
        self._likelihood = Likelihood()
        self._word_lines = 3
        self._last_id: int | None = None
        """Of the last token that is shown."""
        self._is_live = False
        """The recording grows, and is shown as far as it has come."""
        self._asked_at: int | None = None
        """The token in whose place something was to be written, which was refused."""
        self._listed: tuple[int, int, bytes] | None = None
        """The token whose alternatives are shown: its place, id and alternatives. Its times and figures are rounded once they
        are stored."""
        self._rows: PreviewRows | None = None
        """Where the preview could be seen when the screen opened: the chat behind it may be resized."""

    def body(self) -> ComposeResult:
        with Container(id="inspected"):
            yield TokenText(BY_PROBABILITY)
            with Vertical(id="token"):
                yield Static("", id="about", markup=False)
                yield AlternativeList()
                if self._session.preview.is_open:
                    self._rows = PreviewRows()
                    yield Static("with the settings of now", id="now", markup=False)
                    yield self._rows
        yield Static("", id="figures", markup=False)
        yield KeyHints()

    def on_mount(self) -> None:
        self.watch(self._text, "cursor", self._show_token, init=False)
        self.set_interval(FOLLOW_S, self._follow)
        self._open()

    def _open(self, cursor: int | None = None) -> None:
        """Read and show the recording of the reply, with the cursor on this token; None: on the first one, or on the last one
        of a running reply."""
        self._is_live = False
        self.run_worker(self._read(cursor, is_new=True), group="read", exclusive=True)

    async def _read(self, cursor: int | None = None, *, is_new: bool) -> None:
        """`is_new`: what is shown has not only grown."""
        is_running = self._is_running  # before: what comes meanwhile is followed
        try:
            if is_new:
                await self._show_first(cursor, is_running)
            if not is_new or self._text.shown >= FIRST_SHOWN:
                await self.wait_for_refresh()  # two threads at once would delay the first frame
                make = self._session.recordings.reader(self._message.id)
                recording = await in_daemon_thread(make)
                if is_new:  # the same tokens, but those of an earlier model may have lost their ids
                    self._recording = recording
                    self._note_end()
                self._show_growth(recording)
        except StorageError as error:
            self._explain(error.info.lines)
            return
        if not self._text.shown:
            nothing = f"Nothing was recorded of this reply. {setting('engine.record')} says what is recorded."
            why = _ELSEWHERE if self._message.status == "streaming" else nothing
            self._explain(_WAITING if is_running else why)
        self._is_live = is_running

    async def _show_first(self, cursor: int | None, is_running: bool) -> None:
        """Show the beginning of a long recording up to the cursor, which is on screen long before the whole is read. Raises
        StorageError."""
        make = self._session.recordings.reader(self._message.id, before=max((cursor or 0) + 1, FIRST_SHOWN))
        recording = await in_daemon_thread(make)
        self._recording, self._likelihood, self._listed = recording, Likelihood(), None
        self._text.show(recording, cursor if cursor is not None or is_running else 0)
        self._show_figures()
        self._note_end()

    @property
    def _is_running(self) -> bool:
        running = self._session.running
        return running is not None and running.message.id == self._message.id

    def _follow(self) -> None:
        """Show what a running reply has more, and at its end the rest."""
        if self._message is not self._origin and self._session.path.place_of(self._message.id) is None:
            self._message = self._origin  # the model refused the other one
            self._open(self._text.cursor)
        if not self._is_live:
            return
        if self._is_running:
            self._show_growth(self._session.recordings.of(self._message.id))
        else:
            self._is_live = False
            self.run_worker(self._read(is_new=False), group="read", exclusive=True)

    def _show_growth(self, recording: Recording) -> None:
        is_replaced = self._has_other_end(recording)
        self._recording = recording
        if is_replaced:
            self._likelihood = Likelihood()
            self._text.show(recording, None)
            self._show_figures()
        if len(recording.tokens) > self._text.shown:
            # A list that is read stays, unless each token comes by a key.
            is_read = self.focused is self._list and not self._session.pausing.is_paused
            self._text.grow(recording, is_held=is_read)
            self._show_figures()
            self._show_token()
        self._note_end()
        self._show_whether_forkable()

    def _has_other_end(self, recording: Recording) -> bool:
        """The latest token that is shown is another one now: the user has chosen it."""
        at = self._text.shown - 1
        return at >= 0 and (at >= len(recording.tokens) or recording.tokens[at].token_id != self._last_id)

    def _note_end(self) -> None:
        shown = self._recording.tokens[: self._text.shown]
        self._last_id = shown[-1].token_id if shown else None

    # --- what is shown

    def _show_token(self) -> None:
        self._show_words()
        if self._text.cursor < len(self._recording.tokens):
            token = self._recording.tokens[self._text.cursor]
            listed = (self._place, token.token_id, token.alternatives)
            if listed != self._listed:
                self._listed = listed
                self._list.show(choices_of(self._recording, token))
            self._preview()
            if self._is_running:
                self._show_whether_forkable()

    def _preview(self) -> None:
        """What the sampler would do with the settings of now."""
        if (
            self not in self.app.screen_stack
        ):  # closed: the token may be pinned, and what comes now is not looked at
            return
        preview = self._session.preview
        preview.inspect(self._message.id, self._recording, self._text.cursor)
        if preview.is_open and self._rows is not None:
            self._rows.set_params(self._session.sampling)
            self._rows.show(preview.token, preview.why_not)

    def _show_words(self) -> None:
        index = self._text.cursor
        if index < len(self._recording.tokens):
            own = self._message.reply.sampling if self._message.reply else None
            lines = lines_about(self._recording, index, own)
            bias = self._session.biasing.all
            names = (self._name_of(self._recording.tokens[index].token_id), self._target)
            words = [bias_words(text, bias[text]) for text in dict.fromkeys(names) if bias.get(text)]
            if words:
                lines.append(f"from now on: {', '.join(words)}")
            # It stays so, or the list would jump from token to token.
            self._word_lines = max(self._word_lines, len(lines))
            self._words.styles.height = self._word_lines
            self._words.remove_class("-sentence")
            self._words.update("\n".join(lines), layout=False)

    def _show_whether_forkable(self) -> None:
        """Grey the alternatives out if the model cannot continue after them."""
        why = "" if self._state == "at the latest token" else self._session.forking.why_not(self._current)
        self._list.set_dimmed(bool(why))
        is_asked = self.focused is self._list or self._asked_at == self._text.cursor
        keys = keys_for(self._state, is_in_list=self.focused is self._list, is_refused=bool(why))
        self.query_one(KeyHints).show(why if is_asked else "", keys)

    @property
    def _state(self) -> State:
        """Of the reply; "ended" too if its engine cannot pause."""
        if self._session.steering.can_choose(self._message.id, self._place):
            return "at the latest token"
        if self._is_running and self._session.pausing.why_not is None:
            return "paused" if self._session.pausing.is_paused else "running"
        return "ended"

    @property
    def _place(self) -> int:
        """Of the token under the cursor, in the reply."""
        return self._recording.first + self._text.cursor

    def _name_of(self, token_id: int) -> str:
        """The token's text, as a bias names it."""
        return text_of(self._recording.piece_of(token_id))

    @property
    def _current(self) -> Message:
        """The reply as it is now: what was opened while it ran has ended since."""
        path = self._session.path
        place = path.place_of(self._message.id)
        return self._message if place is None else path[place]

    def _explain(self, sentence: str) -> None:
        """Say why no token is shown, on as many lines as it takes."""
        self._words.add_class("-sentence")
        self._words.update(sentence)

    def _show_figures(self) -> None:
        self._likelihood.take(self._recording.written)
        line = self.query_one("#figures", Static)
        doubt, is_tinted, has_colours = self._text.doubt, self._text.is_tinted, not self.app.no_color
        line.set_class(is_tinted, "-tinted")
        words = figures_line(self._likelihood, doubt, is_tinted=is_tinted, has_colours=has_colours)
        line.update(words, layout=False)

    # --- keys

    def action_tint(self) -> None:
        """By probability, by entropy, or not at all."""
        text = self._text
        if not text.is_tinted:
            text.tint(BY_PROBABILITY, is_tinted=True)
        elif text.doubt.measure == "probability":
            text.tint(BY_ENTROPY, is_tinted=True)
        else:
            text.tint(BY_PROBABILITY, is_tinted=False)
        self._show_figures()

    def action_preview(self) -> None:
        """Leave for the sliders, with the token under the cursor in the sampler's preview."""
        if self._text.cursor < len(self._recording.tokens):
            self.dismiss(True)
        else:
            self.app.bell()

    def action_limit(self, steps: int) -> None:
        self._text.tint(self._text.doubt.moved(steps), is_tinted=self._text.is_tinted)
        self._show_figures()

    @on(TokenText.Chosen)
    def _choose_alternative(self) -> None:
        self._list.focus()

    @on(AlternativeList.Left)
    def _back_to_text(self) -> None:
        self._text.focus()

    def on_descendant_focus(self) -> None:
        self._show_whether_forkable()

    @on(AlternativeList.Chosen)
    def _fork(self) -> None:
        choice, at, session = self._list.chosen, self._text.cursor, self._session
        if choice is None or choice.is_written:
            self.app.bell()
            return
        token_id = choice.alternative.token_id
        if session.steering.choose(self._message.id, self._place, token_id):
            self._text.focus()
            return
        self._show_fork(at, lambda: session.forking.fork(self._message.id, self._recording, at, token_id))

    def action_ban(self, in_reply: bool) -> None:
        """Ban the token under the cursor, or allow it again."""
        if text := self._target:
            amount = 0.0 if self._session.biasing.all.get(text, 0.0) <= BAN else BAN
            self._set_bias(text, amount, in_reply=in_reply, is_quiet=True)
            self._show_words()

    def action_boost(self, steps: int) -> None:
        if text := self._target:
            now = self._session.biasing.all.get(text, 0.0)
            begin = 0.0 if now <= BAN else now
            self._set_bias(text, min(max(begin + steps * _BOOST_STEP, BAN), -BAN), is_quiet=True)
            self._show_words()

    @property
    def _target(self) -> str:
        """The text of the token under the cursor: that of the list, if it has the focus. Empty: there is none."""
        choice = self._list.chosen if self.focused is self._list else None
        if choice is not None:
            return self._name_of(choice.alternative.token_id)
        tokens, at = self._recording.tokens, self._text.cursor
        return self._name_of(tokens[at].token_id) if at < len(tokens) else ""

    def action_pause(self) -> None:
        self._change(lambda: self._paced(self._session.pausing.toggle()))

    def action_step(self) -> None:
        self._change(lambda: self._paced(self._session.pausing.step()))

    def _paced(self, refusal: ErrorInfo | None) -> list[Update]:
        return [*([Notice(refusal)] if refusal is not None else []), *self._session.tick()]

    def action_write(self) -> None:
        """Type what follows in the place of the token under the cursor and the rest."""
        at, recording, session = self._text.cursor, self._recording, self._session
        if at >= len(recording.tokens):
            self.app.bell()
            return
        if session.branching.why_not() is not None:  # before anything is typed
            self._asked_at = at
            self._show_whether_forkable()
            return

        def end(text: str | None) -> None:
            if text is not None:
                self._show_fork(at, lambda: session.forking.rewrite(self._message.id, recording, at, text))

        pieces = [recording.piece_of(token.token_id) for token in recording.tokens[: at + 1]]
        self.app.push_screen(RestOfReply(b"".join(pieces[:-1]), pieces[-1], self._settings), end)

    def _show_fork(self, at: int, action: Callable[[], list[Update]]) -> None:
        """Show the reply that `action` has made, at the token where it differs."""
        if self._change(action):
            self._origin, self._message = self._message, self._session.path[-1]
            self._text.focus()
            self._open(at)

    def action_cancel(self) -> None:
        """Esc: from the alternatives back to the text, then out."""
        if self.focused is self._list:
            self._text.focus()
        else:
            super().action_cancel()
