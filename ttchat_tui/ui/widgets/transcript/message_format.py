"""Formatting of stored messages for the transcript: title, time, figures and notes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import structs
from textual.content import Content

from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.errors import LOAD_AGAIN, ErrorInfo
from ttchat_tui.domain.generation import END_NOTES, GenerationStats
from ttchat_tui.domain.literal_text import language_of
from ttchat_tui.domain.reply_settings import setting_words
from ttchat_tui.domain.text import as_sentence, counted
from ttchat_tui.domain.thoughts import normalised
from ttchat_tui.domain.updates import PromptCost
from ttchat_tui.ui.widgets.metrics.figures import likelihood_words
from ttchat_tui.ui.widgets.transcript.message_data import SEPARATOR, MessageView

FAULT_KEY = -1
"""The transcript's key for the notice that no model is loaded. Messages have positive keys."""

CONTINUE_HINT = " · /continue resumes it"

RELOAD_HINT = "/reload loads the model again; ctrl+o chooses another."


def with_reload_hint(cure: str) -> str:
    """`cure` with the commands that load a model, once."""
    if LOAD_AGAIN in cure:
        return cure.replace(LOAD_AGAIN, RELOAD_HINT)
    return cure if "/reload" in cure else f"{cure}\n{RELOAD_HINT}".strip()


def view_of(message: Message, *, error_cure: str = "", differing: Sequence[str] = ()) -> MessageView:
    """`message` for the transcript. `error_cure` is appended to a failed reply's error. `differing`: the sampling parameters
    that are to be shown, because those of other versions differ."""
    reply = message.reply
    stats = reply.stats if reply else None
    figures = [figures_of(stats, reply.tokens)] if reply and stats else []
    spare = likelihood_words(stats.mean_logprob, stats.greedy_share) if stats else []
    if reply and reply.sampling:
        figures += setting_words(reply.sampling, differing)
    return MessageView(
        key=message.id,
        role=message.role,
        text=_shown(message),
        literal=literal_of(message),
        status=message.status,
        title=title_of(message),
        time=clock_time(message.created_at),
        figures=SEPARATOR.join(figures),
        spare_figures=SEPARATOR.join(spare),
        note=note_of(message, error_cure),
        thoughts=reply.stats.thoughts if reply and reply.stats else (),
        siblings=(message.sibling_index, message.sibling_count),
        branch=message.branch_name,
    )


def _shown(message: Message) -> str:
    """The text to show. Replies stored by earlier versions may have the model's own markers of thoughts."""
    if message.role != "assistant" or message.status == "streaming":
        return message.content
    return normalised(message.content)


def literal_of(message: Message) -> str | None:
    """The language of a reply that is no Markdown (`domain.literal_text.language_of`). What the user has edited may have any
    form."""
    sampling = message.reply.sampling if message.reply and not message.is_edited else None
    return language_of(sampling.constraint) if sampling is not None else None


def title_of(message: Message) -> str:
    if message.role == "user":
        return "You"
    model = message.reply.model if message.reply else ""
    if message.is_edited:
        return f"{model or 'Assistant'} · edited"
    return model or "Assistant"


def clock_time(created_at: float) -> str:
    """`14:02` today, `21 Nov 14:02` this year, `21 Nov 2023 14:02` before."""
    then, now = time.localtime(created_at), time.localtime()
    if then.tm_year != now.tm_year:
        return time.strftime("%d %b %Y %H:%M", then)
    return time.strftime("%H:%M" if then.tm_yday == now.tm_yday else "%d %b %H:%M", then)


def figures_of(stats: GenerationStats, whole: int = 0) -> str:
    """`41 tok · TTFT 0.14 s · 93.8 tok/s`; `41 new of 104 tok` if the `whole` reply has tokens of earlier runs too.

    `~` marks estimates, `by pieces` that received chunks were counted instead of tokens. A TTFT that includes the network
    says so. Dropped messages, changed parameters, pauses and cached tokens follow."""
    about = "~" if stats.is_estimate else ""
    by = " by pieces" if about and stats.chunks and stats.chunks == stats.completion_tokens else ""
    of_whole = f" new of {whole:,}" if whole > stats.completion_tokens else ""
    parts = [f"{about if stats.completion_tokens else ''}{stats.completion_tokens:,}{of_whole} tok{by}"]
    if stats.ttft_s is not None:
        parts.append(f"TTFT {'with network ' if stats.chunks is not None else ''}{stats.ttft_s:.2f} s")
    if stats.decode_tps is not None:
        parts.append(f"{about}{stats.decode_tps:.1f} tok/s")
    if stats.dropped_messages:
        were = "was" if stats.dropped_messages == 1 else "were"
        parts.append(f"{counted(stats.dropped_messages, 'message')} {were} not sent")
    if stats.sampling_changes:
        parts.append("sampling changed midway")
    if stats.paused_s:
        parts.append(f"paused for {stats.paused_s:.0f} s")
    if stats.cached_tokens:
        parts.append(f"{stats.cached_tokens:,}/{stats.prompt_tokens:,} cached")
    return SEPARATOR.join(parts)


def cost_hint(cost: PromptCost) -> str:
    """`612 / 8,192 tok`; `~` marks an estimate, and the limit is left out if unknown. Messages that will be dropped, or a
    prompt that is too long, are named."""
    tokens = f"{'~' if cost.is_estimate else ''}{cost.prompt_tokens:,}"
    limit = f" / {cost.context_length:,}" if cost.context_length else ""
    if not cost.is_estimate and 0 < cost.context_length <= cost.prompt_tokens:
        return f"{tokens}{limit} tok · too long to send"
    dropped = f" · {will_not_be_sent(cost.dropped_messages)}" if cost.dropped_messages else ""
    return f"{tokens}{limit} tok{dropped}"


def will_not_be_sent(count: int) -> str:
    """`2 messages will not be sent`: they do not fit into the context."""
    return f"{counted(count, 'message')} will not be sent"


def note_of(message: Message, error_cure: str = "") -> str:
    """How a reply ended, and the engine's notes on it."""
    reply = message.reply
    notes = reply.stats.notes if reply and reply.stats else ()
    if reply and reply.finish_reason == "stop" and not notes and not message.content.strip():
        notes = ("The reply is empty.",)
    ending = _ending_of(message.status, reply, error_cure)
    return "\n".join(part for part in (*notes, ending) if part)


def _ending_of(status: str, reply: ReplyRecord | None, error_cure: str) -> str:
    match status:
        case "streaming":
            return ""
        case "error":
            error = reply.error if reply and reply.error else "The reply failed."
            return f"{as_sentence(error)} {error_cure}".strip()
        case "interrupted" if reply is None or reply.finish_reason != "cancelled":
            why = f" · {reply.error.rstrip('.')}" if reply and reply.error else ""
            return f"interrupted{why}{CONTINUE_HINT}"
        case _ if reply is None or reply.finish_reason not in END_NOTES:
            return ""
        case _:  # with a full context there is nothing to resume
            hint = CONTINUE_HINT if reply.finish_reason != "context" else ""
            return f"{END_NOTES[reply.finish_reason]}{hint}"


def fault_view(error: ErrorInfo) -> MessageView:
    """The notice that no model is loaded, with the reason. It stays until one is."""
    return MessageView(
        key=FAULT_KEY,
        role="notice",
        status="error",
        title="No model",
        text="",
        note=structs.replace(error, cure=with_reload_hint(error.cure)).lines,
    )


def welcome() -> Content:
    """The text in an empty transcript."""
    return Content.assemble(
        ("ttchat", "bold $primary"),
        "\n\n",
        ("Type a message and press Enter.\nctrl+p lists all commands, F1 shows help.", "$text-muted"),
    )
