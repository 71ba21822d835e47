"""The line of figures under a reply, and the hint with the cost of a draft."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from msgspec import structs

from ttchat_tui.domain.conversation import Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.errors import LOAD_AGAIN, ErrorInfo
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import PromptCost
from ttchat_tui.ui.widgets.transcript.header_and_figures import FiguresRow
from ttchat_tui.ui.widgets.transcript.message_format import (
    clock_time,
    cost_hint,
    fault_view,
    figures_of,
    note_of,
    view_of,
)


def test_figures_of_this_machine_are_exact() -> None:
    stats = GenerationStats(completion_tokens=41, ttft_s=0.14, decode_tps=93.8)
    assert figures_of(stats) == figures_of(stats, 41) == "41 tok · TTFT 0.14 s · 93.8 tok/s"
    assert figures_of(stats, 104) == "41 new of 104 tok · TTFT 0.14 s · 93.8 tok/s", "it was continued"


def test_figures_over_a_network_say_so_and_mark_estimates() -> None:
    stats = GenerationStats(completion_tokens=41, ttft_s=0.14, decode_tps=93.8, chunks=41)
    assert figures_of(stats) == "41 tok · TTFT with network 0.14 s · 93.8 tok/s"
    guessed = GenerationStats(completion_tokens=1234, decode_tps=93.8, chunks=41, is_estimate=True)
    assert figures_of(guessed) == "~1,234 tok · ~93.8 tok/s"


def test_a_token_count_has_a_limit_if_it_is_known() -> None:
    assert cost_hint(PromptCost(612, 8192, 0)) == "612 / 8,192 tok"
    assert cost_hint(PromptCost(612, 8192, 2)) == "612 / 8,192 tok · 2 messages will not be sent"
    assert cost_hint(PromptCost(8191, 8192, 2)) == "8,191 / 8,192 tok · 2 messages will not be sent"
    assert cost_hint(PromptCost(8192, 8192, 2)) == "8,192 / 8,192 tok · too long to send"
    assert cost_hint(PromptCost(612, 0, 0, is_estimate=True)) == "~612 tok"


def test_pieces_counted_as_tokens_are_named_so() -> None:
    counted = GenerationStats(completion_tokens=3, chunks=3, is_estimate=True, decode_tps=9.0)
    reported = GenerationStats(completion_tokens=5, chunks=3, decode_tps=9.0)
    assert figures_of(counted).startswith("~3 tok by pieces · ")
    assert figures_of(reported).startswith("5 tok · ")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, ["971 tok · TTFT 0.03 s · 127.5 tok/s · 68/69 cached"]),
        (50, ["971 tok · TTFT 0.03 s · 127.5 tok/s · 68/69 cached"]),
        (49, ["971 tok · TTFT 0.03 s · 127.5 tok/s", "68/69 cached"]),
        (25, ["971 tok · TTFT 0.03 s", "127.5 tok/s", "68/69 cached"]),
        (5, ["971 …", "TTFT…", "127.…", "68/6…"]),
    ],
)
def test_figures_that_do_not_fit_in_one_line_continue_in_the_next(width: int, shown: list[str]) -> None:
    stats = GenerationStats(
        completion_tokens=971, ttft_s=0.03, decode_tps=127.5, cached_tokens=68, prompt_tokens=69
    )
    lines = FiguresRow(figures_of(stats)).lines(width)
    assert [piece.content.plain for line in lines for piece in line] == shown


@pytest.mark.parametrize(("count", "words"), [(1, "1 message was"), (4, "4 messages were")])
def test_the_figures_include_dropped_messages(count: int, words: str) -> None:
    stats = GenerationStats(completion_tokens=3, dropped_messages=count)
    assert figures_of(stats) == f"3 tok · {words} not sent"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, ["3 tok · ppl 1.65 · 67% greedy"]),
        (28, ["3 tok · ppl 1.65"]),
        (15, ["3 tok"]),
    ],
)
def test_how_probable_the_tokens_were_is_shown_where_there_is_room(width: int, shown: list[str]) -> None:
    view = view_of(
        reply("Hm.", stats=GenerationStats(completion_tokens=3, mean_logprob=-0.5, greedy_share=0.666))
    )
    lines = FiguresRow(view.figures, view.spare_figures).lines(width)
    assert [piece.content.plain for line in lines for piece in line] == shown


def test_the_figures_show_that_sampling_changed_during_the_reply_and_a_pause() -> None:
    stats = GenerationStats(completion_tokens=3, sampling_changes=2, paused_s=8.4)
    assert figures_of(stats) == "3 tok · sampling changed midway · paused for 8 s"


CALL = "The model wanted to call now; this app runs no tools."


def reply(
    content: str,
    *notes: str,
    reason: FinishReason = "stop",
    status: MessageStatus = "complete",
    stats: GenerationStats | None = None,
) -> Message:
    record = ReplyRecord(
        model="m",
        engine="e",
        sampling=SamplingParams(),
        seed=1,
        finish_reason=reason,
        stats=stats or GenerationStats(notes=notes),
    )
    return Message(
        id=1,
        conversation_id=1,
        parent_id=None,
        role="assistant",
        content=content,
        status=status,
        created_at=0.0,
        reply=record,
    )


def test_notes_of_the_engine_are_under_the_reply() -> None:
    assert note_of(reply("So.", CALL)) == CALL
    assert (
        note_of(reply("So.", CALL, reason="length")) == f"{CALL}\nended at max tokens · /continue resumes it"
    )


def test_a_reply_that_can_be_resumed_says_how() -> None:
    def says_how(reason: FinishReason, status: MessageStatus = "complete") -> bool:
        return "/continue resumes it" in note_of(reply("So.", reason=reason, status=status))

    assert says_how("length")
    assert says_how("cancelled", "interrupted")
    assert says_how("error", "interrupted")
    assert not says_how("stop")
    assert not says_how("context"), "there is no room to resume it"


@pytest.mark.parametrize("said", ["lab is busy (429): slow down", "lab is busy (429): slow down."])
def test_the_cure_of_a_failed_reply_follows_a_whole_sentence(said: str) -> None:
    failed = reply("", reason="error", status="error")
    assert failed.reply is not None
    failed = structs.replace(failed, reply=structs.replace(failed.reply, error=said))
    assert note_of(failed, "Wait.") == "lab is busy (429): slow down. Wait."
    fault = fault_view(ErrorInfo(kind="rate_limited", message=said, cure="Wait."))
    assert fault.note.startswith("lab is busy (429): slow down.\nWait.\n")


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_reply_is_reported_for_every_engine(content: str) -> None:
    assert note_of(reply(content)) == "The reply is empty."
    assert note_of(reply(content, CALL)) == CALL
    assert (
        note_of(reply(content, reason="cancelled", status="interrupted")) == "stopped · /continue resumes it"
    )


@pytest.mark.parametrize(
    "cure",
    ["", "Close other programs.", LOAD_AGAIN, f"{LOAD_AGAIN} The engine's log: /x", "Reload it (/reload)."],
)
def test_a_dead_engine_names_the_way_back_once(cure: str) -> None:
    note = fault_view(ErrorInfo(kind="engine_died", message="It died.", cure=cure)).note
    assert note.startswith("It died.\n")
    assert note.count("/reload") == 1
    assert LOAD_AGAIN not in note
    for kept in ("Close other programs.", "The engine's log: /x"):
        assert (kept in note) == (kept in cure)


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        ((2023, 11, 14, 23, 0), "22:13"),
        ((2023, 12, 31, 23, 0), "14 Nov 22:13"),
        ((2024, 1, 1, 0, 0), "14 Nov 2023 22:13"),
        ((2024, 11, 14, 22, 13), "14 Nov 2023 22:13"),  # the same day of another year
    ],
)
def test_a_time_names_its_day_and_its_year_where_they_are_not_today_s(
    monkeypatch: pytest.MonkeyPatch, now: tuple[int, int, int, int, int], shown: str
) -> None:
    then, today = (datetime(2023, 11, 14, 22, 13).timestamp(), datetime(*now).timestamp())
    localtime = time.localtime
    monkeypatch.setattr(time, "localtime", lambda at=None: localtime(today if at is None else at))
    assert clock_time(then) == shown
