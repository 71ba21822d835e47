"""The plain chat: a line in, a reply out, for dumb terminals and screen readers. Nothing is redrawn.

Where stdin is no terminal, stdout has only the replies and the answers to commands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.cli.errors import DONE, USAGE_ERROR, notify, show_error
from ttchat_tui.cli.headless.answers import Answers
from ttchat_tui.cli.headless.commands import Commands
from ttchat_tui.cli.headless.driver import Driver
from ttchat_tui.cli.headless.line_history import line_history
from ttchat_tui.config.paths import Paths
from ttchat_tui.domain.attachments import AttachmentError, mention_of
from ttchat_tui.domain.text import counted, visible_line, why_no_text
from ttchat_tui.session.attachments import attach_mentioned, mentioned_file
from ttchat_tui.session.notices import cut_off
from ttchat_tui.session.other_windows import is_cut_off

ASK: Final = "> "
MORE: Final = "... "


class Repl:
    """Reads with `read` (called with the prompt) until it raises EOFError. Writes to stdout, errors to stderr."""

    def __init__(
        self,
        driver: Driver,
        paths: Paths,
        *,
        keeps_history: bool,
        is_on_terminal: bool,
        read: Callable[[str], str] = input,
    ) -> None:
        """`is_on_terminal`: somebody types the lines."""
        self._session = driver.session
        self._answers = Answers(driver, is_on_terminal=is_on_terminal)
        self._commands = Commands(self._answers, paths)
        self._history_file = paths.state_dir / "plain_history" if keeps_history else None
        self._read_line = read
        self._is_on_terminal = is_on_terminal
        self._is_noted = False
        """That files are not attached has been said."""

    def run(self) -> int:
        """Run until the user quits; returns the exit code."""
        self._greet()
        exit_code = self._answers.wait_for_load()
        with line_history(self._history_file if self._is_on_terminal else None):
            while exit_code is None:
                exit_code = self._turn()
        return exit_code if self._is_on_terminal else exit_code or self._answers.failure

    def _greet(self) -> None:
        conversation = self._session.conversation
        if conversation is not None:
            self._answers.remark(
                f"Continuing: {conversation.title} ({counted(conversation.message_count, 'message')})"
            )
        last = self._session.last_reply
        if last is not None and is_cut_off(last):
            self._answers.remark(
                "The last reply was cut off as the app ended; its text so far is kept. /continue resumes it."
            )
        if elsewhere := self._session.other_windows.interrupted():
            self._answers.remark(cut_off(elsewhere).message)

    def _turn(self) -> int | None:
        """Read one line and act on it; the exit code if it was the last."""
        try:
            text = self._read()
        except EOFError:
            if self._is_on_terminal:
                self._answers.say("")  # ctrl+d leaves the cursor in the line
            return DONE
        except KeyboardInterrupt:
            self._answers.say("\n(ctrl+d or /quit to quit)")
            return None
        if text.startswith("/") and not text.startswith("//"):
            return self._commands.run(text[1:])
        if text.strip():
            return self._send(text.removeprefix("/") if text.startswith("//") else text)
        return None

    def _send(self, text: str) -> int | None:
        """Files that a typed message mentions go with it. Lines from a pipe are not to open files of whoever runs them."""
        if not self._is_on_terminal:
            if why := why_no_text(text.encode()):
                notify(f"This line of stdin was not sent: {why[0]}.")
                return USAGE_ERROR
            if not self._is_noted and (name := mentioned_file(text)):
                self._is_noted = True
                notify(f"{mention_of(name)} is sent as it is: only -p has --attach, which attaches files.")
            return self._answers.send(text)
        try:
            attached = attach_mentioned(text)
        except AttachmentError as error:
            show_error(error.info)
            return None
        if attached.names:
            self._answers.remark(f"Attached: {', '.join(map(visible_line, attached.names))}")
        return self._answers.send(attached.text)

    def _read(self) -> str:
        lines = [self._read_line(ASK if self._is_on_terminal else "")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._read_line(MORE if self._is_on_terminal else ""))
        return "\n".join(lines)
