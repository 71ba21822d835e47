"""Import and export of all invented conversations: our JSON, ChatGPT's zip, Markdown; and what simonw/llm can do of that."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.storage.export import export_json, render
from ttchat_tui.storage.imports.importing import import_files
from ttchat_tui.storage.opening import open_store


def _cost(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - cpu


def _node(message: Message, children: Sequence[int]) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "parent": str(message.parent_id) if message.parent_id else None,
        "children": [str(each) for each in children],
        "message": {
            "author": {"role": message.role},
            "create_time": message.created_at,
            "content": {"content_type": "text", "parts": [message.content]},
        },
    }


def _as_chatgpt(conversation: Conversation, tree: Sequence[Message]) -> str:
    children: dict[int, list[int]] = {}
    for message in tree:
        children.setdefault(message.parent_id or 0, []).append(message.id)
    return json.dumps(
        {
            "conversation_id": str(conversation.id),
            "title": conversation.title,
            "create_time": conversation.created_at,
            "update_time": conversation.updated_at,
            "current_node": str(conversation.head_id),
            "mapping": {str(each.id): _node(each, children.get(each.id, [])) for each in tree},
        }
    )


def figures(path: Path) -> dict[str, float]:
    """Everything is written out as Markdown and as JSON, and read into a new database from our JSON and from a zip like
    ChatGPT's. In s, MB and conversations."""
    found: dict[str, float] = {}
    with closing(open_store(path)) as store:
        conversations = store.conversations(limit=1_000_000)
        read: list[tuple[Conversation, list[Message], list[Message]]] = []

        def read_all() -> None:
            for each in conversations:
                read.append((each, list(store.shown_path(each)), store.tree(each.id)))

        found["read_all_s"], found["read_all_cpu_s"] = _cost(read_all)
    texts: list[str] = []
    for format in ("markdown", "json"):
        texts.clear()

        def write_all(format: str = format) -> None:
            for conversation, shown, tree in read:
                texts.append(
                    export_json(conversation, tree)
                    if format == "json"
                    else render(format, conversation, shown)
                )

        found[f"export_{format}_s"], found[f"export_{format}_cpu_s"] = _cost(write_all)
        found[f"export_{format}_mb"] = sum(map(len, texts)) / 1e6
    own, zipped = path.with_name("own.json"), path.with_name("chatgpt.zip")
    own.write_text(f"[{','.join(texts)}]")
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        entries = ",\n".join(_as_chatgpt(conversation, tree) for conversation, _, tree in read)
        archive.writestr("conversations.json", f"[{entries}]")
    read.clear()
    for name, file in (("own_json", own), ("chatgpt_zip", zipped)):
        target = path.with_name(f"{name}.db")
        open_store(target).close()
        report = None

        def load(file: Path = file, target: Path = target) -> None:
            nonlocal report
            report = import_files(target, [file], lambda _: None)

        found[f"import_{name}_s"], found[f"import_{name}_cpu_s"] = _cost(load)
        assert report is not None
        with closing(open_store(target)) as store:
            found[f"import_{name}_conversations"] = len(store.listed())
    found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


def llm_export(python: str, database: Path) -> dict[str, float]:
    """simonw/llm writes all turns of its logs.db as Markdown and as JSON. It has no import."""
    found: dict[str, float] = {}
    for format, flags in (("markdown", []), ("json", ["--json"])):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run = subprocess.run(
            [python, "-m", "llm", "logs", "list", "-n", "0", "-d", str(database), *flags],
            capture_output=True,
            env={**os.environ, "LLM_USER_PATH": str(database.parent)},
            check=False,
        )
        if run.returncode:
            raise SystemExit(f"simonw/llm failed: {run.stderr.decode()}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found[f"export_{format}_s"] = time.perf_counter() - start
        found[f"export_{format}_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found[f"export_{format}_mb"] = len(run.stdout) / 1e6
    return found
