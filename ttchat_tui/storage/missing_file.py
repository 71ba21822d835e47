"""Recovery when the file of an open database was moved, deleted or replaced: write it again, in its place or beside it.

A deleted file stays usable for the processes that have it open and disappears when they close it. SQLite does not check
(sqlite.org/howtocorrupt.html, 2.4): a chat would continue for days and then be lost.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.files import companions, sync_folder


def copy_beside(connection: sqlite3.Connection, path: Path) -> Path:
    """Copy the whole database into a new file (0600) in the folder of `path`, which is created if missing.

    Raises:
        sqlite3.Error, OSError: no space, or no permission to write there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.rescued-")
    os.close(handle)
    try:
        with closing(sqlite3.connect(name)) as target:
            connection.backup(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def put_in_place(copy: Path, path: Path) -> bool:
    """Rename the copy to `path`. Returns False and changes nothing if another file has that name by now.

    Raises:
        OSError: the folder is no longer writable.
    """
    for companion in companions(path):  # of the lost file: SQLite would apply them to this one
        companion.unlink(missing_ok=True)
    try:
        os.link(copy, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        os.rename(copy, path)
    else:
        copy.unlink()
    sync_folder(path.parent)
    return True


def recreated_notice(path: Path) -> ErrorInfo:
    return ErrorInfo(
        kind="database_written_anew",
        message=f"{path} was moved or deleted while it was open. It has been restored with every conversation.",
        cure="Find out what removed it (a clean-up job, another program): it may happen again.",
    )


def continued_beside_notice(path: Path, copy: Path) -> ErrorInfo:
    return ErrorInfo(
        kind="database_replaced",
        message=f"Another file has replaced {path}. "
        f"This session continues in {copy}, with every conversation.",
        # A log left under the old name would be applied to the copy (sqlite.org/howtocorrupt.html, 1.4).
        cure="To use it at the next start: quit every window, move the other file away (with its -wal "
        f"and -journal, if there are any), then: {shlex.join(['mv', str(copy), str(path)])}",
    )


def not_recreated(path: Path, why: str) -> StorageError:
    return StorageError(
        ErrorInfo(
            kind="database_gone",
            message=f"{path} was moved, deleted or replaced and cannot be restored ({why}): "
            "new messages would be lost.",
            cure=f"Create the folder again (mkdir -p {shlex.quote(str(path.parent))}), then send again; /save FILE keeps "
            "this conversation.",
        )
    )
