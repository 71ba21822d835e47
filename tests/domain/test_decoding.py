"""Every type is prepared before msgspec decodes into it, on any thread."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ttchat_tui"

TWO_THREADS = """
import threading, time
import msgspec
from ttchat_tui.domain.decoding import decodable

is_half_known, may_go_on = threading.Event(), threading.Event()

def slow():
    "What msgspec evaluates while it already has the outer type, and no field of it."
    is_half_known.set()
    assert may_go_on.wait(20)
    return int

class Inner(msgspec.Struct):
    number: "slow()"

class Outer(msgspec.Struct):
    inner: Inner

found = []
def decode():
    found.append(msgspec.convert({"inner": {"number": 7}}, decodable(Outer)).inner.number)

first, second = threading.Thread(target=decode), threading.Thread(target=decode)
first.start()
assert is_half_known.wait(20)
second.start()
second.join(0.2)  # long enough for it to decode, if nothing holds it
assert found == []
may_go_on.set()
first.join()
second.join()
print(found)
"""


def test_a_thread_that_decodes_waits_for_another_that_is_still_preparing_the_type() -> None:
    """In a process of its own: without the lock it dies of SIGSEGV."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[7, 7]"), done.stderr


def typed_decodings(tree: ast.AST) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Calls of msgspec that decode into a type, and the type."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        path = ast.unparse(call.func).split(".")
        if path[0] != "msgspec":
            continue
        keywords = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
        positional = {"convert": call.args[1:2], "Decoder": call.args[:1]}.get(path[-1], [])
        if path[-1] in ("convert", "decode", "Decoder"):
            yield from ((call, kind) for kind in (*keywords, *positional))


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "decoding.py"]


def test_every_type_that_is_decoded_into_is_prepared_first() -> None:
    found = [
        (module.relative_to(PACKAGE), call.lineno, ast.unparse(kind))
        for module in MODULES
        for call, kind in typed_decodings(ast.parse(module.read_text(encoding="utf-8")))
    ]
    assert len(found) > 10
    bare = [(str(path), line, kind) for path, line, kind in found if not kind.startswith("decodable(")]
    assert bare == []


@pytest.mark.parametrize(
    "code",
    ["msgspec.convert(x, Thing)", "msgspec.json.decode(x, type=Thing)", "msgspec.msgpack.Decoder(Thing)"],
)
def test_a_bare_type_is_found(code: str) -> None:
    assert [ast.unparse(kind) for _, kind in typed_decodings(ast.parse(code))] == ["Thing"]
