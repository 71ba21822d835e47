"""The command line: flags, subcommands, and the composition root. Nothing else builds objects."""

import importlib
import sys

INTERRUPTED = 130


def main() -> None:
    """`ttchat-tui`; see `entry.main`.

    What takes time to import is imported in here, `typing` too: ctrl+c may come meanwhile.
    """
    try:
        importlib.import_module("ttchat_tui.cli.entry").main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:  # not even its modules could be read
        sys.exit(f"ttchat-tui: cannot start: {error.strerror}.")
