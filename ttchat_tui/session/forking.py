"""Replies that begin as another one does, up to one of its tokens."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import structs

from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.recording import (
    NOT_RECORDED,
    RecordedToken,
    Recording,
    alternatives_of,
    text_id,
)
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import normalised, opening_before
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import not_found
from ttchat_tui.storage.recording_parts import encoded
from ttchat_tui.storage.recordings import PartialCopy

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession

_UNKNOWN: Final = ErrorInfo(
    kind="usage",
    message="The text of this reply up to this token is not known from its recording, so it cannot be forked here.",
    cure="Edit the reply instead: e in the chat.",
)
_RUNNING: Final = (
    "A reply is still running. ctrl+c stops it; while it is paused, its latest token can be another."
)
_PAUSED: Final = "The reply is paused: only its latest token can be another. ctrl+c stops it."
_FORBIDDEN: Final = ErrorInfo(
    kind="usage",
    message="The constraint of this conversation forbids this token.",
    cure="Choose one that it allows, or answer without it: /constrain off.",
)


class Forking:
    """Part of a `ChatSession`. A fork is stored beside the reply that it comes from, with the recording of the tokens that
    both have."""

    def __init__(self, store: ConversationStore, session: ChatSession) -> None:
        self._store = store
        self._session = session

    def why_not(self, message: Message) -> str:
        """Why the loaded model cannot continue this reply after another token, in a sentence; empty: it can."""
        if (error := self._session.branching.why_not()) is not None:
            if self._session.is_answering:
                return _PAUSED if self._session.pausing.is_paused else _RUNNING
            return error.line
        reply, info = message.reply, self._session.info
        if info is None:
            return "No model is loaded."
        is_without_ids = reply is None or (not reply.token_ids and info.endpoint)
        if reply is None or is_without_ids or not info.capabilities.continues:
            return "No fork: the server sends no token ids, so it cannot continue after one."
        if reply.model != info.model:
            return f"No fork: {reply.model or 'another program'} wrote this, and {info.model} is loaded."
        return ""

    def fork(self, message_id: int, recording: Recording, at: int, token_id: int) -> list[Update]:
        """Write the alternative `token_id` in the place of `recording.tokens[at]`, and let the model continue after it. If
        it ends a reply, the fork ends there. Raises StorageError: nothing has changed."""
        message = self._found(message_id)
        info = self._session.info
        if (why := self.why_not(message)) or message.reply is None or info is None:
            return [Notice(ErrorInfo(kind="usage", message=why))]
        kept = text_before(message.content, recording, at)
        is_end = token_id in info.end_ids
        chosen = _chosen(recording.tokens[at], token_id, is_end=is_end)
        if kept is None or chosen is None:
            return [Notice(_UNKNOWN)]
        if not is_end and self._is_forbidden(message.reply, recording, at, token_id):
            return [Notice(_FORBIDDEN)]
        ids = ids_before(message.reply, recording, at)
        text, rest = kept
        if not is_end:
            ids = None if ids is None else (*ids, token_id)
            text += codecs.getincrementaldecoder("utf-8")("replace").decode(
                rest + recording.text_of(token_id)
            )
        record = structs.replace(message.reply, token_ids=ids or ())
        copy = self._copy(message, recording, at, chosen, recording.pieces)
        return self._session.branching.write_as(
            message.id,
            text,
            record,
            is_edited=message.is_edited,
            recorded=copy,
            to_continue=not is_end,
            is_kept=False,
        )

    def rewrite(self, message_id: int, recording: Recording, at: int, text: str) -> list[Update]:
        """Write `text`, which may be empty, in the place of `recording.tokens[at]` and all that follow it, and let the model
        continue after it. If that is refused, `text` returns to the prompt. Raises StorageError: nothing has changed."""
        if (why := self._session.branching.why_not()) is not None:
            return [Notice(why)]
        message = self._found(message_id)
        kept = text_before(message.content, recording, at)
        if kept is None or message.reply is None:
            return [Notice(_UNKNOWN)]
        written = kept[0] + text
        # Tokens with a part of a character give way too: it is replaced as a whole.
        while kept is not None and kept[1]:
            at -= 1
            kept = text_before(message.content, recording, at)
        if kept is None:
            return [Notice(_UNKNOWN)]
        piece = written.removeprefix(kept[0]).encode("utf-8", "replace")
        ids = ids_before(message.reply, recording, at) if not piece else None
        pieces = {**recording.pieces}
        typed = text_id(piece, pieces)
        pieces[typed] = piece
        token = RecordedToken(typed, recording.tokens[at - 1].time_s if at else 0.0)
        record = structs.replace(message.reply, token_ids=ids or ())
        copy = self._copy(message, recording, at, token if piece else None, pieces)
        updates = self._session.branching.write_as(
            message.id,
            written,
            record,
            is_edited=bool(text) or message.is_edited,
            recorded=copy,
            to_continue=True,
            is_kept=False,
        )
        if self._session.running is not None:
            self._session.running.words = text
        return updates

    def _is_forbidden(self, reply: ReplyRecord, recording: Recording, at: int, token_id: int) -> bool:
        """The constraint of now, under which the reply was written too, has cut this alternative."""
        begun = reply.sampling or SamplingParams()
        constraint = recording.sampling_at(recording.first + at, begun).constraint
        if constraint is None or constraint != self._session.sampling.constraint:
            return False
        listed = alternatives_of(recording.tokens[at])
        return any(each.token_id == token_id and each.cut == "constraint" for each in listed)

    def _found(self, message_id: int) -> Message:
        """The reply as it is on screen. Raises StorageError, kind `not_found`."""
        place = self._session.path.place_of(message_id)
        if place is None:
            raise not_found("This reply")
        return self._session.path[place]

    def _copy(
        self,
        message: Message,
        recording: Recording,
        at: int,
        added: RecordedToken | None,
        pieces: Mapping[int, bytes],
    ) -> PartialCopy:
        """The recording up to `at`, with another token after it if there is one: its whole parts are copied in the store, and only the rest is
        encoded here."""
        end = recording.first + at
        begin = max(self._store.recordings.end_of(message.id, end), recording.first)
        changes = [each for each in recording.changes if begin <= each.at < end]
        tokens = [*recording.tokens[begin - recording.first : at], *([added] if added else [])]
        pauses = [each for each in recording.pauses if begin <= each.at < end]
        prompts = [each for each in recording.prompts if begin <= each.at <= end]
        batches = [each for each in recording.batches if begin <= each.at < end]
        return PartialCopy(
            message.id,
            end,
            encoded(Recording(tokens, begin, changes, pieces, pauses, prompts, recording.controls, batches)),
        )


def ids_before(reply: ReplyRecord, recording: Recording, at: int) -> tuple[int, ...] | None:
    """The ids of the reply before `recording.tokens[at]`. None: a part of it was typed, or its ids are not known."""
    ids = tuple(token.token_id for token in recording.tokens[:at])
    if NOT_RECORDED in ids:  # but stored, if the recorded ones are where they were generated
        pairs = zip(recording.tokens, reply.token_ids, strict=False)
        if all(token.token_id in (NOT_RECORDED, token_id) for token, token_id in pairs):
            ids = reply.token_ids[:at]
    return ids if len(ids) == at and not recording.first and min(ids, default=0) >= 0 else None


def _chosen(token: RecordedToken, token_id: int, *, is_end: bool) -> RecordedToken | None:
    """`token` with this alternative in its place; None: it is not among them."""
    for rank, each in enumerate(alternatives_of(token)):
        if each.token_id == token_id:
            return structs.replace(
                token,
                token_id=token_id,
                logprob=each.logprob,
                rank=rank,
                is_drafted=False,
                is_forced=True,
                is_end=is_end,
            )
    return None


def text_before(content: str, recording: Recording, at: int) -> tuple[str, bytes] | None:
    """The part of `content` before `recording.tokens[at]`, and the bytes of a character that begins before it. None: the
    content is not what the tokens say, or this one was not recorded.

    What precedes the first token (the opening tag of a thought, words of the user) and a space that the engine drops at the
    beginning are found by comparison. A reply with thoughts is stored `normalised`; its fork begins as it was written.
    """
    if at < len(recording.tokens) and recording.tokens[at].token_id == NOT_RECORDED:
        return None
    pieces = [recording.text_of(token.token_id) for token in recording.written]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    before = decoder.decode(b"".join(pieces[:at]))
    rest = decoder.getstate()[0]
    whole = before + decoder.decode(b"".join(pieces[at:]))  # without a part of a character at the end
    for shown in (whole, whole.removeprefix(" ")):
        if content.endswith(shown):
            head = content.removesuffix(shown)
            return head + before[len(whole) - len(shown) :], rest
    opening = opening_before(whole, content)
    for begun in (before, before.removeprefix(" ")):
        written = opening + whole[len(before) - len(begun) :]
        # What was cut off at the end is a stop string.
        if content == normalised(written) or content.startswith(opening + begun):
            return opening + begun, rest
    return None
