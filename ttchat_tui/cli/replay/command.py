"""`ttchat-tui replay`: the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec import structs

from ttchat_tui.cli import chat
from ttchat_tui.cli.choices import engine_settings, with_engine_flags
from ttchat_tui.cli.errors import ENGINE_ERROR, show_error
from ttchat_tui.cli.invocation import Invocation, bare_invocation
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.cli.replay.comparison import Replay, compare, replay
from ttchat_tui.cli.replay.listing import last_reply_id, write_replies
from ttchat_tui.cli.replay.report import write_report, write_report_json
from ttchat_tui.cli.tables import OutputChoice
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.user_paths import expanded
from ttchat_tui.engine.factory import ENGINES
from ttchat_tui.models.choice import split_kind
from ttchat_tui.models.errors import ModelNameError
from ttchat_tui.session.stored_requests import HOW_TO_FIND, NotReplayable, StoredReply, stored_reply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import about_the_file, open_store


@with_engine_flags
def replay_command(
    context: typer.Context,
    message_id: Annotated[
        str, typer.Argument(metavar="MESSAGE_ID", help="Number of a reply, or last: see --list.")
    ] = "",
    list_only: Annotated[
        bool,
        typer.Option("--list", help="Only list the replies of the latest conversations and their numbers."),
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="The model to load: another one is compared. Without it the reply's own."
        ),
    ] = "",
    output: OutputChoice = "text",
    **_engine_flags: Any,
) -> None:
    """Make a stored reply again: the same prompt, seed and changes of sampling give the same tokens.

    Its own model, engine, precision and KV cache are loaded. A flag for another one lets that follow the reply instead, token by
    token, and compares the two. Exit code 1: the replay is another reply.
    """
    if list_only == bool(message_id):
        raise typer.BadParameter("give the number of a reply, last or --list", param_hint="MESSAGE_ID")
    settings = engine_settings(context.params)
    if list_only and (model or settings):
        raise typer.BadParameter(
            "it loads no model: leave out the flags of models and engines", param_hint="--list"
        )
    invocation = structs.replace(
        bare_invocation(os.environ), config_file=context.obj, paths=find_paths(os.environ)
    )
    with closing(open_store(invocation.paths.database)) as store:
        if store.notice is not None:
            show_error(about_the_file(store.notice))
        if list_only:
            write_replies(store, output)
            return
        reply = _found(store, message_id)
        flags = _settings_of(store, reply)
    options, is_own = _options_of(reply), not model or _is_own(model, reply)
    if is_own and not settings.keys() & {"model.engine", *options}:
        flags |= options
    flags |= settings | ({"model.name": model} if model else {})
    named = {} if model else {"model_flag": f"The model of reply {reply.message.id}"}
    invocation = structs.replace(invocation, flags=flags, **named)
    try:
        info, result, recording = _run(invocation, reply, must_follow=not is_own)
    except ModelNameError as error:
        cure = error.info.cure if model else "If it is somewhere else now, give its place: --model PLACE."
        raise ModelNameError(error.info.message, cure=cure, kind=error.info.kind) from error
    if output == "json":
        write_report_json(info, reply, result, recording)
    else:
        write_report(info, reply, result, recording)
    if result.agreement is None and result.difference is not None:
        raise typer.Exit(ENGINE_ERROR)


_MOST_DIGITS: Final = 100
"""Of a number. Python refuses to read numbers of thousands."""


def _found(store: ConversationStore, message_id: str) -> StoredReply:
    """Raises NotReplayable; StorageError."""
    if message_id == "last":
        return stored_reply(store, last_reply_id(store))
    if not message_id.isdecimal() or len(message_id) > _MOST_DIGITS:
        raise NotReplayable(f"{message_id} is not the number of a reply.", HOW_TO_FIND)
    try:
        return stored_reply(store, int(message_id))
    except StorageError as error:
        if error.info.kind != "not_found":
            raise
        raise NotReplayable(f"There is no message {message_id}.", HOW_TO_FIND) from error


def _options_of(reply: StoredReply) -> dict[str, Any]:
    """The settings of the engine with which it computes as it did when it wrote the reply."""
    kind = reply.record.engine.partition(" ")[0]
    if kind not in ENGINES:
        return {}
    return {f"{kind}.{name}": value for name, value in ENGINES[kind].options_in(reply.record.engine).items()}


def _settings_of(store: ConversationStore, reply: StoredReply) -> dict[str, Any]:
    """The settings that load the model of the reply in its engine."""
    kind = reply.record.engine.partition(" ")[0]
    has_own_names = kind in ENGINES and ENGINES[kind].models == "names"
    name = _recorded_model(reply)
    if not name or (has_own_names and not _names(name, reply)):  # `remote:` is whatever a server lists first
        name = store.conversation(reply.message.conversation_id).model
        name = name if _names(name, reply) else reply.record.model
    return {"model.name": name} | ({"model.engine": kind} if kind in ENGINES else {})


def _recorded_model(reply: StoredReply) -> str:
    """What was loaded for its last request, which its record is of, as an argument of `--model`; empty: not recorded."""
    return reply.recording.prompts[-1].model if reply.recording.prompts else ""


def _names(name: str, reply: StoredReply) -> bool:
    """Whether this argument of `--model` ends in the name that the reply has recorded: `/models/NAME`, `remote:lab/NAME`."""
    model, place = reply.record.model, name.rstrip("/")
    return place == model or place.endswith((f"/{model}", f":{model}"))


def _is_own(name: str, reply: StoredReply) -> bool:
    """Whether this argument of `--model` is the reply's model: it has its name, and is no other file than the recorded one."""
    given, own = _path_of(name), _path_of(_recorded_model(reply))
    is_other_file = given.exists() and own.exists() and not given.samefile(own)
    return _names(os.path.abspath(given) if given.exists() else name, reply) and not is_other_file


def _path_of(name: str) -> Path:
    """Of an argument of `--model`, which need not be a path."""
    return expanded(split_kind(name, ENGINES)[1])


def _run(
    invocation: Invocation, reply: StoredReply, *, must_follow: bool
) -> tuple[EngineInfo, Replay, Recording]:
    """Replay the reply where the engine is the one that wrote it; else compare. Raises EngineError."""
    engine, prepare = chat.engine_alone(invocation)
    progress = ProgressLine()
    try:
        info = engine.load(prepare(progress), progress)
        is_same = (info.model, info.label) == (reply.record.model, reply.record.engine) and not must_follow
        report = _reporter(progress, len(reply.tokens))
        result, recording = replay(engine, reply, report) if is_same else compare(engine, info, reply, report)
        return info, result, recording
    finally:
        progress.close()
        engine.close()


def _reporter(progress: ProgressLine, tokens: int) -> Callable[[int], None]:
    return lambda count: progress.count("replaying", min(count, tokens), tokens)
