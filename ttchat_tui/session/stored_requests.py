"""The requests that a stored reply came from, so that they can be made again.

A reply has one request, or several if it was continued. Each has the prompt that was recorded with it; of a reply without
a recorded prompt, it is rendered anew from the messages before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

import msgspec
from msgspec import structs

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.generation import Candidate, GenerationRequest, Given
from ttchat_tui.domain.recording import BatchChange, RecordedPrompt, RecordedToken, Recording, SamplingChange
from ttchat_tui.domain.reply_settings import differing
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.session.forking import text_before
from ttchat_tui.session.outgoing import outgoing
from ttchat_tui.session.recorded_prompts import PromptedReply, decoded_before, prompted_replies
from ttchat_tui.storage.conversations import ConversationStore

HOW_TO_FIND: Final = "`ttchat-tui replay --list` lists the replies."


class NotReplayable(AppError):
    """A message that cannot be replayed. `str()` says why."""

    kind = "usage"


class StoredRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and the tokens that it made."""

    first: int
    """Number of recorded tokens of the reply before them."""
    tokens: Sequence[RecordedToken]
    """Without a recording they have ids only."""
    request: GenerationRequest
    """With every recorded change: it draws the same tokens again, and then ends."""
    row: int
    """Of its batch."""
    before: tuple[Given, ...]
    """What to follow first, so that the KV cache is as it was."""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.token_id for token in self.tokens)


class StoredReply(msgspec.Struct, frozen=True, kw_only=True):
    message: Message
    record: ReplyRecord
    recording: Recording
    requests: tuple[StoredRequest, ...]
    has_prompts: bool
    """The ids of the prompts were recorded."""

    @property
    def tokens(self) -> list[RecordedToken]:
        """Those that can be made again."""
        return [token for request in self.requests for token in request.tokens]

    @property
    def numbers(self) -> list[int]:
        """Of each of `tokens` its number in the recording, from 1."""
        return [
            request.first + place for request in self.requests for place in range(1, 1 + len(request.tokens))
        ]


def stored_reply(store: ConversationStore, message_id: int) -> StoredReply:
    """Raises NotReplayable; StorageError."""
    message = store.message(message_id)
    record = message.reply
    if message.role != "assistant" or record is None:
        raise NotReplayable(f"Message {message_id} is not a reply.", HOW_TO_FIND)
    if message.status == "streaming":
        raise NotReplayable(f"Reply {message_id} is still being written.", "Wait for its end, or stop it.")
    if record.sampling is None or record.seed is None:
        who = record.model or "another program"
        raise NotReplayable(
            f"Reply {message_id} has no seed and no sampling: {who} wrote it, and it was imported.",
            HOW_TO_FIND,
        )
    recording = _recording(store, message)
    replies = prompted_replies(store, message, recording)
    requests = tuple(_requests(store, message, record, recording, replies))
    if not requests:
        raise _unknown_tokens(message, record)
    return StoredReply(
        message=message,
        record=record,
        recording=recording,
        requests=requests,
        has_prompts=bool(replies[-1].prompts),
    )


def _unknown_tokens(message: Message, record: ReplyRecord) -> NotReplayable:
    if message.is_edited:
        why = "the user wrote it"
    elif message.content:
        why = "its server sent no token ids"
    elif record.error:
        return NotReplayable(
            f"Reply {message.id} has no tokens: it failed before the first one.", HOW_TO_FIND
        )
    elif record.finish_reason == "stop":
        return NotReplayable(f"Reply {message.id} is empty, and its prompt was not recorded.", HOW_TO_FIND)
    else:
        return NotReplayable(
            f"Reply {message.id} has no tokens: it was stopped before the first one.", HOW_TO_FIND
        )
    return NotReplayable(f"The tokens of reply {message.id} are not known: {why}.", HOW_TO_FIND)


def _recording(store: ConversationStore, message: Message) -> Recording:
    """The recording of a reply; without one, its ids."""
    recording = store.recordings.of(message.id)
    if recording.tokens or message.reply is None:
        return recording
    return structs.replace(recording, tokens=[RecordedToken(each, 0.0) for each in message.reply.token_ids])


def _requests(
    store: ConversationStore,
    message: Message,
    record: ReplyRecord,
    recording: Recording,
    replies: Sequence[PromptedReply],
) -> Iterator[StoredRequest]:
    written, end = recording.written, recording.first + len(recording.written)
    has_ended = record.finish_reason == "stop" and bool(written or replies[-1].prompts)
    prompts = replies[-1].prompts or [RecordedPrompt(recording.first, 0, ())]
    ends = [*(prompt.at for prompt in prompts[1:]), end]
    for place, (prompt, until) in enumerate(zip(prompts, ends, strict=True)):
        first = prompt.at - recording.first
        known = written[first : until - recording.first]
        # What follows a text that the user typed, or a gap in the recording, has no prompt that is known.
        tokens = list(takewhile(lambda token: token.token_id >= 0, known))
        ends_reply = has_ended and place + 1 == len(prompts) and len(tokens) == len(known)
        request = _request(record, recording, prompt, tokens, ends_reply=ends_reply)
        if not prompt.ids:
            request = _rendered(store, message, request)
        elif first > 0:
            request = _continuing(message, recording, first, request)
        if tokens or ends_reply:
            before = decoded_before(replies, place) if prompt.ids else ()
            yield StoredRequest(first=first, tokens=tokens, request=request, row=prompt.row, before=before)


def _request(
    record: ReplyRecord,
    recording: Recording,
    prompt: RecordedPrompt,
    tokens: Sequence[RecordedToken],
    *,
    ends_reply: bool,
) -> GenerationRequest:
    """The request of a prompt, which made `tokens`. `ends_reply`: then the model ended the reply, or the user did."""
    first, after = prompt.at, prompt.at + len(tokens)
    # One more than there are, if it was ended: a replay that writes on is another reply.
    most = max(1, len(tokens) + ends_reply)
    own = recording.sampling_at(first, record.sampling or SamplingParams())
    varied = [row.sampling for row in prompt.rows if row.sampling is not None]
    begun = varied[0] if varied else own
    changes = tuple(
        SamplingChange(each.at - first, structs.replace(_live(each.sampling, varied), max_tokens=most))
        for each in recording.changes
        if first + (not varied) <= each.at < after + ends_reply
    )
    batches = tuple(
        BatchChange(each.at - first, each.rows)
        for each in recording.batches
        if first <= each.at < after + ends_reply
    )
    chosen = {place: token.token_id for place, token in enumerate(tokens) if token.is_forced}
    if ends_reply and recording.tokens and recording.tokens[-1].is_end:
        chosen[len(tokens)] = recording.tokens[-1].token_id
    return GenerationRequest(
        id=1 + first,
        messages=(),
        sampling=structs.replace(begun, max_tokens=most),
        seed=prompt.rows[0].seed if prompt.rows else record.seed or 0,
        candidates=tuple(
            Candidate(seed=each.seed, sampling=_up_to(each.sampling, most)) for each in prompt.rows[1:]
        ),
        record="full",
        given=Given(prompt_ids=prompt.ids, changes=changes, chosen=chosen, row=prompt.row, batches=batches),
    )


def _live(sampling: SamplingParams, varied: Sequence[SamplingParams]) -> SamplingParams:
    """What a change of one row sets in row 0. `varied`: the rows' own parameters, which hold where they differ; a change of
    their bias is one of all."""
    held = {name: getattr(varied[0], name) for name in differing(varied) if name != "logit_bias"}
    return structs.replace(sampling, **held)


def _rendered(store: ConversationStore, message: Message, request: GenerationRequest) -> GenerationRequest:
    """The request with the messages before the reply, and the system prompt as it is now."""
    conversation = store.conversation(message.conversation_id)
    sent = outgoing(conversation.system_prompt, list(store.path(message.id))[:-1])
    return structs.replace(request, messages=sent.messages, keep=sent.keep)


def _continuing(
    message: Message, recording: Recording, first: int, request: GenerationRequest
) -> GenerationRequest:
    """The request with the reply before its token `first`: a constraint follows from there."""
    begun = text_before(message.content, recording, first)
    if begun is None:
        return request
    ids = tuple(token.token_id for token in recording.tokens[:first])
    return structs.replace(
        request,
        messages=(ChatMessage("assistant", begun[0]),),
        continue_last=True,
        written_ids=ids if min(ids) >= 0 else (),
    )


def _up_to(sampling: SamplingParams | None, most: int) -> SamplingParams | None:
    """A row of a batch that is longer than the one that is asked for changes nothing in it."""
    return sampling and structs.replace(sampling, max_tokens=min(sampling.max_tokens, most))
