"""The plain REPL: a line in, a reply out, for dumb terminals and screen readers. Nothing is redrawn.

Where stdin is no terminal, stdout has only the replies and the answers to commands.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from ttchat_tui.cli.errors import DONE, notify, show_error
from ttchat_tui.cli.headless.driver import Driver, write_text
from ttchat_tui.cli.headless.line_history import line_history
from ttchat_tui.cli.progress import ProgressLine, describe
from ttchat_tui.config.paths import Paths
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.generation import END_NOTES
from ttchat_tui.domain.text import VisibleReply, visible
from ttchat_tui.domain.user_paths import current_folder
from ttchat_tui.engine.base import not_loaded
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import export_messages, format_of, missing_folder, place_for, write_export

ASK, MORE = "> ", "... "

HELP: Final = """\
/help          this list
/new           start a new conversation; this one is kept
/save [WHERE]  save this conversation to a file (.md, .json, .jsonl) or a folder (as Markdown)
/model [NAME]  show the model, or load another one: alias, hub id, folder or .gguf file
/quit          quit (or ctrl+d)
A line that ends with \\ continues on the next one. A line that begins with // is sent with one /.
Ctrl+c stops a reply and keeps its text so far.
"""

NO_MODEL: Final = msgspec.structs.replace(
    not_loaded().info, cure="/model NAME loads one; `ttchat-tui models list` shows all."
)
NOTHING_TO_SAVE: Final = ErrorInfo(kind="nothing_to_do", message="There is nothing to save yet.")


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
        self._driver = driver
        self._session = driver.session
        self._exports_dir = paths.exports_dir
        self._history_file = paths.state_dir / "plain_history" if keeps_history else None
        self._read_line = read
        self._is_on_terminal = is_on_terminal

    def run(self) -> int:
        """Run until the user quits; returns the exit code."""
        self._greet()
        exit_code = self._wait_for_load()
        with line_history(self._history_file if self._is_on_terminal else None):
            while exit_code is None:
                exit_code = self._turn()
        return exit_code

    def _greet(self) -> None:
        conversation = self._session.conversation
        if conversation is not None:
            self._remark(f"Continuing: {conversation.title} ({conversation.message_count} messages)")
        if self._session.recovered:
            self._remark("A reply was cut off when the last session ended; its text so far is kept.")

    def _turn(self) -> int | None:
        """Read one line and act on it; the exit code if it was the last."""
        try:
            text = self._read()
        except EOFError:
            if self._is_on_terminal:
                self._print("")  # ctrl+d leaves the cursor in the line
            return DONE
        except KeyboardInterrupt:
            self._print("\n(ctrl+d or /quit to quit)")
            return None
        if text.startswith("/") and not text.startswith("//"):
            return self._command(*text[1:].split(maxsplit=1))
        if text.strip():
            return self._send(text.removeprefix("/") if text.startswith("//") else text)
        return None

    def _read(self) -> str:
        lines = [self._read_line(ASK if self._is_on_terminal else "")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._read_line(MORE if self._is_on_terminal else ""))
        return "\n".join(lines)

    def _command(self, name: str = "help", argument: str = "") -> int | None:
        match name:
            case "help":
                self._print(HELP, end="")
            case "new":
                self._session.new_conversation()
                self._print("A new conversation.")
            case "save":
                self._save(argument)
            case "model":
                return self._model(argument)
            case "quit":
                return DONE
            case _:
                self._print(f"There is no command /{name}. /help lists them; // sends a line with a slash.")
        return None

    def _save(self, where: str) -> None:
        conversation = self._session.conversation
        if conversation is None:
            show_error(NOTHING_TO_SAVE)
            return
        try:
            target = place_for(where or f"{self._exports_dir}/", current_folder(), conversation)
            format = format_of(target)
            messages = export_messages(self._session.path, self._session.tree, format)
            if (made := missing_folder(target)) is not None:
                self._print(f"In a new folder: {made}")
            self._print(f"Saved: {write_export(target, format, conversation, messages)}")
        except StorageError as error:
            show_error(error.info)

    def _model(self, name: str) -> int | None:
        if name:
            self._driver.apply_pending()  # an earlier failure must not count as the end of this load
            self._session.load(name)
            return self._wait_for_load()
        info = self._session.info
        if info is None:
            show_error(NO_MODEL)
        else:
            self._print(f"{info.model}, {info.label}, context of {info.context_length:,} tokens")
        return None

    def _wait_for_load(self) -> int | None:
        """Wait for a load and report it, for a person one line per phase. Returns the exit code if a signal ends the
        program."""
        phases: list[str] = []
        progress = ProgressLine()

        def show(step: LoadProgress) -> None:
            if step.phase not in phases:
                phases.append(step.phase)
                sys.stderr.write(f"{describe(step)}\n")

        loaded = self._driver.wait_for_load(show if self._is_on_terminal else progress)
        progress.close()
        if loaded.error is not None:
            show_error(loaded.error)
        elif loaded.info is not None:
            for note in loaded.info.notes:
                notify(note)
            self._remark(f"{loaded.info.model} is ready ({loaded.info.label}). /help lists the commands.")
        exit_code = _exit_code(loaded.signal_number)
        return self._wait_for_load() if loaded.is_reloading and exit_code is None else exit_code

    def _send(self, text: str) -> int | None:
        if self._session.info is None:
            if self._session.engine_state == "failed":
                show_error(NO_MODEL)
                return None
            exit_code = self._model(self._session.model)  # its load was cancelled
            if exit_code is not None or self._session.info is None:
                return exit_code
        shown = VisibleReply()
        replied = self._driver.wait_for_reply(
            self._session.submit(text),
            lambda event, piece: write_text(event, piece, lambda text: self._print(shown.feed(text), end="")),
        )
        if replied.message is not None:
            self._print(shown.end())
            self._remark(f"[{_figures(replied.message)}]")
        for note in replied.notes:
            notify(note)
        if replied.error is not None:
            show_error(replied.error)
        return DONE if replied.is_reader_gone else _exit_code(replied.signal_number)

    def _remark(self, text: str) -> None:
        """Print what is no reply: to stderr where lines are piped."""
        if self._is_on_terminal:
            self._print(text)
        else:
            sys.stderr.write(f"{visible(text)}\n")
            sys.stderr.flush()

    @staticmethod
    def _print(text: str, end: str = "\n") -> None:
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
        words.append(f"{stats.completion_tokens} tokens")
        if stats.cached_tokens:
            words.append(f"{stats.cached_tokens:,} of {stats.prompt_tokens:,} prompt tokens cached")
        if stats.ttft_s is not None:
            words.append(f"first after {stats.ttft_s:.2f} s")
        if stats.decode_tps is not None:
            words.append(f"{stats.decode_tps:.1f} tokens/s")
    if message.reply.finish_reason in END_NOTES:
        words.append(END_NOTES[message.reply.finish_reason])
    return ", ".join(words)
