"""The timeline of the latest replies: a row for each, and where the time of the one under the cursor went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.domain.anatomy import is_cold, latencies_of, whole_s
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.text import one_line
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.message_keys import MessageChoice
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.timeline.about_reply import lines_about, meanings, medians
from ttchat_tui.ui.widgets.timeline.bar import duration_words
from ttchat_tui.ui.widgets.transcript.message_format import clock_time

MOST: Final = 20
FOLLOW_S: Final = 0.5
"""How often a running reply is looked at, in seconds."""
KEYS: Final = "↑↓ choose   enter go there   a {scope}   pgdn scroll"
_NOTHING: Final = "There is no reply yet."
_FIGURES: Final = 36
"""Cells of a row's figures."""
_WORDS: Final = 200
"""Characters of a reply that a row may need."""


class TimelineScreen(Dialog[MessageChoice]):
    """Over the chat, which goes on below it. Result: the reply to go to."""

    heading = "Timeline"
    AUTO_FOCUS = "OptionList"
    help_lines = (
        ("↑ ↓", "Choose a reply"),
        ("enter", "Go to it in the chat"),
    )
    BINDINGS = [
        Binding("a", "widen", "All conversations", show=False),
        Binding("pagedown", "scroll(1)", "Scroll down", show=False, priority=True),
        Binding("pageup", "scroll(-1)", "Scroll up", show=False, priority=True),
    ]
    _list = getters.query_one(OptionList)
    _about = getters.query_one("#of-reply", Static)

    def __init__(self, session: ChatSession, message_id: int | None) -> None:
        """`message_id`: the reply to begin with, if it is among the latest."""
        super().__init__()
        self._session = session
        self._first_id = message_id
        self._replies: list[Message] = []
        self._is_everywhere = False
        self._latencies: dict[int, Sequence[float]] = {}
        """Of the recordings that were read, by message."""
        self._was_running = False
        self._time_cells = 0
        """Width of the column with the times of day, or of earlier days."""

    def body(self) -> ComposeResult:
        yield Static("", id="columns-of-replies", markup=False)
        yield OptionList(markup=False, compact=True)
        with VerticalScroll(can_focus=False):
            yield Static("", id="of-reply", markup=False)
        yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.set_interval(FOLLOW_S, self._follow)

    def on_resize(self) -> None:
        """Also called as it opens."""
        self._read()

    def _read(self) -> None:
        """Read and list the replies; the cursor stays on its reply."""
        chosen = self._chosen
        wanted = chosen.id if chosen is not None else self._first_id
        try:
            self._replies = self._session.timelines.latest(MOST, is_everywhere=self._is_everywhere)
        except StorageError as error:
            self._about.update(error.info.lines)
            return
        self._was_running = self._session.timelines.running() is not None
        self._time_cells = max((len(clock_time(each.created_at)) + 1 for each in self._replies), default=0)
        self._list.set_options(Option(self._line(each)) for each in self._replies)
        ids = [each.id for each in self._replies]
        if ids:
            self._list.highlighted = ids.index(wanted) if wanted in ids else 0
        else:
            self._about.update(_NOTHING)
        header = " " * self._time_cells + "reply"
        self.query_one("#columns-of-replies", Static).update(
            Content.styled(
                f"{pad_to_cells(header, self._room)}{'whole':>9}{'TTFT':>9}{'step p50':>10}", "$text-muted"
            )
        )
        scope = "here only" if self._is_everywhere else "everywhere"
        self.query_one(".hint", Static).update(KEYS.format(scope=scope))

    @property
    def _room(self) -> int:
        """Cells of a row before its figures."""
        return max(8, self._list.scrollable_content_region.width - 2 - _FIGURES)

    @property
    def _chosen(self) -> Message | None:
        at = self._list.highlighted
        return self._replies[at] if at is not None and at < len(self._replies) else None

    def _line(self, message: Message) -> Content:
        stats = _stats_of(message)
        when = clock_time(message.created_at).ljust(self._time_cells)
        room = self._room - len(when)
        words = cut_to_cells(one_line(message.content[:_WORDS]) or "…", room - 1)
        figures = (whole_s(stats), stats.ttft_s, stats.itl_p50_s)
        numbers = "".join(
            duration_words(value).rjust(cells) for value, cells in zip(figures, (9, 9, 10), strict=True)
        )
        timeline = stats.timeline
        mark = ""
        if timeline is not None and stats.chunks is None:
            mark = "  cold" if is_cold(timeline) else "  warm"
        return Content.assemble(when, pad_to_cells(words, room), numbers, mark)

    # --- one reply

    @on(OptionList.OptionHighlighted)
    def _show_chosen(self) -> None:
        message = self._chosen
        if message is None:
            return
        self._show(message)
        if message.id not in self._latencies and not self._is_running(message):
            self.run_worker(self._read_steps(message), group="steps", exclusive=True)

    def _show(self, message: Message) -> None:
        width = max(20, self._about.size.width or self._list.size.width - 2)
        latencies = self._latencies.get(message.id, ())
        every = [_stats_of(each) for each in self._replies]
        stats = _stats_of(message)
        lines = [*lines_about(stats, latencies, width), *medians(every), Content(""), *meanings(stats)]
        self._about.update(Content("\n").join(lines))

    async def _read_steps(self, message: Message) -> None:
        """Read the times of its tokens. What cannot be read has no histogram; the inspector says why."""
        try:
            recording = await in_daemon_thread(self._session.recordings.reader(message.id))
        except StorageError as error:
            self.notify(error.info.lines, severity="warning", markup=False)
            return
        self._latencies[message.id] = latencies_of(_stats_of(message), recording)
        if self._chosen is not None and self._chosen.id == message.id:
            self._show(message)

    def _is_running(self, message: Message) -> bool:
        running = self._session.running
        return running is not None and running.message.id == message.id

    def _follow(self) -> None:
        """Show what a running reply has more, and read all again at its end."""
        running = self._session.timelines.running()
        if self._was_running and running is None:
            self._read()
        elif running is not None and self._replies and self._replies[0].id == running.id:
            self._replies[0] = running
            self._list.replace_option_prompt_at_index(0, self._line(running))
            if self._chosen is running:
                self._show(running)
        elif running is not None:
            self._read()

    # --- keys

    def action_widen(self) -> None:
        self._is_everywhere = not self._is_everywhere
        self._read()

    def action_scroll(self, pages: int) -> None:
        area = self.query_one(VerticalScroll)
        area.scroll_relative(y=pages * max(1, area.size.height - 1), animate=False)

    @on(OptionList.OptionSelected)
    def _go_there(self) -> None:
        message = self._chosen
        self.dismiss(MessageChoice(message.id) if message is not None else None)


def _stats_of(message: Message) -> GenerationStats:
    stats = message.reply.stats if message.reply is not None else None
    return stats or GenerationStats()
