"""Replies and loads as lines: nothing is redrawn, nothing is drawn, and no control character gets out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from ttchat_tui.cli.errors import DONE, ENGINE_ERROR, USAGE_ERROR, exit_code_of, notify, show_error
from ttchat_tui.cli.headless.driver import Driver, Replied, TextEvent, write_text
from ttchat_tui.cli.progress import ProgressLine, describe
from ttchat_tui.domain.candidates import CandidateOrder
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.generation import END_NOTES
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.reply_settings import ReplySettings
from ttchat_tui.domain.text import VisibleReply, counted, visible
from ttchat_tui.domain.updates import NOTE, BiasRefused, ConstraintChecked, Notice, Update
from ttchat_tui.engine.base import not_loaded

NO_MODEL: Final = msgspec.structs.replace(
    not_loaded().info, cure="/model NAME loads one; `ttchat-tui models list` shows all."
)


class Answers:
    """Waits for what the session was asked to do, and writes it: replies to stdout, errors to stderr.

    Methods that wait return the exit code if a signal ends the program, otherwise None.
    """

    def __init__(self, driver: Driver, *, is_on_terminal: bool) -> None:
        """`is_on_terminal`: somebody types the lines."""
        self.driver = driver
        self.session = driver.session
        self.is_on_terminal = is_on_terminal
        self.failure = DONE
        """The exit code of what failed first."""
        driver.report = self.fail

    def load(self, name: str) -> int | None:
        self.driver.apply_pending()  # an earlier failure must not count as the end of this load
        for update in self.session.load(name):
            if isinstance(update, Notice):
                self.fail(update.error)
        return self.wait_for_load()

    def wait_for_load(self) -> int | None:
        """Wait for a load and report it, for a person one line per phase. Returns the exit code if a signal ends the
        program."""
        phases: list[str] = []
        progress = ProgressLine()

        def show(step: LoadProgress) -> None:
            if step.phase not in phases:
                phases.append(step.phase)
                sys.stderr.write(f"{describe(step)}\n")

        loaded = self.driver.wait_for_load(show if self.is_on_terminal else progress)
        progress.close()
        if loaded.error is not None:
            self.fail(loaded.error, exit_code_of(loaded.error))
        elif loaded.info is not None:
            for note in loaded.info.notes:
                notify(note)
            self.remark(f"{loaded.info.model} is ready ({loaded.info.label}). /help lists the commands.")
            self.check_settings()
        exit_code = _exit_code(loaded.signal_number)
        return self.wait_for_load() if loaded.is_reloading and exit_code is None else exit_code

    def check_settings(self) -> None:
        """Report what the loaded model cannot do of the settings. A constraint that it cannot follow does not apply then."""
        for update in self.driver.wait_for_count():
            match update:
                case ConstraintChecked(_, ErrorInfo() as error):
                    self.fail(
                        msgspec.structs.replace(error, cure=f"{error.cure} {update.what_applies}".strip())
                    )
                case Notice(error) | BiasRefused(error):
                    self.fail(error)
                case _:
                    pass

    def send(self, text: str) -> int | None:
        return self._when_loaded(lambda: self.session.submit(text, may_wait=False))

    def compare(self, order: CandidateOrder, preset: Callable[[str], Preset]) -> int | None:
        """Ask for several replies, and write each as a whole once all have ended. What `preset` raises passes through."""
        candidates = self.session.candidates

        def begin() -> list[Update]:
            wanted = candidates.wanted(order, preset)
            if isinstance(wanted, ErrorInfo):
                return [Notice(wanted)]
            return candidates.ask(wanted, order.text)

        return self._when_loaded(begin, self._write_candidates)

    def _write_candidates(self, begin: Callable[[], list[Update]]) -> int | None:
        replied = self.driver.wait_for_reply(begin, lambda event, text: None)
        if replied.message is not None:
            for number, lane in enumerate(self.session.candidates.lanes, start=1):
                self.remark(f"Candidate {number}, {lane.label}:")
                self.say(lane.text or lane.note)
                if lane.message is not None:
                    self.remark(f"[{_figures(lane.message)}]")
        return self._end(replied)

    def regenerate(self, settings: ReplySettings) -> int | None:
        return self._when_loaded(lambda: self.session.branching.regenerate(settings=settings))

    def continue_reply(self) -> int | None:
        return self._when_loaded(self.session.branching.continue_reply)

    def _when_loaded(
        self,
        begin: Callable[[], list[Update]],
        write: Callable[[Callable[[], list[Update]]], int | None] | None = None,
    ) -> int | None:
        """Ask for a reply and write it, after a load if the last one was cancelled."""
        if self.session.info is None:
            if self.session.engine_state == "failed":
                self.fail(NO_MODEL, ENGINE_ERROR)
                return None
            exit_code = self.load(self.session.model)
            if exit_code is not None or self.session.info is None:
                return exit_code
        return (write or self._answer)(begin)

    def _answer(self, begin: Callable[[], list[Update]]) -> int | None:
        shown = VisibleReply()

        def show(event: TextEvent, piece: str) -> None:
            write_text(event, piece, lambda text: self.say(shown.feed(text), end=""))

        replied = self.driver.wait_for_reply(begin, show)
        if replied.message is not None:
            self.say(shown.end())
            self.remark(f"[{_figures(replied.message)}]")
        return self._end(replied)

    def _end(self, replied: Replied) -> int | None:
        """Write what is to be known about the end. Returns the exit code, if the program ends."""
        for note in replied.notes:
            notify(note)
        if replied.error is not None:
            self.fail(replied.error, exit_code_of(replied.error))
        return DONE if replied.is_reader_gone else _exit_code(replied.signal_number)

    def fail(self, error: ErrorInfo, exit_code: int = USAGE_ERROR) -> None:
        """Report an error; `exit_code` is that of the program where lines are piped."""
        show_error(error)
        if error.kind != NOTE:
            self.failure = self.failure or exit_code

    def refuse(self, text: str) -> None:
        """Say that a line cannot be used: as an error where lines are piped."""
        self.failure = self.failure or USAGE_ERROR
        if self.is_on_terminal:
            self.say(text)
        else:
            notify(text)

    def remark(self, text: str) -> None:
        """Print what is no reply: to stderr where lines are piped."""
        if self.is_on_terminal:
            self.say(text)
        else:
            sys.stderr.write(f"{visible(text)}\n")
            sys.stderr.flush()

    @staticmethod
    def say(text: str, end: str = "\n") -> None:
        sys.stdout.write(visible(text) + end)
        sys.stdout.flush()


def _exit_code(signal_number: int) -> int | None:
    """The exit code of a signal that ends the program; None for ctrl+c, which only ends a reply or a load."""
    return 128 + signal_number if signal_number not in (0, signal.SIGINT) else None


def _figures(message: Message) -> str:
    """`41 tokens, 64 of 90 prompt tokens cached, first after 0.14 s, 94.2 tokens/s`, and the finish reason unless the model
    ended the reply."""
    assert message.reply is not None
    stats = message.reply.stats
    words: list[str] = []
    if stats is not None:
        words.append(counted(stats.completion_tokens, "token"))
        if stats.cached_tokens:
            words.append(f"{stats.cached_tokens:,} of {stats.prompt_tokens:,} prompt tokens cached")
        if stats.ttft_s is not None:
            words.append(f"first after {stats.ttft_s:.2f} s")
        if stats.decode_tps is not None:
            words.append(f"{stats.decode_tps:.1f} tokens/s")
    if message.reply.finish_reason in END_NOTES:
        words.append(END_NOTES[message.reply.finish_reason])
    return ", ".join(words)
