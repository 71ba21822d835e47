"""When the file of an open database is no longer at its path: noticed, and written anew, there or beside it.

Once nobody's name leads to it, a file lives on for those who have it open, and what they write to it goes with them.
SQLite does not look (sqlite.org/howtocorrupt.html, 2.4), so that a chat would continue for days, and then be gone.
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
    """Everything that `connection` sees, in a new file (0600) in the folder of `path`, which is made if it is missing.

    Raises:
        sqlite3.Error, OSError: there is no room, or no right to write there.
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
    """Give the copy the name of the file that has gone; False, and nothing is done, if another one has it by now.

    Raises:
        OSError: the folder cannot be written any more.
    """
    for companion in companions(path):  # of the file that has gone: SQLite would read them into this one
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


def written_anew(path: Path) -> ErrorInfo:
    return ErrorInfo(
        kind="database_written_anew",
        message=f"{path} had been moved or deleted while it was open. It is there again, with every conversation.",
        cure="Find out what took it away (a clean-up job, another program): it may do so again.",
    )


def goes_on_beside(path: Path, copy: Path) -> ErrorInfo:
    return ErrorInfo(
        kind="database_replaced",
        message=f"Another file has taken the place of {path}. "
        f"This session continues in {copy}, with every conversation.",
        # A log that stays at the old name would be read into the copy (sqlite.org/howtocorrupt.html, 1.4).
        cure="To continue with that one at the next start: quit every window, move the other file away (with its -wal "
        f"and -journal, if there are any), then: {shlex.join(['mv', str(copy), str(path)])}",
    )


def gone(path: Path, why: str) -> StorageError:
    return StorageError(
        ErrorInfo(
            kind="database_gone",
            message=f"{path} has been moved, deleted or replaced, and cannot be written anew ({why}): "
            "what is said now would be lost.",
            cure=f"Make the folder again (mkdir -p {shlex.quote(str(path.parent))}), then send again; /save FILE keeps "
            "this conversation.",
        )
    )
