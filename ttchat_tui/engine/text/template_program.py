"""Main program of the template process: one request per line, until standard input ends."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import sys
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from ttchat_tui.engine.text.template_process import MEMORY_BYTES, OUT_OF_MEMORY


def serve() -> NoReturn:
    """Answer the lines of standard input. The kernel kills this process if a rendering takes too long."""
    _limit_memory()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    status = 0
    try:
        for line in sys.stdin:
            request = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
            answer = _answer(request)
            sys.stdout.write(json.dumps(answer) + "\n")
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.stdout.flush()
    except MemoryError:
        status = OUT_OF_MEMORY
    except BrokenPipeError:  # The reader is gone.
        pass
    os._exit(status)  # A normal exit would try to flush unwritten output again, with a traceback.


def _limit_memory() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES)
    # Some systems cannot limit memory; CPU time is limited anyway.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """The rendered text; for a request without variables, the names that the template reads."""
    try:
        try:
            if "variables" not in request:
                tree = environment().parse(request["source"])
                return {"names": sorted(jinja2.meta.find_undeclared_variables(tree))}
            template = _compiled(request["source"])
        except (jinja2.TemplateError, RecursionError, SyntaxError, ValueError) as error:
            return {"fault": "broken", "reason": _words(error)}
        text: list[str] = []
        size = 0
        for part in template.generate(**request["variables"]):
            text.append(part)
            size += len(part)
            if size > request["most"]:
                return {"fault": "too large", "reason": ""}
        return {"text": "".join(text)}
    except MemoryError:
        raise
    # A template may raise whatever Python raises for wrong data.
    except Exception as error:  # noqa: BLE001 - any failure is an answer
        return {"fault": "refused", "reason": _words(error)}


def _words(error: Exception) -> str:
    return str(error)[:2000] or type(error).__name__


@functools.lru_cache(maxsize=8)
def _compiled(source: str) -> jinja2.Template:
    return environment().from_string(source)


def environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """The Jinja environment that chat templates are written for (transformers/utils/chat_template_utils.py)."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, jinja2.ext.loopcontrols]
    )
    untyped: Any = environment  # jinja2 leaves the types of these two dictionaries open.
    untyped.filters["tojson"] = _tojson
    untyped.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without Jinja's HTML escapes: prompts need the text itself."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


class _GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks replies for training. Here it renders its body."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
