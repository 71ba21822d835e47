"""Conversation trees for property tests, and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.conversation import ContextMark, Conversation, Message, ReplyRecord
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.imports import ImportReport
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.export import ConversationFile, export_json
from ttchat_tui.storage.imports.importing import import_files
from ttchat_tui.storage.opening import open_store

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["```python\nprint()\n```", "## You", "<think>\nhm\n</think>\nyes", "a\r\nb", "\x00\x1b[31m", "漢字 👩‍🚀"]
)
TIMES = st.floats(1.0, 9e10)
SAMPLING = st.builds(
    SamplingParams,
    temperature=st.floats(0.0, 2.0),
    top_k=st.integers(0, 1000),
    seed=st.none() | st.integers(0, 2**63 - 1),
    stop=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), max_size=2).map(
        tuple
    ),
    logit_bias=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4),
        st.floats(-100.0, 100.0),
        max_size=2,
    ),
)
RECORDS = st.builds(
    ReplyRecord,
    model=TEXT,
    engine=TEXT,
    sampling=SAMPLING,
    seed=st.none() | st.integers(0, 2**63 - 1),
    token_ids=st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple),
    finish_reason=st.sampled_from([None, "stop", "length", "cancelled", "error"]),
    stats=st.none()
    | st.builds(GenerationStats, ttft_s=st.none() | st.floats(0, 1e6), notes=st.just(("A note.",))),
    error=TEXT,
)


ROLES: st.SearchStrategy[Role] = st.sampled_from(get_args(Role))


@st.composite
def conversation_files(draw: st.DrawFn) -> ConversationFile:
    """Any tree, with ids as a used database has them: growing, with gaps."""
    count = draw(st.integers(1, 8))
    ids = sorted(draw(st.sets(st.integers(1, 10**6), min_size=count, max_size=count)))
    messages: list[Message] = []
    for at, message_id in enumerate(ids):
        role: Role = draw(ROLES)
        messages.append(
            Message(
                id=message_id,
                conversation_id=7,
                parent_id=draw(st.none() | st.sampled_from(ids[:at])) if at else None,
                role=role,
                content=draw(TEXT),
                status=draw(st.sampled_from(["complete", "interrupted", "error"]))
                if role == "assistant"
                else "complete",
                created_at=draw(TIMES),
                reply=draw(RECORDS) if role == "assistant" else None,
                context=draw(st.sampled_from(get_args(ContextMark))),
                summary=draw(TEXT),
            )
        )
    conversation = Conversation(
        id=7,
        title=draw(TEXT).strip() and "A talk",
        created_at=draw(TIMES),
        updated_at=draw(TIMES),
        model=draw(TEXT),
        system_prompt=draw(TEXT),
        sampling=draw(st.none() | SAMPLING),
        head_id=draw(st.sampled_from(ids)),
        message_count=count,
        is_pinned=draw(st.booleans()),
        is_archived=draw(st.booleans()),
        tags=draw(st.sampled_from([(), ("work",), ("work/plans", "日本")])),
    )
    return ConversationFile(conversation=conversation, messages=tuple(messages))


def write(file: ConversationFile, path: Path) -> Path:
    path.write_text(export_json(file.conversation, file.messages), encoding="utf-8")
    return path


def exported(database: Path) -> list[ConversationFile]:
    """Every conversation, as its JSON export reads, in the order of their ids."""
    store = open_store(database)
    try:
        conversations = sorted(store.conversations(limit=1000), key=lambda each: each.id)
        texts = [export_json(each, store.tree(each.id)) for each in conversations]
    finally:
        store.close()
    return [msgspec.json.decode(text, type=ConversationFile) for text in texts]


def run(database: Path, *files: Path, is_dry_run: bool = False) -> ImportReport:
    return import_files(database, files, _ignore, is_dry_run=is_dry_run)


def _ignore(progress: LoadProgress) -> None:
    pass


def numbered(file: ConversationFile) -> dict[str, Any]:
    """The file with ids that begin at 1, and without places among siblings, which follow from the parents."""
    places = {message.id: place for place, message in enumerate(file.messages, start=1)}
    messages = [
        msgspec.structs.replace(
            each,
            id=places[each.id],
            conversation_id=1,
            parent_id=places.get(each.parent_id or 0),
            sibling_index=0,
            sibling_count=1,
        )
        for each in file.messages
    ]
    conversation = msgspec.structs.replace(
        file.conversation, id=1, head_id=places.get(file.conversation.head_id or 0)
    )
    return {"conversation": conversation, "messages": messages}
