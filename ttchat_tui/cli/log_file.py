"""The log of a run, in the state folder."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

import msgspec

from ttchat_tui.config.paths import Paths


def with_a_log(paths: Paths, level: str) -> Paths:
    """Log to the state folder (for the user's eyes only); to a fresh one among the temporary files, and say so, when
    it cannot be written."""
    try:
        _open_log(paths.log_file, level)
    except OSError as error:
        state_dir = Path(tempfile.mkdtemp(prefix="ttchat-tui-"))
        paths = msgspec.structs.replace(paths, state_dir=state_dir)
        sys.stderr.write(
            f"ttchat-tui: {error.filename or paths.state_dir} cannot be written ({error.strerror}); "
            f"logs and what the app remembers go to {state_dir} this time.\n"
        )
        _open_log(paths.log_file, level)
    return paths


def _open_log(file: Path, level: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    file.chmod(0o600)
    logging.basicConfig(
        filename=file, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
