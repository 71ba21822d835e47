"""What `ttchat-tui export` was asked for: a conversation, its branches, one message or one code block, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import typer

from ttchat_tui.cli.errors import notify
from ttchat_tui.cli.standard_output import write_document, write_path
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.text import counted
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.export import (
    TIMELINES,
    code_suffix,
    export_messages,
    file_path,
    format_of,
    missing_folder,
    place_for,
    render,
    without_thoughts,
    write_export,
    write_text,
)
from ttchat_tui.ui.markdown.fenced_code import fences

STDOUT: Final = "-"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One command line."""

    place: str
    """A file, a folder, or `STDOUT`."""
    is_place_given: bool
    format: str | None
    """None: the suffix decides."""
    has_branches: bool
    message: int | None
    """Its place among those shown, from 1."""
    code: int | None
    """The place of a code block in its message, from 1."""
    has_thoughts: bool = True
    has_recordings: bool = False
    """JSON with what was recorded of each token."""
    is_forced: bool = False
    """Replace files, but for those of the same run."""
    _written: set[Path] = msgspec.field(default_factory=set[Path])

    def export(self, store: ConversationStore, conversation: Conversation) -> None:
        """Raises StorageError; typer.BadParameter: there is no such message or code block."""
        path = store.shown_path(conversation)
        if self.code is not None:
            self._export_code(conversation, path, self.code)
            return
        file = place_for(self.place, Path(), conversation)
        is_stdout = self.place == STDOUT
        format = self.format or ("markdown" if is_stdout else format_of(file))
        if self.message is None:
            tree = partial(store.tree, conversation.id)
            messages = export_messages(path, tree, format, has_branches=self.has_branches)
        else:
            messages = [_chosen(path, self.message)]
            conversation = msgspec.structs.replace(conversation, system_prompt="")
        if not self.has_thoughts:
            if format in ("json", *TIMELINES):
                what = "JSON has everything" if format == "json" else "a timeline has every token"
                raise typer.BadParameter(f"{what}; choose another format", param_hint="--no-thoughts")
            messages = without_thoughts(messages)
        recordings: dict[int, Recording] = {}
        if self.has_recordings or format in TIMELINES:
            found = ((message.id, store.recordings.of(message.id)) for message in messages)
            recordings = {message_id: each for message_id, each in found if each.tokens}
        if is_stdout:
            write_document(render(format, conversation, messages, recordings))
        else:
            self._name_new_folder(file)
            written = write_export(file, format, conversation, messages, self._may_replace, recordings)
            self._report(file, written)

    def _export_code(self, conversation: Conversation, path: Sequence[Message], number: int) -> None:
        blocks = fences(_chosen(path, self.message).content)
        if number > len(blocks):
            raise typer.BadParameter(
                f"the message has {len(blocks) or 'no'} code block{'s' * (len(blocks) != 1)}",
                param_hint="--code",
            )
        language, code = blocks[number - 1]
        if self.place == STDOUT:
            write_document(f"{code}\n")
            return
        file = place_for(self.place, Path(), conversation)
        self._name_new_folder(file)
        named = file if file.suffix else file.with_name(f"{file.name}{code_suffix(language)}")
        self._report(file, write_text(named, f"{code}\n", self._may_replace))

    def _may_replace(self, file: Path) -> bool:
        return self.is_forced and file not in self._written

    def _report(self, asked: Path, written: Path) -> None:
        """`asked`: without a suffix if the format's was added."""
        self._written.add(written)
        is_named = self.is_place_given and asked == file_path(self.place)
        stem = asked.stem if asked.suffix else asked.name
        if is_named and written.stem != stem:
            notify(
                f"{stem}{written.suffix} exists; it is kept, and this is {written.name}. --force replaces it."
            )
        write_path(written)

    def _name_new_folder(self, file: Path) -> None:
        if self.is_place_given and (made := missing_folder(file)) is not None:
            notify(f"in a new folder: {made}")


def _chosen(path: Sequence[Message], number: int | None) -> Message:
    """The message of that number; without one the last reply."""
    replies = [each for each in path if each.role == "assistant"]
    found = path[number - 1 : number] if number is not None else replies[-1:]
    if not found:
        what = f"message {number}" if number is not None else "reply"
        raise typer.BadParameter(
            f"there is no {what}; the conversation shows {counted(len(path), 'message')}",
            param_hint="--message",
        )
    return found[0]
