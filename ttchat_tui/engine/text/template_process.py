"""Chat templates are programs of a model's author: they run in a process of their own, with a limit to time and memory.

What a template does cannot be interrupted from within (a multiplication of texts holds the interpreter), so the kernel
ends the process that runs it. One process serves all templates of this one; it is started again after such an end.
"""

from __future__ import annotations

import atexit
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

from ttchat_tui.domain.user_paths import current_folder
from ttchat_tui.engine.base import EngineError

_log = logging.getLogger(__name__)

CPU_S: Final = 5.0
"""Of computing, for one rendering; templates take a thousandth of it. Not by the clock: a busy machine is no fault."""
MEMORY_BYTES: Final = 1 << 30
"""Address space of the process, its interpreter included."""
OUT_OF_MEMORY: Final = 3
"""Exit status of a process that wanted more: what it held is free then."""
_LEAST_OUTPUT: Final = 1 << 20
_OUTPUT_FACTOR: Final = 8
"""Characters of a prompt at most: so many times those of the messages, and `_LEAST_OUTPUT` more."""
_BOOT: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from ttchat_tui.engine.text.template_program import serve; serve()"
)
"""Not `-m`: that would put the current folder first on the path, and a random.py in it before Python's own."""
_CURE: Final = "Fetch a newer version of the model, or tell its author; another model will do meanwhile."


class TemplateError(EngineError):
    """The model's chat template cannot be compiled, refuses these messages, or does not end."""

    kind = "chat_template"


class TemplateRefusal(TemplateError):
    """The template raised an error over these messages; it may take others."""


class _Process:
    """Requests and answers are lines of JSON on its standard input and output."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Under way when it is wanted. Raises TemplateError: it cannot be started."""
        with self._lock:
            self._start()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """
        Raises:
            TemplateError: it cannot be started, or the template was ended.
        """
        line = json.dumps(request) + "\n"
        with self._lock:
            try:
                # Where someone ended it: once more, with another.
                answer = self._answer(line) or self._answer(line)
            except BaseException:  # Its answer would be taken for that to the next request.
                self._end()
                raise
        if not answer:
            raise TemplateError(
                "The process that renders the chat template ended, twice; the log says how.", _CURE
            )
        return json.loads(answer)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _start(self) -> subprocess.Popen[str]:
        if self._running is None or self._running.poll() is not None:
            self._end()
            path = json.dumps([entry or str(current_folder()) for entry in sys.path])
            try:
                self._running = subprocess.Popen(
                    [sys.executable, "-c", _BOOT, path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    encoding="ascii",
                    start_new_session=True,  # ctrl+c at the terminal is not meant for it
                )
            except OSError as error:
                raise TemplateError(
                    f"The process for chat templates cannot be started ({error.strerror}).",
                    "Close something: there are too many processes or files.",
                ) from error
        return self._running

    def _answer(self, line: str) -> str:
        """Empty where the process ended for another reason than its limits."""
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:  # It has ended before it read all; its status says why.
            answer = ""
        if answer.endswith("\n"):
            return answer
        match process.wait():
            case status if status == -signal.SIGPROF:
                raise TemplateError(
                    f"The model's chat template does not end: it was stopped after {CPU_S:g} s of computing.",
                    _CURE,
                )
            case status if status == OUT_OF_MEMORY:
                raise TemplateError(
                    f"The model's chat template wants more than {MEMORY_BYTES >> 20:,} MB of memory and was stopped.",
                    f"Shorten the conversation, if it is a very long one. {_CURE}",
                )
            case status:
                _log.warning("The process for chat templates ended with status %d.", status)
                return ""

    def _end(self) -> None:
        process, self._running = self._running, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except OSError:  # What was still to be written to it.
                continue


_PROCESS: Final = _Process()
atexit.register(_PROCESS.close)


def start() -> None:
    """Start the process early, so that the first rendering need not wait for it. Raises TemplateError."""
    _PROCESS.start()


def render(source: str, variables: Mapping[str, Any]) -> str:
    """`source` rendered as transformers' `apply_chat_template` renders it.

    Raises:
        TemplateError: it is no valid Jinja, refuses the messages, or goes beyond a limit.
    """
    contents = sum(len(message["content"]) for message in variables.get("messages", ()))
    most = _LEAST_OUTPUT + _OUTPUT_FACTOR * contents
    answer = _PROCESS.ask({"source": source, "variables": variables, "most": most, "cpu_s": CPU_S})
    if (text := answer.get("text")) is not None:
        return text
    reason = answer["reason"]
    match answer["fault"]:
        case "broken":
            raise TemplateError(f"The model's chat template is broken: {reason}")
        case "too large":
            raise TemplateError(
                f"The model's chat template makes a prompt without end: it was stopped after {most:,} characters.",
                _CURE,
            )
        case _:
            raise TemplateRefusal(f"The model's chat template refuses this conversation: {reason}")
