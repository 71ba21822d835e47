"""Sandbox process for chat templates, which are programs by a model's author: CPU time and memory are limited.

A template cannot be interrupted from within (multiplying strings holds the interpreter), so the kernel kills the process
that runs it. One process renders all templates of this one, and is started again after it was killed.
"""

from __future__ import annotations

import atexit
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ttchat_tui.domain.user_paths import current_folder
from ttchat_tui.engine.base import EngineError

_log = logging.getLogger(__name__)

CPU_S: Final = 5.0
"""CPU time for one rendering; templates take a thousandth of it. A busy machine does not use it up."""
MEMORY_BYTES: Final = 1 << 30
"""Address space of the process, its interpreter included."""
OUT_OF_MEMORY: Final = 3
"""Exit status of a process that reached `MEMORY_BYTES`."""
_EXTRA_OUTPUT: Final = 1 << 20
_OUTPUT_FACTOR: Final = 8
"""A prompt has at most this many times the characters of its messages, plus `_EXTRA_OUTPUT`."""
_BOOT: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from ttchat_tui.engine.text.template_program import serve; serve()"
)
"""Not `-m`, which would put the current folder first on the path: a random.py there would replace Python's own."""
_CURE: Final = "Fetch a newer version of the model, or use another model; its author can fix the template."


class TemplateError(EngineError):
    """The model's chat template does not compile, refuses these messages, or exceeds a limit."""

    kind = "chat_template"


class TemplateRefusal(TemplateError):
    """The template raised an error for these messages; it may accept others."""


class _Process:
    """The process. Requests and answers are lines of JSON on its standard input and output."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process if it does not run.

        Raises:
            TemplateError: it cannot be started.
        """
        with self._lock:
            self._start()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            TemplateError: the process cannot be started, or was killed for exceeding a limit.
        """
        line = json.dumps(request) + "\n"
        with self._lock:
            try:
                # If something else killed the process, try once more with a new one.
                answer = self._answer(line) or self._answer(line)
            except BaseException:  # The next request would read this one's answer.
                self._end()
                raise
        if not answer:
            raise TemplateError(
                "The process that renders chat templates ended twice; the log has its exit status.", _CURE
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
                    start_new_session=True,  # ctrl+c at the terminal must not reach it
                )
            except OSError as error:
                raise TemplateError(
                    f"The process that renders chat templates cannot be started ({error.strerror}).",
                    "Close other programs: too many processes or files are open.",
                ) from error
        return self._running

    def _answer(self, line: str) -> str:
        """Empty if the process ended for another reason than its limits."""
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:  # It ended before it read everything; its status says why.
            answer = ""
        if answer.endswith("\n"):
            return answer
        match process.wait():
            case status if status == -signal.SIGPROF:
                raise TemplateError(
                    f"The model's chat template does not end: it was stopped after {CPU_S:g} s of CPU time.",
                    _CURE,
                )
            case status if status == OUT_OF_MEMORY:
                raise TemplateError(
                    f"The model's chat template used more than {MEMORY_BYTES >> 20:,} MB of memory and was stopped.",
                    f"Shorten the conversation if it is very long. {_CURE}",
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
            except OSError:  # Unwritten input.
                continue


_PROCESS: Final = _Process()
atexit.register(_PROCESS.close)


def start() -> None:
    """Start the process early, so that the first rendering does not wait for it.

    Raises:
        TemplateError: it cannot be started.
    """
    _PROCESS.start()


def render(source: str, variables: Mapping[str, Any]) -> str:
    """`source` as transformers' `apply_chat_template` renders it.

    Raises:
        TemplateError: it is not valid Jinja, refuses the messages, or exceeds a limit.
    """
    messages: Sequence[Mapping[str, Any]] = variables.get("messages", ())
    contents = sum(len(json.dumps(each, ensure_ascii=False)) for each in messages)
    most = _EXTRA_OUTPUT + _OUTPUT_FACTOR * contents
    answer = _PROCESS.ask({"source": source, "variables": variables, "most": most, "cpu_s": CPU_S})
    if (text := answer.get("text")) is not None:
        return text
    reason = answer["reason"]
    match answer["fault"]:
        case "broken":
            raise _broken(reason)
        case "too large":
            raise TemplateError(
                f"The model's chat template makes an endless prompt: it was stopped after {most:,} characters.",
                _CURE,
            )
        case _:
            raise TemplateRefusal(f"The model's chat template refuses this conversation: {reason}")


def variables_of(source: str) -> frozenset[str]:
    """The names that `source` reads and does not define: what it understands as arguments.

    Raises:
        TemplateError: it is not valid Jinja.
    """
    answer = _PROCESS.ask({"source": source, "cpu_s": CPU_S})
    if (names := answer.get("names")) is not None:
        return frozenset(names)
    raise _broken(answer["reason"])


def _broken(reason: str) -> TemplateError:
    return TemplateError(f"The model's chat template is broken: {reason}", _CURE)
