"""Several processes on one file, some of which die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.examples import STARTED, HandClock, ask
from ttchat_tui.storage import writers
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.writers import SILENCE_S, Writer, has_writer_ended, this_process

PREAMBLE = """
import sys
from pathlib import Path
from tests.storage.examples import STARTED, FINISHED, answer, ask
from ttchat_tui.storage.opening import open_store
store = open_store(Path(sys.argv[1]))
"""

STREAMS_UNTIL_KILLED = f"""{PREAMBLE}
asked = ask(store, "What was said?")
reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
store.checkpoint(reply.id, "This", (1,))
store.checkpoint(reply.id, "This was", (1, 2))
print(asked.id, reply.id, flush=True)
sys.stdin.read()
"""

TALKS = f"""{PREAMBLE}
asked = ask(store, sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(200):
    asked = store.add_user_message(asked.conversation_id, asked.id, f"{{sys.argv[2]}} {{turn}}")
print(asked.id, flush=True)
store.close()
"""


CHANGES_THE_QUEUE_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from ttchat_tui.storage import queue
from ttchat_tui.storage.opening import open_store

path = Path(sys.argv[1])
this = queue.this_process()
queue.this_process = lambda: this  # the forked processes change the queue of this one
CHANGES = (
    lambda store, one, two: store.queue.swap(one, two),
    lambda store, one, two: store.queue.edit(one, "edited"),
    lambda store, one, two: store.add_user_message(one.conversation_id, None, one.content, queued_id=one.id),
)

def killed_at(statement, change, one, two):
    store = open_store(path)
    def run(_):
        nonlocal statement
        statement -= 1
        if statement < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    store._database._connection.set_trace_callback(run)
    change(store, one, two)
    os._exit(0)

def queue_and_sent():
    store = open_store(path)
    found = store.queue.adopt(), store.recent_prompts()
    store.close()
    return found

store = open_store(path)
home = store.create_conversation().id
store.queue.add(home, "one", 1)
store.queue.add(home, "two", 1)
store.close()
for change in CHANGES:
    seen = {}
    (one, two), _ = queue_and_sent()
    for statement in range(100):
        child = os.fork()
        if not child:
            killed_at(statement, change, one, two)
        os.waitpid(child, 0)
        queue, sent = queue_and_sent()
        seen[",".join(each.content for each in queue) + ";" + ",".join(sent)] = None
        if len(seen) > 1:
            break
    print(statement, *seen, flush=True)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line_from(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_kill_9_loses_nothing_that_was_said_and_marks_the_reply(path: Path) -> None:
    process = start(STREAMS_UNTIL_KILLED, str(path))
    asked_id, reply_id = map(int, line_from(process).split())

    beside = open_store(path)
    assert beside.recover() == [], "its writer lives: it is none of our business"
    assert beside.message(reply_id).status == "streaming"

    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    store = open_store(path)
    recovered = store.recover()
    assert [(each.id, each.status, each.content) for each in recovered] == [
        (reply_id, "interrupted", "This was")
    ]
    assert recovered[0].reply is not None
    assert recovered[0].reply.token_ids == (1, 2)
    assert store.message(asked_id).content == "What was said?"
    assert store.recover() == []
    assert store.resume_reply(reply_id).status == "streaming"
    store.close()
    beside.close()


def test_kill_9_between_any_two_statements_leaves_the_queue_as_before_or_after(path: Path) -> None:
    lines = start(CHANGES_THE_QUEUE_UNTIL_KILLED, str(path)).communicate(timeout=60)[0].splitlines()
    statements, states = zip(*(line.split(" ", 1) for line in lines), strict=True)
    assert states == ("one,two; two,one;", "two,one; edited,one;", "edited,one; one;edited"), (
        "sent or queued, once"
    )
    assert min(map(int, statements)) >= 4, "it was killed between them"


def test_two_instances_write_two_hundred_messages_each_into_one_database(path: Path) -> None:
    names = ("one", "two")
    processes = [start(TALKS, str(path), name) for name in names]
    assert [line_from(process) for process in processes] == ["ready", "ready"]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    heads = [int(process.communicate(timeout=60)[0]) for process in processes]
    store = open_store(path)
    for name, head in zip(names, heads, strict=True):
        said = [message.content for message in store.path(head)]
        assert said == [name, *(f"{name} {turn}" for turn in range(200))]
    store.close()


def test_a_running_reply_of_this_process_is_not_interrupted(store: ConversationStore) -> None:
    asked = ask(store)
    store.begin_reply(asked.conversation_id, asked.id, STARTED)
    assert store.recover() == []


def test_a_writer_on_another_host_counts_as_ended_after_a_silence(
    store: ConversationStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(store)
    reply = store.begin_reply(asked.conversation_id, asked.id, STARTED)
    monkeypatch.setattr(writers, "_machine", lambda: "another host")
    clock.now += SILENCE_S
    store.checkpoint(reply.id, "alive", (1,))
    clock.now += SILENCE_S
    assert store.recover() == []
    clock.now += 1
    assert [each.content for each in store.recover()] == ["alive"]


@pytest.mark.parametrize(
    ("other", "gone"),
    [
        (lambda me: me, False),
        (lambda me: Writer(me.machine, me.pid, me.started + "1"), True),
        (lambda me: Writer(me.machine, 2**22 + 1, me.started), True),
        (lambda me: Writer("elsewhere", me.pid, me.started), False),
    ],
    ids=[
        "this process",
        "its pid given out again",
        "a pid too high to exist",
        "another host",
    ],
)
def test_a_process_is_known_by_its_pid_and_its_start(other: Callable[[Writer], Writer], gone: bool) -> None:
    assert has_writer_ended(other(this_process()).encoded(), silent_s=1.0) is gone


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process()
    writer = Writer(me.machine, child.pid, writers._start_time(child.pid)).encoded()
    assert not has_writer_ended(writer, silent_s=0.0)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert has_writer_ended(writer, silent_s=0.0)
    child.communicate()


def test_an_unreadable_writer_has_ended() -> None:
    assert has_writer_ended("not json", silent_s=0.0)
