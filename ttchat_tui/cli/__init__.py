"""The command line: flags, subcommands, and the composition root. Nothing else builds objects."""

import importlib
import sys

INTERRUPTED = 130


def main() -> None:
    """`ttchat-tui`; see `entry.main`.

    Slow imports, `typing` among them, happen in here, where ctrl+c is handled.
    """
    try:
        importlib.import_module("ttchat_tui.cli.entry").main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:  # the modules cannot be read
        sys.exit(f"ttchat-tui: cannot start: {error.strerror}.")
