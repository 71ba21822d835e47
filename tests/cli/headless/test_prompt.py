"""One prompt without a screen: what goes to stdout, what to stderr, what is kept, which exit code."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.cli.headless.scripted_chat import invocation, scripted_session
from tests.fakes import MODEL_MISSING, Gate, Script, ScriptedEngine
from tests.session.test_queue_windows import as_process
from tests.storage.examples import STARTED, ask
from ttchat_tui.cli import chat
from ttchat_tui.cli.errors import exit_code_of, exit_codes, notify
from ttchat_tui.cli.headless import driver, run, with_attachments
from ttchat_tui.cli.headless.outputs import JsonLinesOutput, TextOutput
from ttchat_tui.cli.prompt_argument import prompt_text
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.errors import REFUSALS, ErrorInfo, ErrorKind
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationRequest, GenerationStats
from ttchat_tui.domain.sampling import SamplingParams, Thinking
from ttchat_tui.engine.base import refusal
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_scratch_store, open_store
from ttchat_tui.storage.writers import Writer

HOSTILE = "red \x1b[31m alert\x07 and \x9b2J \u202eover"


def answer(
    store: ConversationStore, script: Script, prompt: str = "Hello", output: str = "text", **changes: Any
) -> int:
    model = changes.pop("model", "scripted")
    with scripted_session(script, store=store, model=model) as session:
        return run(session, invocation(prompt, output, **changes))


def test_text_is_the_reply_and_one_newline_and_nothing_else_is_written(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("Hi there, you.",))) == 0
    shown = capsys.readouterr()
    assert shown.out == "Hi there, you.\n"
    assert shown.err == "", "a scheduler would send it as mail"


def test_a_mentioned_file_is_not_read_and_a_note_says_how_to_attach_it(
    store: ConversationStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "my notes.md").write_text("secret")
    prompt = f'Read @"{file}" @nobody'
    assert answer(store, Script(replies=("Hi.",)), prompt) == 0
    shown = capsys.readouterr()
    assert shown.out == "Hi.\n"
    assert shown.err == (f"ttchat-tui: @\"{file}\" is sent as it is: --attach '{file}' attaches the file.\n")
    assert store.path(2)[0].content == prompt


def test_deviations_of_a_load_are_reported_on_stderr(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("Hi.",), notes=("The card draws the tokens.",))) == 0
    shown = capsys.readouterr()
    assert shown.out == "Hi.\n"
    assert "ttchat-tui: The card draws the tokens.\n" in shown.err


@pytest.mark.parametrize(("level", "is_heeded"), [("low", True), ("off", False)])
def test_think_reaches_the_engine_or_is_reported_as_without_effect(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], level: Thinking, is_heeded: bool
) -> None:
    with scripted_session(Script(replies=("Hi.",), thinking=("low",)), store=store) as session:
        session.set_sampling(SamplingParams(thinking=level))
        assert run(session, invocation("Hello")) == 0
    assert session.path[-1].reply is not None
    assert session.path[-1].reply.sampling is not None
    assert session.path[-1].reply.sampling.thinking == level
    why = "“off” has no effect: the chat template of scripted does not understand it."
    assert (why in capsys.readouterr().err) != is_heeded


def test_a_busy_server_is_reported_on_stderr(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("Hi.",), busy="lab is busy (429)")) == 0
    shown = capsys.readouterr()
    assert shown.out == "Hi.\n"
    assert "ttchat-tui: lab is busy (429): try 2 of 4 in 5 s.\n" in shown.err


def test_a_reply_that_ends_with_a_newline_gets_no_second_one(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("Hi.\n",))) == 0
    assert capsys.readouterr().out == "Hi.\n"


def test_prompt_and_reply_are_kept(store: ConversationStore) -> None:
    answer(store, Script(replies=("Hi.",)), "Hello you")
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    kept = [(message.role, message.content, message.status) for message in store.path(latest.head_id)]
    assert kept == [("user", "Hello you", "complete"), ("assistant", "Hi.", "complete")]


def test_json_is_one_object_with_every_key(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("One two three four",), logprobs=True), output="json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "text",
        "finish_reason",
        "model",
        "engine",
        "seed",
        "sampling",
        "usage",
        "timings",
        "likelihood",
        "conversation_id",
        "message_id",
    ]
    assert (found["text"], found["finish_reason"]) == ("One two three four", "stop")
    assert (found["model"], found["engine"]) == ("scripted", "scripted")
    assert found["sampling"]["temperature"] == 0.6
    assert found["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 4,
        "cached_tokens": 0,
        "decode_forwards": None,
    }
    assert found["timings"] == {
        "load_s": 0.5,
        "ttft_s": 0.1,
        "prefill_tps": 40.0,
        "decode_tps": 50.0,
        "total_s": pytest.approx(0.16),
    }
    assert found["likelihood"] == pytest.approx(
        {"mean_logprob": -1.25 * math.log(2), "perplexity": 2**1.25, "greedy_share": 0.75}
    )
    assert isinstance(found["seed"], int)
    assert store.message(found["message_id"]).conversation_id == found["conversation_id"]


def test_json_of_a_reply_that_is_not_kept_has_no_ids(capsys: pytest.CaptureFixture[str]) -> None:
    answer(open_scratch_store(), Script(replies=("Hi.",)), output="json", save=False)
    found = json.loads(capsys.readouterr().out)
    assert (found["conversation_id"], found["message_id"]) == (None, None)


def test_a_reply_fails_where_the_file_of_the_conversations_cannot_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "conversations.db"
    damaged.write_bytes(b"no database" * 1000)
    store = open_store(damaged)
    try:
        assert answer(store, Script(replies=("Hi.",)), output="json") == 1
        printed = capsys.readouterr()
        assert "Nothing of this session is kept" in printed.err
        assert json.loads(printed.out)["text"] == "Hi."
        assert answer(store, Script(replies=("Hi.",)), save=False) == 0, "nobody asked for it to be kept"
    finally:
        store.close()


def test_a_reply_that_could_not_be_kept_fails_and_has_no_ids(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise StorageError(ErrorInfo(kind="database_locked", message="Locked."))

    monkeypatch.setattr(store, "finish_reply", locked)
    assert answer(store, Script(replies=("Hi.",)), output="json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["text"], found["conversation_id"], found["message_id"]) == ("Hi.", None, None)


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_a_load_that_failed_is_an_object_with_its_error(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    assert answer(store, Script(), output=output, model=MODEL_MISSING) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["text"], found["finish_reason"]) == ("", "error")
    assert found["error"]["message"] == "There is no model 'missing'."
    assert found["error"]["cure"] == "Choose another."


def test_json_lines_tell_load_tokens_and_the_end(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("Hi there.",)), output="jsonl") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    loads = [event for event in events if event["event"] == "load"]
    assert [event["phase"] for event in loads] == ["verify", "start", "read", "convert", "warm up", "ready"]
    tokens = [event for event in events if event["event"] == "token"]
    assert "".join(event["text"] for event in tokens) == "Hi there."
    assert all(len(event["token_ids"]) == len(event["times_s"]) == 1 for event in tokens)
    assert events[-1]["event"] == "done"
    assert events[-1]["text"] == "Hi there."
    assert events[len(loads) :] == [*tokens, events[-1]]


def test_json_lines_list_each_token_with_as_many_alternatives_as_are_asked_for(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("One two.",), logprobs=True)
    assert answer(store, script, output="jsonl", alternatives=2) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    listed = [event["tokens"][0] for event in events if event["event"] == "token" and event["tokens"]]
    assert [(each["token"], bytes(each["bytes"]), each["rank"]) for each in listed] == [
        ("One", b"One", 1),
        (" two.", b" two.", 1),
    ]
    assert [(each["token"], each["cut"]) for each in listed[1]["alternatives"]] == [
        (" two.", "kept"),
        (" other0", "kept"),
    ]
    assert listed[0]["alternatives"][0]["logprob"] == pytest.approx(listed[0]["logprob"], abs=0.01)


def test_json_lines_bring_the_text_that_was_held_back_at_the_end(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("and so ST",))
    with scripted_session(script, store=store) as session:
        session.set_sampling(SamplingParams(stop=("STOP",)))
        run(session, invocation("Hello", "jsonl"))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokens = [event for event in events if event["event"] == "token"]
    assert "".join(event["text"] for event in tokens) == "and so ST"
    assert (tokens[-1]["text"], tokens[-1]["token_ids"]) == ("ST", [])


def test_control_bytes_of_a_model_reach_stdout_in_no_format(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("text", "json", "jsonl"):
        answer(store, Script(replies=(HOSTILE,)), output=output)
        assert not set(capsys.readouterr().out) & set("\x1b\x07\x9b\u202e")
    answer(store, Script(replies=(HOSTILE,)), output="json")
    assert json.loads(capsys.readouterr().out)["text"] == HOSTILE


def test_a_model_that_cannot_be_loaded_is_one_line_on_stderr_and_exit_code_1(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(), output="text", model=MODEL_MISSING) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "There is no model 'missing'. Choose another." in shown.err.splitlines()[-1]


def test_an_engine_error_keeps_and_prints_what_came_and_exits_1(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("one two three",), fault="raise", fault_at=2), output="json") == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["text"], found["finish_reason"], found["error"]["kind"]) == (
        "one two",
        "error",
        "engine_error",
    )
    assert "The script says so." in shown.err


def test_a_prompt_that_cannot_fit_is_refused_and_nothing_is_kept(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(context_length=8), "word " * 20, output="json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["kind"] == "prompt_too_long"
    assert "The message needs 24" in shown.err
    assert store.latest() is None


def failing(error: ErrorInfo, has_started: bool) -> Callable[..., Iterator[GenerationEvent]]:
    """`ScriptedEngine.generate` where no request has an answer. A server refuses after the start."""

    def generate(_: object, request: GenerationRequest, __: object) -> Iterator[GenerationEvent]:
        if has_started:
            yield GenerationStarted(request.id, 1, 0, 8)
        if request.candidates:
            for row in range(request.rows):
                yield RowFinished(request.id, row, "error", GenerationStats(), error=error)
        yield refusal(request, error)

    return generate


@pytest.mark.parametrize("kind", sorted(REFUSALS))
@pytest.mark.parametrize("has_started", [False, True])
@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_a_refused_request_leaves_the_store_as_it_was(
    store: ConversationStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: ErrorKind,
    has_started: bool,
    candidates: int,
    output: str,
) -> None:
    script = Script(replies=("Hi.",), batch_sizes=(1, 4))
    assert answer(store, script, "Before") == 0
    before = store.latest()
    capsys.readouterr()
    error = ErrorInfo(kind=kind, message="It cannot be answered.", cure="Change it.")
    monkeypatch.setattr(ScriptedEngine, "generate", failing(error, has_started))
    for resume in (True, False):
        assert answer(store, script, output=output, candidates=candidates, resume=resume) == exit_code_of(
            error
        )
        shown = capsys.readouterr()
        assert shown.err == "ttchat-tui: It cannot be answered. Change it.\n"
        assert output == "text" or json.loads(shown.out.splitlines()[-1])["error"]["kind"] == kind
        latest = store.latest()
        assert latest is not None
        assert before is not None
        assert (latest.id, latest.head_id, latest.message_count) == (before.id, before.head_id, 2)
        assert not any(store.drafts.of(each).text for each in (None, latest.id)), "a script has no draft"


@pytest.mark.parametrize("kind", ["engine_died", "endpoint_refused", "endpoint_auth", "rate_limited"])
def test_a_failure_that_is_not_about_the_request_keeps_what_was_asked(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch, kind: ErrorKind
) -> None:
    error = ErrorInfo(kind=kind, message="It failed.")
    monkeypatch.setattr(ScriptedEngine, "generate", failing(error, has_started=False))
    assert answer(store, Script()) == 1
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    kept = [(each.content, each.status) for each in store.path(latest.head_id)]
    assert kept == [("Hello", "complete"), ("", "error")]


def test_continue_sends_the_earlier_messages(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("first", "second"))
    answer(store, script)
    answer(store, script, "And now?", resume=True)
    assert capsys.readouterr().out == "first\nsecond\n"
    assert len(store.conversations()) == 1


def test_continue_without_a_conversation_begins_one_and_says_so(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("Hi.",)), resume=True) == 0
    assert "no conversation to continue" in capsys.readouterr().err


def test_continue_keeps_the_conversations_settings_except_those_set_by_flags(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    own = SamplingParams(temperature=0.1, top_k=7)
    conversation = store.create_conversation(model="scripted", system_prompt="Be brief.", sampling=own)
    store.add_user_message(conversation.id, None, "Hello")
    flags = {"sampling.temperature": 0.9, "sampling.stop": ["X"], "system_prompt": "Be long."}
    assert answer(store, Script(replies=("Hi.",)), output="json", resume=True, flags=flags) == 0
    sampling = json.loads(capsys.readouterr().out)["sampling"]
    assert (sampling["temperature"], sampling["top_k"], sampling["stop"]) == (0.9, 7, ["X"])
    assert store.conversation(conversation.id).system_prompt == "Be long."


def test_an_interrupt_stops_the_reply_prints_and_keeps_it_and_exits_130(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    gate.release(2)
    streamed = TextOutput.streamed

    def interrupt_after_two(self: TextOutput, event: TokenEvent | GenerationFinished, text: str) -> None:
        streamed(self, event, text)
        if text == " two":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TextOutput, "streamed", interrupt_after_two)
    with scripted_session(Script(replies=("one two three",), stepped=True), gate, store=store) as session:
        assert run(session, invocation("Hello")) == 130
        assert session.last_reply is not None
        assert (session.last_reply.content, session.last_reply.status) == ("one two", "interrupted")
    assert capsys.readouterr().out == "one two\n"


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_message_waits_until_another_window_has_answered(
    store: ConversationStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    gives_up: bool,
) -> None:
    asked = ask(store)
    with mock.patch("ttchat_tui.storage.messages.this_process", return_value=Writer("elsewhere", 1, "1")):
        theirs = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    monkeypatch.setattr(driver, "ANSWERS_ELSEWHERE", said := "Another window.")

    def end_the_wait(note: str) -> None:
        notify(note)
        if note == said and gives_up:
            os.kill(os.getpid(), signal.SIGINT)
        elif note == said:
            store.finish_reply(theirs.id, "All of it.", "complete", STARTED)

    monkeypatch.setattr(driver, "notify", end_the_wait)
    assert answer(store, Script(replies=("Mine.",)), resume=True) == (130 if gives_up else 0)
    path = store.shown_path(store.conversation(asked.conversation_id))
    shown = capsys.readouterr()
    if gives_up:
        assert (shown.out, len(path)) == ("", 2)
        assert shown.err.endswith("Nothing was sent.\n")
    else:
        assert (shown.out, path[1].content) == ("Mine.\n", "All of it.")
        assert [each.role for each in path] == ["user", "assistant", "user", "assistant"]


def test_the_wait_says_that_the_reply_is_paused_in_another_window(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, writer = ask(store), Writer("elsewhere", 1, "1")
    with as_process(writer):
        theirs = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    said: list[str] = []

    def go_on(note: str) -> None:
        said.append(note)
        with as_process(writer):
            store.presence.beat(is_paused=note == driver.ANSWERS_ELSEWHERE)
        if note == driver.PAUSED_ELSEWHERE:
            store.finish_reply(theirs.id, "All of it.", "complete", STARTED)

    monkeypatch.setattr(driver, "notify", go_on)
    assert answer(store, Script(replies=("Mine.",)), resume=True) == 0
    assert said == [driver.ANSWERS_ELSEWHERE, driver.PAUSED_ELSEWHERE]


# -- in a process of its own


def start(
    own_folders: Path, script: Script, *arguments: str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cli.headless.scripted_chat", *arguments],
        env={**os.environ, **script.environment(), "TTCHAT_DATA_DIR": str(own_folders / "data")},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_reply(own_folders: Path) -> tuple[str, str]:
    store = open_store(own_folders / "data" / "conversations.db")
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    message = store.path(latest.head_id)[-1]
    store.close()
    return message.content, message.status


@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_a_reader_that_goes_away_is_no_error_and_is_not_reported(own_folders: Path, output: str) -> None:
    process = start(own_folders, Script(replies=("word " * 200,)), output, "Hello")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(20) == 0
    assert "Traceback" not in err
    assert "Broken pipe" not in err
    assert "Exception ignored" not in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_in_the_middle_of_a_reply_ends_the_process_and_keeps_the_reply(
    own_folders: Path, number: signal.Signals, code: int
) -> None:
    gate = Gate(str(own_folders / "gate"))
    gate.release(2)
    script = Script(replies=("one two three",), stepped=True, gate=str(own_folders / "gate"))
    process = start(own_folders, script, "jsonl", "Hello")
    assert process.stdout is not None
    assert any('"text":" two"' in line for line in iter(process.stdout.readline, ""))
    process.send_signal(number)
    last = json.loads(process.stdout.read().splitlines()[-1])
    assert process.wait(20) == code
    assert (last["event"], last["finish_reason"], last["text"]) == ("done", "cancelled", "one two")
    assert last_reply(own_folders) == ("one two", "interrupted")


def test_an_interrupt_while_the_model_loads_exits_130(own_folders: Path) -> None:
    Gate(str(own_folders / "gate"))
    script = Script(stepped_load=True, gate=str(own_folders / "gate"))
    process = start(own_folders, script, "jsonl", "Hello")
    assert process.stdout is not None
    assert any('"phase":"start"' in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_the_headless_chat_imports_neither_textual_nor_torch_nor_numpy() -> None:
    heavy = {"textual", "torch", "numpy", "transformers", "httpx"}
    probe = f"import sys, ttchat_tui.cli.headless; print({heavy!r} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", probe], text=True) == "set()\n"


@pytest.mark.parametrize(
    ("piped", "why"),
    [
        (b"\x7fELF\0\0\1", "it is not text (it has null bytes)"),
        (b"abc\0def", "it is not text (it has null bytes)"),
        (b"na\xefve", "it is not UTF-8 (byte 3 is 0xEF)"),
        ("Hi".encode("utf-16"), "it is UTF-16, and only UTF-8 is read"),
    ],
)
@pytest.mark.parametrize("given", ["-", "Sum up:"])
def test_what_is_piped_and_no_text_is_refused(
    given: str, piped: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    with pytest.raises(ConfigError, match=re.escape(f"stdin cannot be sent: {why}.")):
        prompt_text(given)


@pytest.mark.parametrize(
    ("kind", "code"), [("usage", 2), ("logit_bias", 2), ("constraint", 1), ("engine_error", 1)]
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_a_setting_that_only_the_engine_can_check_is_a_usage_error(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch, kind: ErrorKind, code: int, output: str
) -> None:
    error = ErrorInfo(kind=kind, message="No.")
    monkeypatch.setattr(ScriptedEngine, "generate", lambda _, request, __: iter([refusal(request, error)]))
    assert answer(store, Script(), output=output) == code


@pytest.mark.parametrize(
    ("given", "piped", "prompt"),
    [
        ("-", b"Say hi\n", "Say hi"),
        ("Sum up:", b"\n a\nb\n", "Sum up:\n\n a\nb"),
        ("Hi", b"\n", "Hi"),
        ("-", b"\xef\xbb\xbfSay\r\nhi\r\n", "Say\nhi"),
    ],
)
def test_line_ends_around_a_piped_prompt_are_the_shells(
    given: str, piped: bytes, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    assert prompt_text(given) == prompt


@pytest.mark.parametrize(
    ("reply", "note"),
    [
        ("", "The reply is empty."),
        ("\n", "The reply is empty."),
        ("<think>Hm", "The reply contains only thoughts and no answer."),
        ("Hm</think>\n\nHi.", "The text above is the model's thinking; its answer follows."),
    ],
)
def test_a_reply_without_an_answer_is_reported(
    reply: str, note: str, store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=(reply,))) == 0
    assert f"ttchat-tui: {note}\n" in capsys.readouterr().err


def test_an_answer_after_a_thought_is_not_reported(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=("<think>Hm</think>\n\nHi.",))) == 0
    assert "ttchat-tui:" not in capsys.readouterr().err


def test_json_has_the_answer_and_the_thoughts_apart(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=(THOUGHT,)), output="json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["text"], found["thoughts"]) == ("Yes.", "Hm.")


THOUGHT = "<think>\nHm.\n</think>\n\nYes."


@pytest.mark.parametrize(
    ("more", "printed"),
    [
        ({}, "Yes.\n"),
        ({"thoughts": True}, f"{THOUGHT}\n"),
        ({"candidates": 2}, "[1/2, seed 1]\nYes.\n\n[2/2, seed 1]\nYes. (seed 1)\n"),
    ],
)
def test_thoughts_are_printed_only_if_they_are_asked_for(
    more: dict[str, Any], printed: str, store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, Script(replies=(THOUGHT,), batch_sizes=(1, 2)), **more) == 0
    assert re.sub(r"seed \d+", "seed 1", capsys.readouterr().out) == printed


@pytest.mark.parametrize("has_thoughts", [True, False])
def test_the_end_of_an_unopened_thought_is_reported_and_its_tag_not_printed(
    has_thoughts: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    stdout = io.StringIO()
    output = TextOutput(stdout, has_thoughts=has_thoughts)
    thought = TokenEvent(1, (), "Hm.", (0.1,))
    answer = TokenEvent(1, (), "\n</think>\n\nYes.", (0.2,), ends_thought=True)
    for event in (thought, answer):
        output.streamed(event, event.text)
    assert stdout.getvalue() == ("Hm.\nYes." if has_thoughts else "Hm.\n\nYes.")
    assert "The text above is the model's thinking" in capsys.readouterr().err


def test_attached_files_are_in_the_message_and_one_that_cannot_be_read_starts_nothing(
    store: ConversationStore, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = own_folders / "notes.md"
    notes.write_text("# Notes\n")
    called = with_attachments(invocation("Sum it up", attached=(str(notes),)))
    assert (called.prompt, called.attached) == (
        f"Sum it up\n\nAttached file {notes}:\n```markdown\n# Notes\n```",
        (),
    )
    gone = str(own_folders / "gone\x1b")
    with pytest.raises(SystemExit) as ended, exit_codes():
        chat.run(invocation("Hi", "json", attached=(str(notes), gone)))
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert "gone␛ cannot be attached: there is no such file." in shown.err
    assert json.loads(shown.out)["error"]["kind"] == "not_found"


def test_the_progress_of_a_load_is_a_line_for_each_tenth() -> None:
    output = JsonLinesOutput(out := io.StringIO(), is_kept=False)
    for phase in ("read", "convert"):
        for done in range(101):
            output.load(LoadProgress(phase=phase, done=done, total=100))  # pyright: ignore[reportArgumentType]
    output.load(LoadProgress(phase="compile"))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [each["done"] for each in events] == [*range(0, 101, 10)] * 2 + [0]


@pytest.mark.parametrize(
    ("changes", "is_terminal", "is_shown"),
    [
        ({}, True, True),
        ({"output": "json"}, True, True),
        ({}, False, False),
        ({"thoughts": True}, True, False),
        ({"output": "jsonl"}, True, False),
    ],
)
def test_a_line_on_a_terminal_says_that_the_model_thinks_until_its_answer_begins(
    store: ConversationStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    is_terminal: bool,
    is_shown: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert answer(store, Script(replies=("<think>\nHm, so.\n</think>\n\nYes.",)), **changes) == 0
    lines = [line.rstrip() for line in capsys.readouterr().err.split("\r")]
    assert (
        any(line.startswith("thinking … ") and line.endswith((" token", " tokens")) for line in lines)
        == is_shown
    )
    assert lines[-1] == "", "it is erased"
