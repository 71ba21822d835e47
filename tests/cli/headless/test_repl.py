"""The plain REPL: lines in, replies out, commands, ctrl+c and ctrl+d."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import ptyprocess
import pytest

from tests.cli.headless.scripted_chat import invocation, scripted_session
from tests.fakes import MODEL_MISSING, Gate, Script
from tests.storage.examples import STARTED, ask
from ttchat_tui.cli.errors import USAGE_ERROR
from ttchat_tui.cli.headless import driver
from ttchat_tui.cli.headless.answers import Answers
from ttchat_tui.cli.headless.driver import Driver
from ttchat_tui.cli.headless.repl import Repl
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.export import ENDINGS
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.writers import Writer


def reader(*lines: str | type[BaseException]) -> Callable[[str], str]:
    """Types these lines, then ctrl+d. An exception class stands for the key that raises it."""
    typed = iter(lines)

    def read(prompt: str) -> str:
        line = next(typed, EOFError)
        if isinstance(line, str):
            return line
        raise line

    return read


def chat(session: ChatSession, *lines: str | type[BaseException]) -> int:
    paths = invocation(None).paths
    read = reader(*lines)
    return Repl(Driver(session), paths, keeps_history=False, is_on_terminal=True, read=read).run()


def test_a_conversation_has_several_turns_and_is_kept(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(Script(replies=("First.", "Second.")), store=store) as session:
        assert chat(session, "Hello", "  ", "And?") == 0
        kept = [(message.role, message.content) for message in session.path]
    assert kept == [("user", "Hello"), ("assistant", "First."), ("user", "And?"), ("assistant", "Second.")]
    out = capsys.readouterr().out
    assert "scripted is ready" in out
    assert "First.\n[1 token, first after 0.10 s]\nSecond.\n[" in out


def test_a_line_may_continue_and_may_begin_with_a_slash(store: ConversationStore) -> None:
    with scripted_session(Script(), store=store) as session:
        chat(session, "one\\", "two", "//etc/hosts")
        said = [message.content for message in session.path if message.role == "user"]
    assert said == ["one\ntwo", "/etc/hosts"]


def test_a_typed_line_takes_the_files_with_it_that_it_mentions_and_a_piped_one_does_not(
    store: ConversationStore,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b").write_bytes(b"\0")
    said: list[str] = []
    for is_on_terminal in (True, False):
        with scripted_session(Script(), store=store) as session:
            read = reader("see @a.py", "see @b")
            paths = invocation(None).paths
            Repl(Driver(session), paths, keeps_history=False, is_on_terminal=is_on_terminal, read=read).run()
            said += [message.content for message in session.path if message.role == "user"]
    assert said == ["see @a.py\n\nAttached file a.py:\n```python\nx = 1\n```", "see @a.py", "see @b"]
    out, err = capsys.readouterr()
    assert "Attached: a.py\n" in out
    assert "b cannot be attached: it is not text" in err
    assert err.count("@a.py is sent as it is: only -p has --attach") == 1


def test_a_piped_line_that_is_no_text_ends_the_chat_and_is_not_sent(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(Script(replies=("Hi.",)), store=store) as session:
        read = reader("hello", "\x7fELF\0", "more")
        repl = Repl(
            Driver(session), invocation(None).paths, keeps_history=False, is_on_terminal=False, read=read
        )
        assert repl.run() == USAGE_ERROR
    assert "This line of stdin was not sent: it is not text (it has null bytes)." in capsys.readouterr().err
    assert store.recent_prompts() == ["hello"]


def test_control_bytes_of_a_model_are_shown_and_not_sent_to_the_terminal(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(Script(replies=("\x1b[2J \x9b31m",)), store=store) as session:
        chat(session, "Hello", "/\x1b[2J")
    out = capsys.readouterr().out
    assert "␛[2J" in out
    assert not set(out) & set("\x1b\x9b")


def test_ctrl_c_at_the_prompt_leaves_only_the_line(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(Script(replies=("Hi.",)), store=store) as session:
        assert chat(session, KeyboardInterrupt, "Hello") == 0
        assert [message.content for message in session.path] == ["Hello", "Hi."]
    assert "ctrl+d or /quit to quit" in capsys.readouterr().out


def test_ctrl_c_stops_a_reply_and_the_chat_continues(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    gate.release(2)
    write = Answers.say

    def interrupt_after_two(text: str, end: str = "\n") -> None:
        write(text, end)
        if text == " two":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Answers, "say", staticmethod(interrupt_after_two))
    script = Script(replies=("one two three", "ok"), stepped=True)
    with scripted_session(script, gate, store=store) as session:
        assert chat(session, "Hello", "/model") == 0
        assert [(m.content, m.status) for m in session.path][1:] == [("one two", "interrupted")]
    out = capsys.readouterr().out
    assert "one two\n[2 tokens, first after 0.10 s, stopped]\n" in out
    assert out.rstrip().endswith("scripted, scripted, context of 256 tokens")


@pytest.mark.parametrize("line", ["/help", "/", "/nonsense"])
def test_the_chat_points_to_help(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    with scripted_session(store=store) as session:
        chat(session, line)
    assert "/help" in capsys.readouterr().out.split("/help lists the commands.", 1)[1]


def test_new_begins_another_conversation(store: ConversationStore) -> None:
    with scripted_session(Script(replies=("Hi.",)), store=store) as session:
        chat(session, "Hello", "/new", "Hello again")
    assert sorted(conversation.message_count for conversation in store.conversations()) == [2, 2]


def test_save_writes_a_transcript_to_the_given_path(
    store: ConversationStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.md"
    with scripted_session(Script(replies=("Hi.",)), store=store) as session:
        chat(session, "/save", "Hello", f"/save {target}", "/save")
    shown = capsys.readouterr()
    assert "There is nothing to save yet." in shown.err
    assert "Hi." in target.read_text()
    assert f"Saved: {target}" in shown.out
    (default,) = invocation(None).paths.exports_dir.iterdir()
    assert default.suffix == ".md"


@pytest.mark.parametrize("suffix", [each for each in ENDINGS if each != ".markdown"])
def test_save_writes_every_format_that_help_names(
    suffix: str, store: ConversationStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"out{suffix}"
    with scripted_session(Script(replies=("One two three zebra.",), logprobs=True), store=store) as session:
        chat(session, "/help", "Hello", f"/save {target}")
    assert suffix in capsys.readouterr().out.split("Hello")[0]
    assert "zebra" in target.read_text()


def test_model_shows_and_changes_the_loaded_model(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(Script(replies=("Hi.",)), store=store) as session:
        chat(session, "/model", f"/model {MODEL_MISSING}", "Hello", "/model", "/model other", "Hello")
        assert session.last_reply is not None
        assert session.last_reply.reply is not None
        assert session.last_reply.reply.model == "other"
        assert [message.content for message in session.path] == ["Hello", "Hi.", "Hello", "Hi."]
    shown = capsys.readouterr()
    assert "There is no model 'missing'. scripted is loaded again. Choose another." in shown.err
    assert shown.out.count("scripted is ready") == 2
    assert "other is ready" in shown.out


def test_quit_leaves(store: ConversationStore) -> None:
    with scripted_session(store=store) as session:
        assert chat(session, "/quit", "Hello") == 0
        assert session.path == []


def test_an_engine_error_is_reported_and_the_chat_continues(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("one two",), fault="raise", fault_at=1)
    with scripted_session(script, store=store) as session:
        assert chat(session, "Hello", "/model") == 0
    shown = capsys.readouterr()
    assert "The script says so." in shown.err
    assert shown.out.rstrip().endswith("context of 256 tokens")


# -- in a process of its own


PROGRAM = [sys.executable, "-m", "tests.cli.headless.scripted_chat", "text"]


def test_piped_lines_are_answered_on_stdout_and_figures_go_to_stderr(own_folders: Path) -> None:
    environment = {**os.environ, **Script(replies=("First.", "Second.")).environment()}
    process = subprocess.run(
        PROGRAM,
        env=environment,
        input="Hello\nAnd?\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert process.returncode == 0
    assert process.stdout == "First.\nSecond.\n"
    ready, *figures = process.stderr.splitlines()
    assert "scripted is ready" in ready
    assert [each.startswith("[1 token") for each in figures] == [True, True]


@pytest.mark.parametrize(
    ("lines", "code", "replies"),
    [
        ("/frob", 2, 1), ("/set bogus=1", 2, 1), ("/quit now", 2, 1), ("/retry", 2, 1), ("/save", 2, 1),
        ("/set", 0, 1), ("/open nothing", 2, 0), ("/new nothing", 2, 0),
    ],
)  # fmt: skip
def test_a_piped_command_that_fails_is_an_error_on_stderr(
    own_folders: Path, lines: str, code: int, replies: int
) -> None:
    done = subprocess.run(
        PROGRAM,
        env={**os.environ, **Script(replies=("First.",)).environment()},
        input=f"{lines}\nHello\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.count("First.") == replies
    assert code == 0 or done.stdout == "First.\n" * replies
    assert done.stderr.count("ttchat-tui: ") == (code != 0)


@pytest.mark.parametrize(("lines", "code"), [("Hello\n/frob\n", 1), ("/frob\nHello\n", 2)])
def test_what_failed_first_gives_the_exit_code_of_piped_lines(
    own_folders: Path, lines: str, code: int
) -> None:
    script = Script(replies=("one two",), fault="raise", fault_at=1)
    done = subprocess.run(
        PROGRAM,
        env={**os.environ, **script.environment()},
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    assert "The script says so." in done.stderr


class ReplTerminal:
    """The REPL on a real pty. What was read beyond what was waited for is kept for the next wait."""

    def __init__(self, script: Script) -> None:
        environment = {**os.environ, **script.environment(), "TERM": "dumb"}
        self.process = ptyprocess.PtyProcess.spawn(PROGRAM, env=environment)
        self._unread = b""

    def wait_for(self, text: bytes) -> None:
        """Fails when the program ends, or says nothing for 20 s, before it has written `text`."""
        while text not in self._unread:
            assert select.select([self.process.fd], [], [], 20.0)[0], f"{text!r} not in {self._unread!r}"
            try:
                self._unread += self.process.read(1024)
            except EOFError as error:
                raise AssertionError(f"{text!r} not in {self._unread!r}") from error
        self._unread = self._unread.partition(text)[2]


@pytest.fixture
def on_terminal() -> Iterator[Callable[[Script], ReplTerminal]]:
    opened: list[ReplTerminal] = []

    def spawn(script: Script) -> ReplTerminal:
        opened.append(ReplTerminal(script))
        return opened[-1]

    yield spawn
    for terminal in opened:
        terminal.process.terminate(force=True)


@pytest.mark.terminal
def test_on_a_terminal_ctrl_c_stops_the_reply_ctrl_d_leaves_and_lines_come_back(
    own_folders: Path, on_terminal: Callable[[Script], ReplTerminal]
) -> None:
    gate = Gate(str(own_folders / "gate"))
    gate.release(2)
    terminal = on_terminal(Script(replies=("one two three",), stepped=True, gate=str(own_folders / "gate")))
    terminal.wait_for(b"> ")
    terminal.process.write(b"Hello\r")
    terminal.wait_for(b"one two")
    terminal.process.sendintr()
    terminal.wait_for(b"stopped]")
    terminal.wait_for(b"> ")
    terminal.process.sendeof()
    assert terminal.process.wait() == 0
    history = own_folders / "state" / "plain_history"
    assert history.read_text().splitlines() == ["Hello"]
    assert history.stat().st_mode & 0o777 == 0o600
    opened = open_store(own_folders / "data" / "conversations.db")
    latest = opened.latest()
    assert latest is not None
    assert latest.head_id is not None
    assert [message.content for message in opened.path(latest.head_id)] == ["Hello", "one two"]
    opened.close()


@pytest.mark.terminal
def test_sigterm_at_the_prompt_closes_everything(on_terminal: Callable[[Script], ReplTerminal]) -> None:
    terminal = on_terminal(Script())
    terminal.wait_for(b"> ")
    # Again after a second: one was lost here once, perhaps between readline's prompt and its wait. Not established.
    while terminal.process.isalive():
        terminal.process.kill(signal.SIGTERM)
        threading.Event().wait(1.0)
    assert terminal.process.wait() == 143


def test_a_message_after_a_cancelled_load_loads_the_model_first(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    gate, read = Gate(), reader("Hello")

    def read_and_let_load(ask: str) -> str:
        gate.open()
        return read(ask)

    with scripted_session(Script(stepped_load=True), gate, store=store) as session:
        session.cancel_load()
        paths = invocation(None).paths
        Repl(Driver(session), paths, keeps_history=False, is_on_terminal=True, read=read_and_let_load).run()
        assert [message.status for message in session.path] == ["complete", "complete"]
    shown = capsys.readouterr()
    assert "No model is loaded." not in shown.err
    assert "scripted is ready" in shown.out


def test_without_a_model_a_message_says_how_to_load_one(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(store=store, model=MODEL_MISSING) as session:
        chat(session, "Hello", "/model", "/model scripted")
        assert session.path == []
    shown = capsys.readouterr()
    assert shown.err.count("No model is loaded.") == 2
    assert "scripted is ready" in shown.out


def test_a_reply_is_continued_once_another_window_has_written_it(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(store)
    with mock.patch("ttchat_tui.storage.messages.this_process", return_value=Writer("elsewhere", 1, "1")):
        theirs = store.begin_reply(asked.conversation_id, asked.id, STARTED)
        store.checkpoint(theirs.id, "All", (1,))
    said: list[str] = []

    def end_the_wait(note: str) -> None:
        said.append(note)
        if note == driver.ANSWERS_ELSEWHERE:
            store.finish_reply(theirs.id, "All of it.", "complete", STARTED)

    monkeypatch.setattr(driver, "notify", end_the_wait)
    with scripted_session(Script(replies=(" More.",)), store=store) as session:
        session.open(asked.conversation_id)
        assert chat(session, "/continue") == 0
    assert said == [driver.ANSWERS_ELSEWHERE]
    assert [each.content for each in store.tree(asked.conversation_id)][1:] == ["All of it. More."]


@pytest.mark.parametrize(
    ("is_resumed", "words", "times"),
    [
        (True, "The last reply was cut off as the app ended", [1, 1]),
        (False, "The app ended while a reply was running in “Tell me more”.", [1, 0]),
    ],
)
def test_a_reply_that_was_cut_off_is_named_at_the_start_elsewhere_once(
    store: ConversationStore,
    capsys: pytest.CaptureFixture[str],
    is_resumed: bool,
    words: str,
    times: list[int],
) -> None:
    asked = ask(store, "Tell me more")
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    with store._database.transaction() as transaction:
        transaction.execute("UPDATE messages SET writer = '' WHERE id = ?", (reply.id,))
    found: list[int] = []
    for _ in times:
        with scripted_session(store=store) as session:
            if is_resumed:
                session.open(asked.conversation_id)
            chat(session)
        found.append(capsys.readouterr().out.count(words))
    assert found == times
