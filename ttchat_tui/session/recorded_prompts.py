"""The prompts of stored replies, whole again: each is recorded as what it adds to the conversation's ids before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.generation import Given
from ttchat_tui.domain.recording import RecordedPrompt, Recording, common_prefix
from ttchat_tui.storage.conversations import ConversationStore


class PromptedReply(NamedTuple):
    """A reply of the path."""

    prompts: Sequence[RecordedPrompt]
    """With all their ids; empty if one of them is not known."""
    sequence: tuple[int, ...]
    """The first prompt and the reply."""


def prompted_replies(store: ConversationStore, message: Message, recording: Recording) -> list[PromptedReply]:
    """The replies up to this one, whose recording is given. Raises StorageError."""
    found: list[PromptedReply] = []
    for each in store.path(message.id):
        if each.role != "assistant":
            continue
        before = found[-1].sequence if found else ()
        found.append(_whole(recording if each.id == message.id else store.recordings.of(each.id), before))
    return found


def _whole(recording: Recording, before: Sequence[int]) -> PromptedReply:
    """`before`: the sequence that the first prompt may share its beginning with."""
    prompts: list[RecordedPrompt] = []
    sequence: tuple[int, ...] = ()
    for prompt in recording.prompts:
        known = sequence if prompts else before
        if len(known) < prompt.shared:
            return PromptedReply((), ())
        prompts.append(structs.replace(prompt, shared=0, ids=(*known[: prompt.shared], *prompt.ids)))
        if len(prompts) == 1:
            written = recording.written[prompt.at - recording.first :]
            sequence = (*prompts[0].ids, *(token.token_id for token in written))
    return PromptedReply(prompts, sequence)


def decoded_before(replies: Sequence[PromptedReply], place: int) -> tuple[Given, ...]:
    """What to follow first, so that the cache is as it was before the last reply's prompt `place`: tokens that were decoded are
    decoded there again."""
    earlier = [(prompt, reply.sequence) for reply in replies[:-1] for prompt in reply.prompts]
    earlier += [(prompt, replies[-1].sequence) for prompt in replies[-1].prompts[:place]]
    prompt = replies[-1].prompts[place]
    found: list[Given] = []
    for before, sequence in reversed(earlier):
        begin = len(before.ids)
        end = min(common_prefix(sequence, prompt.ids), prompt.cached, len(prompt.ids) - 1)
        if end <= begin or prompt.ids[:begin] != before.ids:
            break
        found.append(Given(prompt_ids=before.ids, ids=prompt.ids[begin : end + 1]))
        prompt = before
    return tuple(reversed(found))
