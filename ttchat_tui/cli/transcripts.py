"""`ttchat-tui export`: conversations as files, without the screen."""

from __future__ import annotations

import os
from contextlib import closing
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from ttchat_tui.cli.errors import ENGINE_ERROR, USAGE_ERROR, show_error
from ttchat_tui.cli.standard_output import write_json
from ttchat_tui.cli.tables import write_tabbed
from ttchat_tui.cli.wanted_export import STDOUT, Wanted
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.conversation import Conversation
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.export import ENDINGS
from ttchat_tui.storage.export_words import local_time
from ttchat_tui.storage.opening import about_the_file, open_store

NOTHING_YET: Final = ErrorInfo(kind="not_found", message="There is no conversation yet.")


class Format(str, Enum):
    """The formats, and file suffixes that name one of them otherwise."""

    markdown = "markdown"
    json = "json"
    jsonl = "jsonl"
    html = "html"
    text = "text"
    timeline = "timeline"
    csv = "csv"
    md = "md"
    txt = "txt"
    trace = "trace"


_Target: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--to", "-o", help="A file or a folder: an existing one, or DIR/. With --all a folder; - is stdout."
    ),
]
_FileFormat: TypeAlias = Annotated[
    Format | None, typer.Option("--format", "-f", help="Without it the file suffix decides, else Markdown.")
]
_Position: TypeAlias = Annotated[
    int | None, typer.Option("--message", min=1, help="Only this message of those shown: 1 is the first.")
]
_Block: TypeAlias = Annotated[
    int | None, typer.Option("--code", min=1, help="Only this code block of --message, or of the last reply.")
]

_Trace: TypeAlias = Annotated[
    bool, typer.Option("--trace", help="JSON with the probabilities and alternatives of every token.")
]


_Output: TypeAlias = Annotated[
    Literal["text", "json"], typer.Option("--output", help="With --list: what goes to stdout.")
]


def export(
    context: typer.Context,
    conversation: Annotated[
        int | None, typer.Argument(help="Number of a conversation; the latest without it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every conversation, one file each.")] = False,
    list_only: Annotated[
        bool, typer.Option("--list", help="Only list the conversations and their numbers.")
    ] = False,
    file_format: _FileFormat = None,
    target: _Target = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace existing files; without it a new one gets a number.")
    ] = False,
    branches: Annotated[bool, typer.Option("--branches", help="JSONL with a line for every branch.")] = False,
    message: _Position = None,
    code: _Block = None,
    thoughts: Annotated[
        bool, typer.Option("--thoughts/--no-thoughts", help="With or without the model's thoughts.")
    ] = True,
    trace: _Trace = False,
    output: _Output = "text",
) -> None:
    """Save transcripts as Markdown, JSON, JSONL, HTML or text, or where the time of the replies went as a Chrome trace (--format timeline, for ui.perfetto.dev) or CSV. Prints the path of each file.

    JSONL is in the messages format. JSON has the whole tree, every version of every reply; the others have the conversation as shown on screen.
    """
    single = {"--message": message, "--code": code}
    if every and conversation is not None:
        raise typer.BadParameter("it cannot be combined with a number", param_hint="--all")
    if branches and (file_format or Format.jsonl) is not Format.jsonl:
        raise typer.BadParameter("it is for --format jsonl", param_hint="--branches")
    _refuse("--all", every, single)
    _refuse("--branches", branches, single)
    _refuse("--format", file_format is not None, {"--code": code})
    if trace and (branches or (file_format or Format.json) is not Format.json):
        raise typer.BadParameter("it is for --format json", param_hint="--trace")
    _refuse("--trace", trace, {"--code": code})
    _refuse_beside_list(list_only, output, file_format)
    paths = find_paths(os.environ)
    config = load_config(paths, environ=os.environ, file=context.obj)
    folder = target or config.storage.exports_dir or str(paths.exports_dir)
    wanted = Wanted(
        place=f"{folder}/" if target is None or (every and target != STDOUT) else target,
        is_place_given=target is not None,
        format=_format_of(file_format, branches, trace),
        has_branches=branches,
        message=message,
        code=code,
        has_thoughts=thoughts,
        has_recordings=trace,
        is_forced=force,
    )
    with closing(open_store(paths.database)) as store:
        _require_readable(store)
        if list_only:
            _write_list(store, output)
            return
        for each in _chosen(store, conversation, every):
            wanted.export(store, each)


def _format_of(given: Format | None, has_branches: bool, has_recordings: bool) -> str | None:
    """None: the suffix decides."""
    if has_branches or has_recordings:
        return "jsonl" if has_branches else "json"
    return ENDINGS.get(f".{given.value}", given.value) if given is not None else None


def _write_list(store: ConversationStore, output: str) -> None:
    conversations = store.conversations(limit=10**9)
    if output == "json":
        write_json([_as_json(each) for each in conversations])
        return
    if not conversations:
        show_error(NOTHING_YET)
        return
    rows = (
        (str(each.id), local_time(each.updated_at), str(each.message_count), each.title)
        for each in conversations
    )
    write_tabbed(("number", "updated", "messages", "title"), rows)


def _as_json(conversation: Conversation) -> dict[str, Any]:
    """With the names of `-p --output json` and of exports."""
    return {
        "conversation_id": conversation.id,
        "title": conversation.title,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "model": conversation.model,
        "message_count": conversation.message_count,
    }


def _refuse_beside_list(list_only: bool, output: str, file_format: Format | None) -> None:
    """`--output` is the listing's format, and `--format` a file's."""
    if output == "json" and not list_only:
        raise typer.BadParameter(
            "it is for --list; --format json writes a conversation", param_hint="--output"
        )
    if list_only and file_format is not None:
        raise typer.BadParameter("with --list it is --output text or json", param_hint="--format")


def _refuse(flag: str, is_given: bool, single: dict[str, int | None]) -> None:
    """`flag` would have no effect beside one of `single`."""
    for name, value in single.items():
        if is_given and value is not None:
            raise typer.BadParameter(f"it cannot be combined with {flag}", param_hint=name)


def _require_readable(store: ConversationStore) -> None:
    """Report what is wrong with the file; end the program if it could not be read."""
    if store.notice is not None:
        show_error(about_the_file(store.notice))
        if store.mode == "memory":  # the file could not be read
            raise typer.Exit(ENGINE_ERROR)
    store.recover()


def _chosen(store: ConversationStore, number: int | None, every: bool) -> list[Conversation]:
    if number is None:
        if found := store.conversations(limit=10**9 if every else 1):
            return found
        show_error(NOTHING_YET)
        raise typer.Exit(ENGINE_ERROR)
    try:
        return [store.conversation(number)]
    except StorageError as error:
        if error.info.kind != "not_found":
            raise
        show_error(
            ErrorInfo(
                kind="not_found",
                message=f"There is no conversation {number}.",
                cure="`ttchat-tui export --list` shows the numbers.",
            )
        )
        raise typer.Exit(USAGE_ERROR) from error
