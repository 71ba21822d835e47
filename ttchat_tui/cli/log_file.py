"""The log file of a run."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from pathlib import Path

import msgspec

from ttchat_tui.cli.errors import notify
from ttchat_tui.config.paths import Paths
from ttchat_tui.domain.special_files import special_file
from ttchat_tui.signals import write_stacks_to


def open_log(paths: Paths, level: str) -> Paths:
    """Log to the state folder, readable by the user only, or with a message to a new temporary folder if that fails. On
    `STACKS_SIGNAL` the stacks of all threads are logged.

    Returns the paths with the folder in use.
    """
    try:
        for file in (paths.log_file, paths.engine_log_file):
            if what := special_file(file):
                raise OSError(errno.EINVAL, f"it is {what}", str(file))
        _configure_logging(paths.log_file, level)
    except OSError as error:
        place = error.filename or paths.state_dir
        state_dir = Path(tempfile.mkdtemp(prefix="ttchat-tui-"))
        paths = msgspec.structs.replace(paths, state_dir=state_dir)
        notify(f"{place} cannot be written ({error.strerror}); logs and state of this run go to {state_dir}.")
        _configure_logging(paths.log_file, level)
    return paths


def _configure_logging(file: Path, level: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
    try:
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    logging.basicConfig(
        filename=file, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    ours = os.path.abspath(file)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.baseFilename == ours and handler.stream:
            write_stacks_to(handler.stream)
