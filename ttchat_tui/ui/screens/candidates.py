"""Several replies to one message, side by side: in columns where the screen is wide, in tabs where it is not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from rich.cells import cell_len
from textual import events, getters
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.text import visible
from ttchat_tui.domain.updates import NOTE, Update
from ttchat_tui.session import ChatSession
from ttchat_tui.session.lane import Lane
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.candidates.differences import Marks, differences, words_of
from ttchat_tui.ui.widgets.candidates.lane_view import LaneGrid, LaneView
from ttchat_tui.ui.widgets.candidates.lane_words import mark_of, settings_beside
from ttchat_tui.ui.widgets.transcript.folding import Folding

LEAST_WIDTH: Final = 38
LEAST_HEIGHT: Final = 9
"""Of a lane with its border; with less room there are tabs."""
SLICE_S: Final = 0.006
"""CPU seconds after which the drawing of lanes lets a key pass."""

KEYS: Final = (
    "←→ choose  enter keep one  o open  c continue  r again",
    "s/S stop  d compare  t tabs  y copy  space pause  . step",
)
"""On one line where there is room."""
PAUSED: Final = "Paused: space resumes all, . makes one token of each."
KEEPING: Final = "The others are deleted when this one has ended."
NOT_COMPARED: Final = "Differences from the first are marked once it and another one have ended."
NO_REPLY: Final = ErrorInfo(kind=NOTE, message="There is no reply in this one.", cure="r asks again.")


class CandidatesScreen(Dialog[ErrorInfo]):
    """Over the chat, which goes on below it. Esc keeps all: they are siblings in the tree from the beginning.

    The result is what was said last, for a toast where the screen closes by itself.
    """

    heading = "Candidates"
    keys = "esc keeps all"
    AUTO_FOCUS = "LaneView"
    BINDINGS = [
        Binding("enter", "keep", "Keep the chosen one, and delete the others", show=False),
        Binding("o", "open", "Show it in the chat; all are kept", show=False),
        Binding("s", "stop", "Stop it", show=False),
        Binding("S", "stop_all", "Stop all", show=False),
        Binding("r", "regenerate", "Ask for another one in its place", show=False),
        Binding("c", "continue_reply", "Continue it where it was stopped or cut off", show=False),
        Binding("d", "differences", "Mark the words in which each differs from the first", show=False),
        Binding("t", "tabs", "Columns or tabs", show=False),
        Binding("y", "copy", "Copy it", show=False),
        Binding("space", "pause", "Pause or resume all", show=False),
        Binding("full_stop", "step", "Make one token of each", show=False),
        *(
            Binding(str(number), f"choose({number})", "Choose by number", show=False)
            for number in range(1, 10)
        ),
    ]
    _grid = getters.query_one(LaneGrid)

    def __init__(
        self,
        session: ChatSession,
        folding: Folding,
        change: Callable[[Callable[[], list[Update]]], bool],
        copy: Callable[[str], None],
        pace: Callable[[str], None],
    ) -> None:
        """`change` runs an action, and draws what it has changed in the chat. `pace` pauses or steps the running reply, by
        the name of the action."""
        super().__init__()
        self._session = session
        self._folding = folding
        self._change = change
        self._copy = copy
        self._pace = pace
        self._views: list[LaneView] = []
        self._at = 0
        """The place of the chosen one."""
        self._wants_tabs = False
        self._has_tabs = False
        self._is_keeping = False
        """One is kept: the screen closes when it has ended."""
        self._said: ErrorInfo | None = None
        """Until the next key. A toast would lie over the text of a lane."""
        self._is_comparing = False
        self._compared: object = None
        """The texts whose differences are shown."""
        self.undrawn: list[LaneView] = []
        """They are drawn after the next paint."""
        self.paint_s = 0.0
        """CPU seconds after the last call of `flush`: the paint, which takes as long as the drawing before it, and the lanes that were
        drawn after it."""

    def body(self) -> ComposeResult:
        yield Static("", id="tabs", markup=False)
        self._views = self._new_views()
        with LaneGrid():
            yield from self._views
        yield Static("", id="reason", markup=False)
        yield Static("", classes="hint", markup=False)

    def _new_views(self) -> list[LaneView]:
        lanes = self._session.candidates.lanes
        return [LaneView(lane, number, self._folding) for number, lane in enumerate(lanes, start=1)]

    def on_mount(self) -> None:
        self._arrange()
        self.call_later(self.flush)  # it is mounted when this method has ended

    def on_resize(self) -> None:
        self._arrange()

    def flush(self) -> None:
        """Draw what has come since the last call."""
        if not self.is_open:
            return
        if self._is_keeping and not self._session.candidates.is_running:
            self.dismiss(self._said)
            return
        if [view.lane for view in self._views] != self._session.candidates.lanes:
            if not self._session.candidates.lanes:  # the prompt was refused
                self.dismiss(self._said)
                return
            self._replace_views()
        for view, words in zip(
            self._views, settings_beside([each.lane for each in self._views]), strict=True
        ):
            view.settings = words
        late = [view for view in self.undrawn if view in self._views]
        self.undrawn = [*late, *(view for view in self._views if view not in late)]
        self._show_reason()
        if self._has_tabs:
            self._show_tabs()
        if self._is_comparing:
            self._compare()
        self.paint_s = 0.0
        self._draw_some()

    def _draw_some(self) -> None:
        """Draw lanes for a while, and the others after the paint: a key between them does not wait for all."""
        began_s, now_s = time.thread_time(), time.monotonic()
        while self.undrawn and time.thread_time() - began_s < SLICE_S:
            view = self.undrawn.pop(0)
            if view.display or view.lane.state == "ended":  # what is hidden is drawn when it is shown
                view.flush(now_s, is_paused=self._session.pausing.is_paused)
        self.call_after_refresh(self._painted, time.thread_time())

    def _painted(self, began_s: float) -> None:
        if self.undrawn and self.is_attached:
            self._draw_some()
        self.paint_s += time.thread_time() - began_s

    def _replace_views(self) -> None:
        """Other lanes: the others of one that is kept have gone."""
        self._grid.remove_children(LaneView)
        self._views = self._new_views()
        self._grid.mount(*self._views)
        self._at = 0
        self._arrange()
        self._chosen.focus()

    # --- where they are

    def _arrange(self) -> None:
        """Columns, in several rows if need be; tabs if they would be too small."""
        count = len(self._views)
        width, height = self.size.width - 4, self.size.height - 5
        keys = "  ".join(KEYS)
        self.query_one(".hint", Static).update(keys if cell_len(keys) <= width else "\n".join(KEYS))
        most = max(1, min(count, width // LEAST_WIDTH))
        rows = math.ceil(count / most)
        self._has_tabs = count > 1 and (self._wants_tabs or rows * LEAST_HEIGHT > height or most == 1)
        columns = 1 if self._has_tabs else math.ceil(count / rows)
        self._grid.styles.grid_size_columns = columns
        self._grid.styles.grid_size_rows = 1 if self._has_tabs else rows
        self.query_one("#tabs").display = self._has_tabs
        self._show_views()

    @property
    def _chosen(self) -> LaneView:
        return self._views[min(self._at, len(self._views) - 1)]

    def _choose(self, at: int) -> None:
        self._at = at
        self._show_views()
        self._chosen.focus()

    def _show_views(self) -> None:
        for view in self._views:
            view.display = not self._has_tabs or view is self._chosen
            if view.display and view.is_mounted:
                view.flush(time.monotonic(), is_paused=self._session.pausing.is_paused)
        self._show_tabs()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Chosen by tab or by the mouse."""
        if isinstance(event.widget, LaneView) and event.widget in self._views:
            self._at = self._views.index(event.widget)
            self._show_tabs()

    def _show_tabs(self) -> None:
        if not self._has_tabs:
            return
        words = [f" {view.number} {mark_of(view.lane)} " for view in self._views]
        named = [f"{word}{visible(view.lane.label)} " for word, view in zip(words, self._views, strict=True)]
        if cell_len(" ".join(named)) <= self.size.width - 4:
            words = named
        tabs = [
            Content.styled(word, "bold reverse" if at == self._at else "$text-muted")
            for at, word in enumerate(words)
        ]
        self.query_one("#tabs", Static).update(Content(" ").join(tabs), layout=False)

    def _show_reason(self) -> None:
        line, reason = self.query_one("#reason", Static), self._reason
        if line.content != reason:
            line.update(reason)
            line.display = bool(reason)

    @property
    def _reason(self) -> str:
        session, candidates = self._session, self._session.candidates
        if self._said is not None:
            return visible(self._said.line)
        if candidates.is_running and session.pausing.is_paused:
            return PAUSED
        if self._is_keeping:
            return KEEPING
        if self._is_comparing and not self._can_compare:
            return NOT_COMPARED
        return visible(candidates.why_waiting or candidates.second.sharing)

    def say(self, error: ErrorInfo) -> None:
        """Show a sentence below the lanes until the next key."""
        self._said = error
        if self.is_open:
            self._show_reason()

    def on_key(self) -> None:
        self._said = None
        self._show_reason()

    # --- keys

    def action_move(self, step: int) -> None:
        self._choose((self._at + step) % len(self._views))

    def action_choose(self, number: int) -> None:
        if number <= len(self._views):
            self._choose(number - 1)

    def action_tabs(self) -> None:
        self._wants_tabs = not self._has_tabs
        self._arrange()
        self._chosen.focus()

    @property
    def _lane(self) -> Lane:
        return self._chosen.lane

    def action_keep(self) -> None:
        """Keep the chosen one; the others go. While it streams, it stays on screen alone, and the screen closes at its end."""
        lane, candidates = self._lane, self._session.candidates
        if lane.state == "ended" and not lane.has_reply:
            self.say(NO_REPLY)
            return
        self._change(lambda: candidates.keep(lane))
        self._is_keeping = candidates.is_keeping or candidates.lanes == [lane]
        if self._is_keeping and candidates.is_running:
            self._wants_tabs = True
            self._arrange()
        self.flush()

    def action_open(self) -> None:
        lane, candidates = self._lane, self._session.candidates
        if lane.state == "ended" and not lane.has_reply:
            self.say(NO_REPLY)
            return
        self._change(lambda: candidates.show(lane))
        if not candidates.is_running:
            self.dismiss(None)

    def action_stop(self) -> None:
        lane = self._lane
        self._change(lambda: self._session.candidates.stop(lane))
        self.flush()

    def action_stop_all(self) -> None:
        self._change(lambda: self._session.candidates.stop(*self._session.candidates.lanes))
        self.flush()

    def action_regenerate(self) -> None:
        lane = self._lane
        self._change(lambda: self._session.candidates.regenerate(lane))
        self.flush()

    def action_continue_reply(self) -> None:
        lane = self._lane
        self._change(lambda: self._session.candidates.continue_reply(lane))
        self.flush()

    def action_copy(self) -> None:
        if text := self._lane.text:
            self._copy(text)

    def action_pause(self) -> None:
        self._pace("pause")
        self.flush()

    def action_step(self) -> None:
        self._pace("step")
        self.flush()

    # --- differences

    def action_differences(self) -> None:
        """Mark the words in which each differs from the first, or no longer."""
        self._is_comparing = not self._is_comparing
        self._compared = None
        if self._is_comparing:
            self._compare()
        else:
            for view in self._views:
                view.mark({})
        self._show_reason()

    @property
    def _can_compare(self) -> bool:
        """The first has ended, and another one."""
        ended = [view.lane.state == "ended" for view in self._views]
        return ended[0] and sum(ended) > 1

    def _compare(self) -> None:
        """Those that have ended: a text that grows would be marked anew all the time."""
        ended = [view for view in self._views if view.lane.state == "ended"]
        texts = [(view.number, view.lane.text) for view in ended]
        if texts == self._compared or not ended or ended[0] is not self._views[0]:
            return
        self._compared = texts
        words = [(view, words_of(view.chunks)) for view in ended]

        def compare() -> list[tuple[LaneView, Marks]]:
            return [(view, differences(words[0][1], own)) for view, own in words[1:]]

        async def show() -> None:
            for view, marks in await in_daemon_thread(compare):
                if self._is_comparing:
                    view.mark(marks)

        self.run_worker(show(), group="compare", exclusive=True)
