"""Replies that are stored already, as lanes: those of an earlier session, or that `undo` has brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ttchat_tui.domain.candidates import MOST, Variant
from ttchat_tui.domain.reply_settings import ReplySettings, differing, setting_words
from ttchat_tui.session.lane import EDITED, Lane, version_label
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.message_path import MessagePath

_FEWEST: Final = 2


def stored_lanes(
    store: ConversationStore, path: MessagePath, known: Sequence[Lane]
) -> tuple[list[Lane], int]:
    """A lane for each version of the reply at the end of `path`, labelled by what they differ in, and the id of the message
    that they answer. No lanes: there are not several versions. If there are too many, the one on screen and those after it.

    Args:
        known: lanes that are there; they stay as they are.

    Raises:
        StorageError: the versions cannot be read.
    """
    if not path or path[-1].role != "assistant" or path[-1].parent_id is None:
        return [], 0
    shown, question_id = path[-1], path[-1].parent_id
    replies = [each for each in store.children(question_id, shown.conversation_id) if each.reply is not None]
    at = next((at for at, each in enumerate(replies) if each.id == shown.id), 0)
    first = max(0, min(at, len(replies) - MOST))
    replies = replies[first : first + MOST]
    if len(replies) < _FEWEST:
        return [], 0
    records = [each.reply for each in replies if each.reply is not None]
    names = [
        name for name in differing([each.sampling for each in records if each.sampling]) if name != "seed"
    ]
    has_models = len({each.model for each in records}) > 1
    own = {lane.message.id: lane for lane in known if lane.message is not None}
    lanes: list[Lane] = []
    for message, record in zip(replies, records, strict=True):
        if (lane := own.get(message.id)) is None:
            held = {name: getattr(record.sampling, name) for name in names} if record.sampling else {}
            words = [record.model] if has_models and record.model else []
            words += setting_words(record.sampling, names) if record.sampling else []
            if not words:
                words = [version_label(message) if record.seed is None else f"seed {record.seed}"]
            label = ", ".join(words) + EDITED * message.is_edited
            lane = Lane(Variant(label, record.seed or 0, ReplySettings(sampling=held)))
            lane.wish, lane.message, lane.note = None, message, record.error
        lanes.append(lane)
    return lanes, question_id
