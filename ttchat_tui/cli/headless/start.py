"""Chat without a screen: opens the conversation, then answers one prompt or starts the REPL."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.cli import terminal
from ttchat_tui.cli.errors import DONE, ENGINE_ERROR, exit_code_of, notify, show_error
from ttchat_tui.cli.headless.driver import Driver, Replied, TextEvent
from ttchat_tui.cli.headless.outputs import Output, output_for
from ttchat_tui.cli.headless.repl import Repl
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.progress import LiveLine, ProgressLine
from ttchat_tui.cli.standard_output import abandon_output
from ttchat_tui.domain.attachments import mention_of
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import Thinking
from ttchat_tui.domain.text import counted
from ttchat_tui.domain.updates import Update
from ttchat_tui.engine.base import BatchTooLarge, require_rows
from ttchat_tui.session import ChatSession
from ttchat_tui.session.attachments import attach_named, mentioned_file
from ttchat_tui.signals import EndingSignals

CUT_OFF: Final = ErrorInfo(
    kind="constraint",
    message="The reply was cut off before it had the form that was asked for.",
    cure="Raise --max-tokens.",
)
NOTHING_TO_CONTINUE: Final = ErrorInfo(
    kind="nothing_to_continue", message="There is no conversation to continue; this is a new one."
)


def run(session: ChatSession, invocation: Invocation) -> int:
    """Run to the end and return the exit code. The load of the model has been requested already."""
    terminal.ensure_utf8()
    if session.storage_notice is not None:
        show_error(session.storage_notice)
    with EndingSignals():  # so that engine and database are closed
        if invocation.resume:
            _resume(session, invocation)
        driver = Driver(session)
        if invocation.prompt is None:
            is_on_terminal = sys.stdin is not None and sys.stdin.isatty()
            return Repl(
                driver, invocation.paths, keeps_history=invocation.save, is_on_terminal=is_on_terminal
            ).run()
        if name := mentioned_file(invocation.prompt):
            notify(f"{mention_of(name)} is sent as it is: --attach {shlex.quote(name)} attaches the file.")
        is_kept = invocation.save and session.storage_mode == "read-write"
        output = output_for(
            invocation.output,
            sys.stdout,
            is_kept=is_kept,
            candidates=invocation.candidates,
            alternatives=invocation.alternatives,
            has_thoughts=invocation.thoughts,
        )
        code = run_prompt(driver, invocation.prompt, output, invocation.candidates)
        return ENGINE_ERROR if code == DONE and invocation.save and not is_kept else code


def with_attachments(invocation: Invocation) -> Invocation:
    """The invocation with its files in the prompt.

    Raises:
        AttachmentError: one cannot be attached.
    """
    prompt = attach_named(invocation.prompt or "", invocation.attached).text
    return msgspec.structs.replace(invocation, prompt=prompt, attached=())


def report_failure(output: str, candidates: int, error: ErrorInfo) -> None:
    """Report on stdout, if `output` has a form for it, an error that ends the program before there is a reply."""
    output_for(output, sys.stdout, is_kept=False, candidates=candidates).failed(error)


def _resume(session: ChatSession, invocation: Invocation) -> None:
    """Open the latest conversation. Its settings apply, except those that flags override."""
    if not session.resume(invocation.sampling_flags, invocation.system_flag):
        show_error(NOTHING_TO_CONTINUE)


def run_prompt(driver: Driver, prompt: str, output: Output, candidates: int = 1) -> int:
    """Answer `prompt` on `output`, with errors and progress on stderr.

    Returns 0, 1 after an engine error, or 128 + the signal that interrupted it (130 for ctrl+c); the text until then is
    written and kept. A closed stdout (`| head`) stops the reply and is not an error.
    """
    try:
        return _answer(driver, prompt, output, candidates)
    except BrokenPipeError:
        abandon_output()
        return DONE


def _answer(driver: Driver, prompt: str, output: Output, candidates: int) -> int:
    progress = ProgressLine()

    def show(step: LoadProgress) -> None:
        progress(step)
        output.load(step)

    try:
        loaded = driver.wait_for_load(show)
    finally:
        progress.close()
    if loaded.signal_number:
        return 128 + loaded.signal_number
    if loaded.info is None:
        return _fail(output, loaded.error or ErrorInfo(kind="internal", message="The model was not loaded."))
    try:
        require_rows(candidates, loaded.info.capabilities.batch_sizes)
    except BatchTooLarge as error:  # before anything is stored
        return _fail(output, error.info)
    for note in (*loaded.info.notes, *_unheeded(driver.session.sampling.thinking, loaded.info)):
        notify(note)
    output.loaded(loaded.info)
    replied = _wait_for_reply(
        driver, lambda: driver.session.submit(prompt, candidates, may_wait=False), output
    )
    if replied.is_reader_gone:
        abandon_output()
        return DONE
    replied.is_kept = driver.session.flush_unsaved() is None
    if replied.error is None and _is_cut_off(replied):
        replied.error = CUT_OFF
    if replied.message is not None:
        output.done(replied.message, loaded.info, replied)
    elif replied.error is not None:
        output.failed(replied.error)
    for note in replied.notes:
        notify(note)
    if replied.error is not None:
        show_error(replied.error)
    if replied.error is not None:
        return exit_code_of(replied.error)
    if not replied.is_kept:  # the session reports at its end what is not kept
        return ENGINE_ERROR
    return 128 + replied.signal_number if replied.signal_number else DONE


def _is_cut_off(replied: Replied) -> bool:
    """Whether a constrained reply, or one of the candidates, ended before it had the form. What a server has made is not
    looked into."""
    replies = (each.reply for each in (replied.message, *replied.siblings) if each is not None)
    return any(
        reply is not None
        and reply.sampling is not None
        and reply.sampling.constraint is not None
        and reply.finish_reason in ("length", "context")
        and not (reply.stats is not None and reply.stats.has_form)
        for reply in replies
    )


def _wait_for_reply(driver: Driver, begin: Callable[[], Sequence[Update]], output: Output) -> Replied:
    """Wait for the reply; while the model thinks and `output` has nothing to show, a line on stderr says so."""
    line, session = LiveLine(), driver.session

    def show(event: TextEvent, text: str) -> None:
        thoughts = session.running.thoughts if session.running is not None else None
        if output.hides_thoughts and thoughts is not None and thoughts.is_first_open:
            line.draw(f"thinking … {counted(sum(each.tokens for each in thoughts.figures), 'token')}")
        else:
            line.erase()
        output.streamed(event, text)

    try:
        return driver.wait_for_reply(begin, show)
    finally:
        line.erase()


def _unheeded(thinking: Thinking, info: EngineInfo) -> tuple[str, ...]:
    """That a choice has no effect."""
    if thinking in ("auto", *info.capabilities.thinking):
        return ()
    return (info.why_not_thinking(f"Thinking “{thinking}”"),)


def _fail(output: Output, error: ErrorInfo) -> int:
    show_error(error)
    output.failed(error)
    return exit_code_of(error)
