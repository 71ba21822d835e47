"""`ttchat-tui repair`: restore damaged conversations."""

from __future__ import annotations

import os

from ttchat_tui.cli.standard_output import write_line
from ttchat_tui.config.paths import find_paths
from ttchat_tui.storage.repair import Repair
from ttchat_tui.storage.repair import repair as repaired


def repair() -> None:
    """Restore damaged conversations.

    From the newest backup, and from what can still be read of them. The damaged file is kept. A sound database is not changed.
    """
    path = find_paths(os.environ).database
    done = repaired(path)
    if done is None:
        write_line(f"The conversations in {path} are sound; nothing was changed.")
    else:
        write_line(f"Saved {_count(done)} to {path}.")
        if done.from_backup:
            verb = "are" if done.from_backup > 1 else "is"
            write_line(f"{done.from_backup} of them {verb} from the backup {done.backup}.")
        write_line(f"The damaged file is kept as {done.kept_as}.")


def _count(done: Repair) -> str:
    of_all = "" if done.messages == done.known_messages else f" of {done.known_messages}"
    messages = f"{done.messages}{of_all} message{'s' * (done.known_messages != 1)}"
    return f"{messages} in {done.conversations} conversation{'s' * (done.conversations != 1)}"
