"""A contender's side of the pipe: one JSON request a line on stdin, one JSON answer a line on what was stdout.

Standard library only: contenders run in whichever environment has their engine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def serve(load: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
    """Load, report it, and answer until stdin ends. `load` returns the operations: name → function of JSON values.

    A failure is answered with its message. Output of native code on descriptor 1 goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        operations = load()
        print(json.dumps({"value": sorted(operations)}), file=answers)
        for line in sys.stdin:
            request = json.loads(line)
            value = operations[request.pop("op")](**request)
            print(json.dumps({"value": value}), file=answers)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
        raise
