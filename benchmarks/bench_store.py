"""The store and the search with years of conversations: 10,000 of them, 100,000 messages, 2,000 siblings.

Opening, listing, the list in memory with its filter, filtering titles, opening a conversation, switching a branch, building
the search index, a keystroke in the search, import and export of everything; and in the app, the tree of a conversation of
10,000 messages and a switch of its branch. With `--llm PYTHON`, an interpreter that has simonw/llm, the same messages are
searched in its logs.db and exported from it too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import long_tree, store_transfer
from benchmarks.foreign_load import ForeignLoad
from benchmarks.report import finish
from benchmarks.synthetic_chats import Vocabulary, fill
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import SearchIndex, index_file
from ttchat_tui.storage.search.query import parse_query
from ttchat_tui.ui.widgets.history.groups import matching, rows_of

TARGET_MS: Final = 50
QUERIES: Final = 60


def queries(vocabulary: Vocabulary, chance: random.Random) -> list[str]:
    """What a person types: frequent, middling and rare words, two words, parts of names, Chinese, operators."""
    frequent, middling, rare = vocabulary.words[:60], vocabulary.words[60:3000], vocabulary.words[3000:]
    names = [word[4:] for word in vocabulary.words if word.startswith("get")]
    made: list[str] = []
    for _ in range(QUERIES // 6):
        made += [
            chance.choice(frequent),
            chance.choice(middling),
            chance.choice(rare),
            f"{chance.choice(frequent)} {chance.choice(middling)}",
            chance.choice(names),
            f"model:llama {chance.choice(frequent)}",
        ]
    return [*made, "的", "中国", "学法", "人民"]


def keystrokes(query: str) -> list[str]:
    """The query as it grows, key by key."""
    return [query[:end] for end in range(1, len(query) + 1)]


def timed(action: Callable[[], Any], rounds: int = 5) -> float:
    """Median wall time, ms."""
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def store_figures(path: Path) -> dict[str, float]:
    figures = {"open_ms": timed(lambda: open_store(path).close())}
    store = open_store(path)
    listed = store.conversations(limit=10_000)
    figures["conversations"] = len(listed)
    figures["list_all_ms"] = timed(lambda: store.conversations(limit=10_000))
    began = time.perf_counter()
    listed_all = store.listed()
    figures["list_first_ms"] = (time.perf_counter() - began) * 1e3

    def change() -> None:
        store.set_pinned([listed_all[5000 % len(listed_all)].id], True)
        store.listed()

    figures["list_after_a_change_ms"] = timed(change)
    figures["list_filter_key_ms"] = timed(lambda: rows_of(matching(listed_all, "an tag:"), time.time()))
    figures["list_200_ms"] = timed(lambda: store.conversations(limit=200))
    figures["filter_titles_ms"] = timed(lambda: store.conversations(filter=listed[5].title[:6]))
    figures["open_conversation_ms"] = timed(lambda: list(store.shown_path(listed[5])))
    middle = store.tree(listed[5].id)[2]

    def switch() -> None:
        leaf = store.leaf_of(middle.id)
        list(store.path(leaf.id))
        store.set_head(leaf.conversation_id, leaf.id)

    figures["switch_branch_ms"] = timed(switch)
    store.close()
    figures["database_mb"] = path.stat().st_size / 1e6
    return figures


def search_figures(path: Path, asked: list[str]) -> dict[str, float]:
    start, cpu = time.perf_counter(), time.process_time()
    index = SearchIndex(path, index_file(path))
    longest = 0.0
    while index.is_behind:
        began = time.perf_counter()
        index.advance()
        longest = max(longest, time.perf_counter() - began)
    figures = {
        "build_s": time.perf_counter() - start,
        "build_cpu_s": time.process_time() - cpu,
        "longest_batch_ms": longest * 1e3,
    }
    index.connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")
    figures["index_mb"] = index_file(path).stat().st_size / 1e6
    walls: list[float] = []
    cpus: list[tuple[float, str]] = []
    for query in asked:
        for typed in keystrokes(query):
            began, cpu = time.perf_counter(), time.thread_time()
            find(index, typed, parse_query(typed))
            walls.append((time.perf_counter() - began) * 1e3)
            cpus.append(((time.thread_time() - cpu) * 1e3, typed))
    index.close()
    print("most CPU:", ", ".join(f"{typed!r} {ms:.0f} ms" for ms, typed in sorted(cpus, reverse=True)[:8]))
    figures["keys"] = len(walls)
    for name, times in (("", walls), ("cpu_", [ms for ms, _ in cpus])):
        figures |= {
            f"{name}p50_ms": percentile(times, 0.5),
            f"{name}p95_ms": percentile(times, 0.95),
            f"{name}max_ms": max(times),
        }
    return figures


LLM: Final = """
import json, os, sqlite3, sys, time
import sqlite_utils
from llm import logs, migrations
source, target, queries = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
db = sqlite_utils.Database(target)
migrations.migrate(db)
start = time.perf_counter()
rows = sqlite3.connect(source).execute(
    "SELECT m.id, m.model, p.content, m.content, m.conversation_id FROM messages m JOIN messages p ON p.id = m.parent_id"
    " WHERE m.role = 'assistant'")
with db.conn:
    db["responses"].insert_all(
        {"id": f"{row[0]:026}", "model": row[1], "prompt": row[2], "response": row[3], "conversation_id": str(row[4]),
         "datetime_utc": "2026-01-01T00:00:00"}
        for row in rows)
build = time.perf_counter() - start
walls, cpus, found = [], [], 0
for query in queries:
    began, cpu = time.perf_counter(), time.thread_time()
    found += len(logs.legacy_log_rows(db, count=100, query=db.quote_fts(query)))
    walls.append((time.perf_counter() - began) * 1e3)
    cpus.append((time.thread_time() - cpu) * 1e3)
assert found
def at(times, share):
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]
db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
print(json.dumps({"turns": db["responses"].count, "build_s": build, "mb": os.stat(target).st_size / 1e6,
    "queries": len(queries), "p50_ms": at(walls, .5), "p95_ms": at(walls, .95), "max_ms": max(walls),
    "cpu_p50_ms": at(cpus, .5), "cpu_p95_ms": at(cpus, .95)}))
"""


def llm_figures(python: str, path: Path, asked: list[str]) -> dict[str, float]:
    """simonw/llm over the same turns (a prompt and its reply are one row there), for whole words: it has no others."""
    whole = [query for query in asked if ":" not in query]
    run = subprocess.run(
        [python, "-c", LLM, str(path), str(path.with_name("llm.db")), json.dumps(whole)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"simonw/llm failed: {run.stderr}")
    return json.loads(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 100,000 messages")
    parser.add_argument("--llm", default="", help="a Python that has simonw/llm installed")
    parser.add_argument("--keep", type=Path, help="keep the databases in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        path = folder / "conversations.db"
        vocabulary = fill(path, options.scale)
        asked = queries(vocabulary, random.Random(2))
        record: dict[str, Any] = {"store": store_figures(path)}
        load = ForeignLoad(set())
        record["search"] = search_figures(path, asked)
        record["search"]["foreign_cores"] = load.share()
        if options.llm:
            record["llm"] = llm_figures(options.llm, path, asked)
        record["transfer"] = store_transfer.figures(path)
        if options.llm:
            record["llm"] |= store_transfer.llm_export(options.llm, path.with_name("llm.db"))
        record["tree"] = asyncio.run(long_tree.measure())
    for part, figures in record.items():
        print(part, {name: round(value, 1) for name, value in figures.items()})
    tree = record["tree"]
    print(
        f"10,000 messages, CPU with drawing: the tree opens in {tree['tree_cpu_ms']:.0f} ms (target < {long_tree.OPEN_MS};"
        f" a dialog of one line: {tree['small_dialog_cpu_ms']:.0f} ms), a switch to a branch of 100 messages"
        f" {tree['switch_to_branch_cpu_ms']:.0f} ms (target < {long_tree.SWITCH_MS}), back to thousands"
        f" {tree['switch_to_trunk_cpu_ms']:.0f} ms"
    )
    p95 = record["search"]["p95_ms"]
    met = "met" if p95 < TARGET_MS else "missed"
    finish(
        "store", record, f"p95 of a keystroke in the search: {p95:.1f} ms (target < {TARGET_MS} ms, {met})"
    )


if __name__ == "__main__":
    main()
