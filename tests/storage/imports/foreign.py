"""A conversation as other programs export it. Each writer follows a real export of that program."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.storage.imports.conversations import TEXT

BEGAN = 1_700_000_000


class Turn:
    """A message of a tree, and those below it."""

    def __init__(self, text: str, *below: Turn) -> None:
        self.text = text
        self.below = list(below)


def walk(tree: Turn) -> Iterator[tuple[str, str | None, int, Turn]]:
    """The name of each turn, that of its parent, its depth (even: the user's), and the turn."""
    left: list[tuple[str | None, int, Turn]] = [(None, 0, tree)]
    for number in itertools.count():
        if not left:
            return
        above, depth, turn = left.pop(0)
        yield f"node-{number}", above, depth, turn
        left += [(f"node-{number}", depth + 1, each) for each in turn.below]


def paths(turn: Turn) -> list[tuple[str, ...]]:
    """The texts from the first message to each last one, in the order of siblings."""
    if not turn.below:
        return [(turn.text,)]
    return [(turn.text, *rest) for below in turn.below for rest in paths(below)]


WORDS = TEXT.filter(lambda text: text.strip() and "<" not in text)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Turn:
    """Alternating turns."""
    count = draw(st.integers(0, 2)) if depth else 0
    return Turn(draw(WORDS), *(draw(trees(depth - 1)) for _ in range(count)))


def _role(depth: int) -> str:
    return "assistant" if depth % 2 else "user"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat().replace("+00:00", "Z")


def chatgpt(tree: Turn) -> dict[str, Any]:
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    hidden = {
        "author": {"role": "system"},
        "content": {"content_type": "text", "parts": ["secret"]},
        "metadata": {},
    }
    mapping["hidden"] = {"id": "hidden", "message": hidden, "parent": "root", "children": []}
    mapping["root"]["children"].append("hidden")
    last = "root"
    for name, parent, depth, turn in walk(tree):
        mapping[name] = {
            "id": name,
            "parent": parent or "hidden",
            "children": [],
            "message": {
                "id": name,
                "author": {"role": _role(depth), "name": None, "metadata": {}},
                "create_time": BEGAN + depth + 0.25,
                "content": {"content_type": "text", "parts": [turn.text]},
                "status": "finished_successfully",
                "weight": 1.0,
                "recipient": "all",
                "metadata": {"model_slug": "gpt-4o"} if depth % 2 else {"citations": []},
            },
        }
        mapping[parent or "hidden"]["children"].append(name)
        last = name
    shuffled = dict(sorted(mapping.items(), key=lambda item: item[0][::-1], reverse=True))
    return {
        "title": "A talk",
        "create_time": BEGAN + 0.5,
        "update_time": BEGAN + 99.5,
        "mapping": shuffled,
        "moderation_results": [],
        "current_node": last,
        "default_model_slug": "gpt-4o",
        "id": "c1",
    }


def claude(tree: Turn) -> dict[str, Any]:
    messages = [
        {
            "uuid": name,
            "text": turn.text,
            "content": [{"type": "text", "text": turn.text, "citations": []}],
            "sender": "assistant" if depth % 2 else "human",
            "created_at": _iso(BEGAN + depth),
            "updated_at": _iso(BEGAN + depth),
            "attachments": [],
            "files": [],
            "parent_message_uuid": parent or "00000000-0000-4000-8000-000000000000",
        }
        for name, parent, depth, turn in walk(tree)
    ]
    return {
        "uuid": "c1",
        "name": "A talk",
        "summary": "",
        "created_at": _iso(BEGAN),
        "updated_at": _iso(BEGAN + 99),
        "account": {"uuid": "me"},
        "chat_messages": messages,
    }


def open_webui(tree: Turn) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for name, parent, depth, turn in walk(tree):
        messages[name] = {
            "id": name,
            "parentId": parent,
            "childrenIds": [],
            "role": _role(depth),
            "content": turn.text,
            "timestamp": BEGAN + depth,
            **({"model": "llama3:8b", "done": True} if depth % 2 else {"models": ["llama3:8b"]}),
        }
        if parent is not None:
            messages[parent]["childrenIds"].append(name)
    return {
        "id": "c1",
        "user_id": "me",
        "title": "A talk",
        "chat": {
            "id": "",
            "title": "A talk",
            "models": ["llama3:8b"],
            "params": {},
            "history": {"messages": messages, "currentId": list(messages)[-1]},
            "messages": [],
            "tags": [],
            "timestamp": BEGAN * 1000,
        },
        "created_at": BEGAN,
        "updated_at": BEGAN + 99,
        "archived": False,
    }


def lm_studio(tree: Turn) -> dict[str, Any]:
    """Only the last sibling goes on: the others lose what is below them."""
    places: list[Any] = []
    row = [tree]
    while row:
        is_reply = len(places) % 2 == 1
        places.append(
            {
                "versions": [_lm_studio_version(each.text, is_reply=is_reply) for each in row],
                "currentlySelected": len(row) - 1,
            }
        )
        row = row[-1].below
    return {
        "name": "A talk",
        "pinned": False,
        "createdAt": BEGAN * 1000,
        "tokenCount": 9,
        "systemPrompt": "",
        "messages": places,
        "assistantLastMessagedAt": (BEGAN + 99) * 1000,
    }


def _lm_studio_version(text: str, *, is_reply: bool) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    if not is_reply:
        return {"type": "singleStep", "role": "user", "content": content}
    step = {
        "type": "contentBlock",
        "stepIdentifier": "1-0.5",
        "content": content,
        "shouldIncludeInContext": True,
        "genInfo": {"indexedModelIdentifier": "qwen2.5-7b", "stats": {"stopReason": "eosFound"}},
    }
    debug = {
        "type": "debugInfoBlock",
        "stepIdentifier": "1-0.6",
        "debugInfo": "Conversation naming technique: 'prompt'",
    }
    sender = {"senderName": "qwen2.5-7b"}
    return {"type": "multiStep", "role": "assistant", "senderInfo": sender, "steps": [step, debug]}


def last_siblings(tree: Turn) -> Turn:
    """What LM Studio can hold of a tree."""
    below = [Turn(each.text) for each in tree.below[:-1]]
    return Turn(tree.text, *below, *(last_siblings(each) for each in tree.below[-1:]))


def messages(tree: Turn) -> dict[str, Any]:
    return {
        "messages": [{"role": _role(depth), "content": text} for depth, text in enumerate(paths(tree)[-1])]
    }


def last_path(tree: Turn) -> Turn:
    """What the messages format can hold of a tree."""
    return Turn(tree.text, *(last_path(each) for each in tree.below[-1:]))


FORMATS: dict[str, tuple[Callable[[Turn], dict[str, Any]], Callable[[Turn], Turn]]] = {
    "ChatGPT": (chatgpt, lambda tree: tree),
    "Claude": (claude, lambda tree: tree),
    "Open WebUI": (open_webui, lambda tree: tree),
    "LM Studio": (lm_studio, last_siblings),
    "messages": (messages, last_path),
}
"""What writes a tree, and what the format can hold of it."""

OLD_LLM = """
    CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
    CREATE TABLE responses (
        id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, options_json TEXT, response TEXT,
        response_json TEXT, conversation_id TEXT, duration_ms INTEGER, datetime_utc TEXT
    );
"""
NEW_LLM = """
    CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, datetime_utc TEXT, source TEXT);
    CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
    CREATE TABLE parts (
        id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT, text TEXT, payload TEXT
    );
    CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
    CREATE TABLE turns (
        id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT, datetime_utc TEXT
    );
"""


def llm_logs(tree: Turn, path: Path) -> Path:
    """The schema of llm 0.36, with the columns that matter."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_LLM + NEW_LLM)
        tip = ""
        for name, parent, depth, turn in walk(tree):
            connection.execute("INSERT INTO messages VALUES (?, ?, ?, NULL)", (name, parent, _role(depth)))
            connection.execute(
                "INSERT INTO parts (message_hash, position, type, text) VALUES (?, 0, 'text', ?)",
                (name, turn.text),
            )
            if not turn.below:
                tip = name
                at = f"2026-01-01T00:00:{depth:02}.123456+00:00"
                connection.execute(
                    "INSERT INTO turns VALUES (?, 't1', ?, ?, 'gpt-4o', ?)", (name, parent, name, at)
                )
        connection.execute(
            "INSERT INTO threads VALUES ('t1', 'A talk', ?, NULL, '2026-01-01 00:00:00+00:00')", (tip,)
        )
        connection.commit()
    return path


def write_json(value: Any, path: Path) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
