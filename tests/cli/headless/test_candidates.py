"""Several candidates for one prompt without a screen: what is printed, what is kept, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.headless.scripted_chat import invocation, scripted_session
from tests.fakes import Script
from ttchat_tui.cli.headless import run
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.conversations import ConversationStore

SCRIPT = Script(replies=("Hi there, you.",), batch_sizes=(1, 2, 4))


def answer(store: ConversationStore, output: str, candidates: int, script: Script = SCRIPT) -> int:
    with scripted_session(script, store=store) as session:
        session.set_sampling(SamplingParams(seed=41))
        return run(session, invocation("Hello", output, candidates=candidates))


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_all_candidates_are_printed_in_order_each_with_its_seed(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, "text", 3) == 0
    assert capsys.readouterr().out == (
        "[1/3, seed 41]\nHi there, you.\n\n"
        "[2/3, seed 42]\nHi there, you. (seed 42)\n\n"
        "[3/3, seed 43]\nHi there, you. (seed 43)\n"
    )


def test_json_describes_the_first_reply_as_before_and_all_candidates(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, "json", 2) == 0
    reported = printed(capsys)
    assert (reported["text"], reported["seed"], reported["usage"]["completion_tokens"]) == (
        "Hi there, you.",
        41,
        3,
    )
    assert [(one["text"], one["seed"], one["finish_reason"]) for one in reported["candidates"]] == [
        ("Hi there, you.", 41, "stop"),
        ("Hi there, you. (seed 42)", 42, "stop"),
    ]
    assert reported["batch"]["completion_tokens"] == 3 + 5
    assert reported["candidates"][0]["message_id"] == reported["message_id"]


def test_json_of_one_reply_has_no_candidates(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, "json", 1) == 0
    assert {"candidates", "batch"}.isdisjoint(printed(capsys))


def test_json_lines_name_the_row_of_every_token(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, "jsonl", 2) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    texts = ["".join(line["text"] for line in lines if line.get("row") == row) for row in (0, 1)]
    assert texts == ["Hi there, you.", "Hi there, you. (seed 42)"]
    assert len(lines[-1]["candidates"]) == 2


@pytest.mark.parametrize("candidates", [1, 2, 4])
@pytest.mark.parametrize(
    "sampling", [SamplingParams(seed=41), SamplingParams(max_tokens=2), SamplingParams(stop=("you", "(se"))]
)
def test_every_token_line_has_a_token_or_a_text(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], sampling: SamplingParams, candidates: int
) -> None:
    with scripted_session(SCRIPT, store=store) as session:
        session.set_sampling(sampling)
        assert run(session, invocation("Hello", "jsonl", candidates=candidates)) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokens = [line for line in lines if line["event"] == "token"]
    assert {line["row"] for line in tokens} == {*range(candidates)}
    assert all(line["text"] or line["token_ids"] for line in tokens)


def test_candidates_are_kept_as_siblings_and_the_first_stays_on_the_path(store: ConversationStore) -> None:
    answer(store, "json", 3)
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    question, first = store.path(latest.head_id)
    replies = store.children(question.id, latest.id)
    assert [reply.content for reply in replies] == [
        "Hi there, you.",
        "Hi there, you. (seed 42)",
        "Hi there, you. (seed 43)",
    ]
    assert first.id == replies[0].id
    assert [reply.status for reply in replies] == ["complete"] * 3
    assert [reply.reply.seed for reply in replies if reply.reply] == [41, 42, 43]
    assert [len(reply.reply.token_ids) for reply in replies if reply.reply] == [3, 5, 5]
    assert all(reply.reply and reply.reply.stats and reply.reply.finish_reason == "stop" for reply in replies)


def test_an_engine_that_gives_one_reply_at_a_time_is_asked_nothing(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(store, "text", 2, Script()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2 candidates were asked for; this engine generates one reply at a time." in shown.err
    assert store.latest() is None


def test_every_candidates_text_before_the_engines_death_is_kept(store: ConversationStore) -> None:
    script = Script(
        replies=("Hi there, you.",), batch_sizes=(4,), fault="bug", fault_at=2
    )  # Raised out of `generate`: the host ends the reply.
    assert answer(store, "json", 2, script) == 1
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    question, first = store.path(latest.head_id)
    replies = store.children(question.id, latest.id)
    assert [reply.content for reply in replies] == ["Hi there,", "Hi there,"]
    assert [reply.status for reply in replies] == ["error"] * 2
    assert first.id == replies[0].id
