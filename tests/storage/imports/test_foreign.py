"""Conversations of other programs come in with their branches, and only once."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.size import sized
from tests.storage.imports.conversations import exported, run
from tests.storage.imports.foreign import (
    BEGAN,
    FORMATS,
    OLD_LLM,
    Turn,
    chatgpt,
    claude,
    last_path,
    llm_logs,
    lm_studio,
    messages,
    open_webui,
    paths,
    trees,
    write_json,
)
from ttchat_tui.storage.export import ConversationFile, export_jsonl
from ttchat_tui.storage.export_markdown import export_markdown

TREE = Turn("How?", Turn("First."), Turn("Second.", Turn("Why?", Turn("So."))), Turn("Third."))


def branches(file: ConversationFile) -> list[tuple[str, ...]]:
    """The texts from the first message to each last one, sorted."""
    by_id = {each.id: each for each in file.messages}
    parents = {each.parent_id for each in file.messages}
    found: list[tuple[str, ...]] = []
    for message in file.messages:
        if message.id not in parents:
            path = [message]
            while path[0].parent_id is not None:
                path.insert(0, by_id[path[0].parent_id])
            found.append(tuple(each.content for each in path))
    return sorted(found)


def imported(folder: Path, value: Any, name: str = "export.json") -> ConversationFile:
    report = run(folder / "store.db", write_json(value, folder / name))
    assert (report.added, report.problems) == (1, ()), report.problems
    return exported(folder / "store.db")[-1]


@pytest.mark.parametrize("program", FORMATS)
@settings(max_examples=sized(8, 800), deadline=None)
@given(tree=trees())
def test_every_branch_comes_in_and_only_once(program: str, tree: Turn) -> None:
    write, kept = FORMATS[program]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        value = write(tree) if program == "messages" else [write(tree)]
        file = imported(folder, value)
        assert branches(file) == sorted(paths(kept(tree)))
        assert run(folder / "store.db", folder / "export.json").unchanged == 1
        assert exported(folder / "store.db") == [file]


@settings(max_examples=sized(8, 800), deadline=None)
@given(tree=trees())
def test_every_branch_of_llm_comes_in_and_only_once(tree: Turn) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = llm_logs(tree, Path(name) / "logs.db")
        assert run(Path(name) / "store.db", path).added == 1
        (file,) = exported(Path(name) / "store.db")
        assert branches(file) == sorted(paths(tree))
        assert run(Path(name) / "store.db", path).unchanged == 1


@pytest.mark.parametrize("program", FORMATS)
def test_title_times_models_and_the_branch_on_screen_are_kept(tmp_path: Path, program: str) -> None:
    write, _ = FORMATS[program]
    file = imported(tmp_path, write(TREE))
    shown = [each.content for each in file.messages if each.id == file.conversation.head_id]
    assert shown == ["Third." if program in ("LM Studio", "messages") else "So."]
    reply = next(each.reply for each in file.messages if each.role == "assistant")
    assert reply is not None
    assert (reply.sampling, reply.seed) == (None, None)  # unknown, not our defaults
    document = export_markdown(file.conversation, file.messages)
    assert all(word not in document for word in ("sampling", "temperature", "seed", "**"))
    if program == "messages":
        assert (file.conversation.title, reply.model) == ("How?", "")
        return
    assert file.conversation.title == "A talk"
    assert int(file.conversation.created_at) == BEGAN
    assert int(file.conversation.updated_at) == BEGAN + 99
    models = {"ChatGPT": "gpt-4o", "Claude": "", "Open WebUI": "llama3:8b", "LM Studio": "qwen2.5-7b"}
    assert (reply.model, reply.engine) == (models[program], program)


@pytest.mark.parametrize(
    "names", [("conversations.json",), ("conversations-000.json", "conversations-001.json")]
)
def test_a_zip_is_read_without_unpacking_it(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            made = {**chatgpt(Turn(f"Q{number}", Turn("A"))), "create_time": BEGAN + number}
            archive.writestr(f"folder/{name}", json.dumps([made]))
        archive.writestr("user.json", '{"email": "me"}')
        archive.writestr("shared_conversations.json", '[{"id": "x"}]')
        archive.writestr("chat.html", "<html>")
    report = run(tmp_path / "store.db", path)
    assert (report.added, report.skipped) == (len(names), 0)
    assert report.notes == ("Not read in export.zip: user.json, shared_conversations.json, chat.html.",)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["export.zip", "store.db"]


def test_a_later_export_brings_only_what_is_new(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    run(database, write_json([chatgpt(TREE)], tmp_path / "may.json"))
    later = Turn(
        "How?", Turn("First."), Turn("Second.", Turn("Why?", Turn("So.", Turn("Aha!")))), Turn("Third.")
    )
    report = run(database, write_json([chatgpt(later)], tmp_path / "june.json"))
    assert (report.added, report.extended, report.messages) == (0, 1, 1)
    (file,) = exported(database)
    assert branches(file) == sorted(paths(later))
    assert [each.content for each in file.messages if each.id == file.conversation.head_id] == ["Aha!"]


def test_conversations_of_one_second_are_told_apart_by_their_first_message(tmp_path: Path) -> None:
    made = [chatgpt(Turn("One?", Turn("1"))), chatgpt(Turn("Two?", Turn("2")))]
    assert run(tmp_path / "store.db", write_json(made, tmp_path / "both.json")).added == 2


def test_lines_without_times_are_told_apart_by_their_whole_text(tmp_path: Path) -> None:
    lines = [messages(Turn("How?", Turn("So."))), messages(Turn("How?", Turn("Not so.")))]
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join(map(json.dumps, [*lines, lines[0]])) + "\n\n")
    report = run(tmp_path / "store.db", path)
    assert (report.added, report.unchanged) == (2, 1)


def test_a_chain_of_tools_and_thoughts_is_one_reply(tmp_path: Path) -> None:
    made = chatgpt(Turn("Add 1 and 2.", Turn("x", Turn("y", Turn("It is 3.", Turn("Thanks."))))))
    nodes = made["mapping"]
    nodes["node-1"]["message"]["content"] = {
        "content_type": "thoughts",
        "thoughts": [{"summary": "Adding", "content": "Python can add."}],
    }
    nodes["node-2"]["message"] |= {
        "author": {"role": "assistant"},
        "content": {"content_type": "code", "language": "python", "text": "print(1 + 2)\n```"},
        "recipient": "python",
    }
    nodes["node-3"]["message"]["content"]["parts"] = [
        "It is 3 \ue200cite\ue202turn0\ue201.",
        {"content_type": "image_asset_pointer"},
    ]
    nodes["node-4"]["message"]["author"]["role"] = "user"
    file = imported(tmp_path, [made])
    assert [(each.role, each.content) for each in file.messages] == [
        ("user", "Add 1 and 2."),
        (
            "assistant",
            "<think>\nAdding\n\nPython can add.\n</think>\n\n````python\nprint(1 + 2)\n```\n````\n\nIt is 3 .\n\n*[image]*",
        ),
        ("user", "Thanks."),
    ]


def test_thoughts_tools_and_attachments_of_claude_are_kept(tmp_path: Path) -> None:
    made = claude(Turn("Look.", Turn("Done.")))
    made["chat_messages"][0]["attachments"] = [{"file_name": "a.txt", "extracted_content": "inside"}]
    made["chat_messages"][1]["content"] = [
        {"type": "thinking", "thinking": "Hm."},
        {
            "type": "tool_use",
            "name": "artifacts",
            "input": {"title": "Clock", "language": "python", "content": "tick()"},
        },
        {"type": "tool_result", "content": [{"type": "text", "text": "OK"}]},
        {"type": "text", "text": "Done."},
    ]
    file = imported(tmp_path, [made])
    assert [each.content for each in file.messages] == [
        "Look.\n\nAttached file a.txt:\n```\ninside\n```",
        "<think>\nHm.\n</think>\n\n*Clock*\n\n```python\ntick()\n```\n\n```\nOK\n```\n\nDone.",
    ]


def test_a_reasoning_block_of_open_webui_becomes_a_thought(tmp_path: Path) -> None:
    made = open_webui(Turn("How?", Turn("x")))
    made["chat"]["history"]["messages"]["node-1"]["content"] = (
        '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n'
        "&gt; Is 1 &lt; 2?\n> Yes.\n</details>\nIt is."
    )
    file = imported(tmp_path, [made])
    assert file.messages[1].content == "<think>\nIs 1 < 2?\nYes.\n</think>\n\nIt is."


def test_an_old_chat_of_open_webui_has_only_a_list(tmp_path: Path) -> None:
    made = open_webui(TREE)
    made["chat"] |= {
        "history": None,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "model": "m"}],
    }
    file = imported(tmp_path, [made])
    assert branches(file) == [("Hi", "Ho")]
    assert file.conversation.system_prompt == "Be brief."


def test_a_thought_of_lm_studio_is_kept_as_one(tmp_path: Path) -> None:
    made = lm_studio(Turn("How?", Turn("So.")))
    steps = made["messages"][1]["versions"][0]["steps"]
    steps.insert(
        0,
        {"type": "contentBlock", "style": {"type": "thinking"}, "content": [{"type": "text", "text": "Hm."}]},
    )
    del made["systemPrompt"]
    made["perChatPredictionConfig"] = {
        "fields": [{"key": "llm.prediction.systemPrompt", "value": "Be brief."}]
    }
    file = imported(tmp_path, made)
    assert branches(file) == [("How?", "<think>\nHm.\n</think>\n\nSo.")]
    assert file.conversation.system_prompt == "Be brief."


def test_system_prompt_tools_and_parts_of_the_messages_format_are_kept(tmp_path: Path) -> None:
    made = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "look"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "a cat"},
            {"role": "assistant", "reasoning_content": "Meow.", "content": "A cat."},
        ]
    }
    file = imported(tmp_path, made, "one.jsonl")
    assert file.conversation.system_prompt == "Be brief."
    assert branches(file) == [
        (
            "What?",
            '```json\n{\n  "name": "look"\n}\n```\n\n```\na cat\n```\n\n<think>\nMeow.\n</think>\n\nA cat.',
        )
    ]


def test_our_own_lines_come_in_and_are_not_doubled(tmp_path: Path) -> None:
    """The JSONL export has no times."""
    file = imported(tmp_path, [chatgpt(last_path(TREE))])
    lines = tmp_path / "lines.jsonl"
    lines.write_text(export_jsonl(file.conversation, file.messages))
    assert run(tmp_path / "store.db", lines).unchanged == 1
    assert run(tmp_path / "other.db", lines).added == 1


def llm_old(path: Path) -> Path:
    """A database of llm before 0.32, with fragments."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_LLM)
        connection.execute("INSERT INTO conversations VALUES ('c1', 'A talk', 'gpt-4o')")
        for number, conversation in enumerate(["c1", "c1", None]):
            connection.execute(
                "INSERT INTO responses (id, model, prompt, system, response, conversation_id, datetime_utc)"
                " VALUES (?, 'gpt-4o', ?, 'Be brief.', ?, ?, ?)",
                (f"r{number}", f"Q{number}", f"A{number}", conversation, f"2024-01-01T00:00:0{number}"),
            )
        connection.commit()
    return path


def test_logs_of_an_old_llm_are_read(tmp_path: Path) -> None:
    report = run(tmp_path / "store.db", llm_old(tmp_path / "logs.db"))
    assert (report.added, report.messages) == (2, 6)
    talk, alone = exported(tmp_path / "store.db")
    assert branches(talk) == [("Q0", "A0", "Q1", "A1")]
    assert branches(alone) == [("Q2", "A2")]
    assert (talk.conversation.title, talk.conversation.system_prompt) == ("A talk", "Be brief.")


def test_a_turn_that_llm_wrote_in_both_ways_is_read_once(tmp_path: Path) -> None:
    """llm 0.32 did for a while."""
    path = llm_logs(Turn("How?", Turn("So.")), tmp_path / "logs.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO responses (id, model, prompt, response, datetime_utc) SELECT id, model, 'How?', 'So.', datetime_utc FROM turns"
        )
        connection.commit()
    assert run(tmp_path / "store.db", path).added == 1
