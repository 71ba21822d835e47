"""Any command line in any surroundings ends in words: no traceback, no exit code that is not documented, no hang."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.cli.hostile import hostile
from tests.size import sized

LINES: Final = sized(6, 2000)
CHECKOUT: Final = str(Path(__file__).parents[2])
NOBODY_THERE: Final = "127.0.0.1:9"

COMMANDS: Final = (
    (), ("-p", "hi"), ("-p",), ("-p", "-"), ("--plain",), ("-c",), ("doctor",), ("doctor", "--output", "json"), ("paths",), ("paths", "--json"),
    ("export",), ("export", "--list"), ("export", "--all"), ("models",), ("models", "list"), ("models", "list", "--here"),
    ("models", "path"), ("models", "pull"), ("models", "rm"), ("repair",), ("bench",), ("--help",), ("models", "--help"), ("--version",),
    ("serve", "--port", "0"), ("serve", "--host", "a..b"), ("serve", "--host", "no host"), ("nonsense",), ("",), ("-",), ("--",),
)  # fmt: skip
FLAGS: Final = (
    "-p", "-m", "--model", "--engine", "--base-url", "--precision", "--threads", "--context-length", "--isolation", "--system",
    "--max-tokens", "--temperature", "--top-p", "--top-k", "--min-p", "--repetition-penalty", "--seed", "--stop", "--logit-bias",
    "--output",
    "--candidates", "--attach", "--no-save", "-c", "--plain", "--theme", "--config", "--json", "--to", "--format", "--all", "--list", "--here",
    "--tokens", "--prompt-tokens", "--batch", "--concurrency", "-x", "--no-such",
)  # fmt: skip
VALUES: Final = (
    "", " ", "-", "--", "0", "-1", "1", "1e400", "nan", "inf", "-0.0", "9" * 30, "1.5", "true", "remote", "cpu", "tt", "auto", "int4",
    "thread", "process", "json", "jsonl", "markdown", "a" * 300, "/" + "a/" * 200, "/dev/null", "/dev/full", "/dev/zero", "/", ".", "..", "~",
    "~nobody-is-called-so/x", "./x.gguf", "org/name", "remote:", "remote:m", "http://", f"http://{NOBODY_THERE}/v1", "http://[::1", "é日本🙂",
    "http://u:p@127.0.0.1:9", "file:///etc/passwd", "*", "%s%n", "${HOME}", "\udcff", "a\udc9bb", "x.md", "no/such/dir/", "/proc/self/mem",
)  # fmt: skip
VARIABLES: Final[tuple[tuple[str, str | None], ...]] = (
    ("HOME", None), ("HOME", ""), ("HOME", "relative"), ("HOME", "/dev/null"), ("TERM", ""), ("TERM", None), ("TERM", "no-such-terminal"),
    ("COLUMNS", "0"), ("COLUMNS", "abc"), ("COLUMNS", "-5"), ("COLUMNS", "1"), ("COLUMNS", "9" * 20), ("LINES", "abc"), ("LANG", "C"),
    ("LC_ALL", "C"), ("LC_ALL", "no_SUCH.locale"), ("LANG", "de_DE.ISO-8859-1"), ("PATH", ""), ("PATH", None), ("TMPDIR", "/no/such"),
    ("PYTHONIOENCODING", "ascii"), ("PYTHONUTF8", "0"), ("XDG_CONFIG_HOME", "relative"), ("TTCHAT_CONFIG_DIR", ""), ("TTCHAT_DATA_DIR", "/dev/null"),
    ("TTCHAT_STATE_DIR", "/dev/full/x"), ("TTCHAT_CACHE_DIR", "/proc/1"), ("TTCHAT_STATE_DIR", "~no-such-user"), ("TTCHAT_DATA_DIR", "/sys"),
    ("TTCHAT_LOG_LEVEL", "loud"), ("TTCHAT_SAMPLING__TOP_K", "9" * 400), ("TTCHAT_MODEL", "\udcff"), ("NO_COLOR", "1"), ("HF_HOME", "\udcff"),
    ("HF_TOKEN", "\udcff\n"), ("HTTP_PROXY", "nonsense"), ("SSL_CERT_FILE", "/no/such"),
    ("_TTCHAT_TUI_COMPLETE", "nonsense"), ("PYTHONWARNINGS", "nonsense"), ("SHELL", ""), ("TZ", "nonsense"),
)  # fmt: skip


def _nothing() -> None:
    """Change nothing."""


def _closed(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for each in descriptors:
            os.close(each)

    return close


def _led(descriptor: int, path: str, flags: int = os.O_RDWR) -> Callable[[], None]:
    def lead() -> None:
        os.dup2(os.open(path, flags), descriptor)

    return lead


def _limited(which: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (value, value))


def _in_a_deleted_folder() -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


SURROUNDINGS: Final[dict[str, Callable[[], None]]] = {
    "nothing odd": _nothing, "no stdin": _closed(0), "no stdout": _closed(1), "no stderr": _closed(2), "no streams": _closed(0, 1, 2),
    "only stderr": _closed(0, 1), "stdout full": _led(1, "/dev/full"), "stderr full": _led(2, "/dev/full"), "stdin for writing": _led(0, "/dev/null", os.O_WRONLY),
    "stdout for reading": _led(1, "/dev/null", os.O_RDONLY), "8 files": _limited(resource.RLIMIT_NOFILE, 8),
    "20 files": _limited(resource.RLIMIT_NOFILE, 20), "41 files": _limited(resource.RLIMIT_NOFILE, 41),
    "no file may grow": _limited(resource.RLIMIT_FSIZE, 0), "deleted folder": _in_a_deleted_folder,
}  # fmt: skip


class CommandLine(NamedTuple):
    """A command line, and where it runs."""

    arguments: list[str]
    environ: Mapping[str, str | None]
    surroundings: str
    stdin: bytes


def line(seed: int) -> CommandLine:
    """The command line number `seed`."""
    chance = random.Random(seed)
    arguments = list(chance.choice(COMMANDS))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        added = [chance.choice(FLAGS)]
        if chance.random() < 0.8:
            value = (
                hostile(seed, has_bytes=True).replace("\0", "")
                if chance.random() < 0.15
                else chance.choice(VALUES)
            )
            added = [f"{added[0]}={value}"] if chance.random() < 0.2 else [*added, value]
        at = 0 if chance.random() < 0.4 else len(arguments)
        arguments[at:at] = added
    variables: dict[str, str | None] = dict(chance.sample(VARIABLES, chance.choice((0, 0, 1, 2))))
    surroundings = chance.choice(tuple(SURROUNDINGS)) if chance.random() < 0.6 else "nothing odd"
    stdin = chance.choice(
        (b"", b"hi\n", b"\xff\xfe\x9b2J", b"/help\n/save \n/model x\n//\n", b"\0", b"a" * 50_000, b"\n\n")
    )
    return CommandLine(arguments, variables, surroundings, stdin)


def ended(one: CommandLine, folder: Path) -> str:
    """Run it and return what is wrong with its end."""
    folder.mkdir()
    usual = {
        "PYTHONPATH": CHECKOUT, "TTCHAT_ENGINE": "remote", "OPENAI_BASE_URL": f"http://{NOBODY_THERE}/v1", "HF_ENDPOINT": f"http://{NOBODY_THERE}",
        "PIP_INDEX_URL": f"http://{NOBODY_THERE}", "PIP_RETRIES": "0", "PIP_TIMEOUT": "1",
    }  # fmt: skip
    environ = {
        name: value for name, value in {**os.environ, **usual, **one.environ}.items() if value is not None
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ttchat_tui", *one.arguments],
            input=one.stdin,
            capture_output=True,
            check=False,
            timeout=100,
            cwd=folder,
            env=environ,
            preexec_fn=SURROUNDINGS[one.surroundings],
        )
    except subprocess.TimeoutExpired as hung:
        return f"hung: {hung.stderr!r}"
    said = done.stdout + done.stderr
    is_odd = any(
        word in said
        for word in (b"Traceback", b"an internal error", b"Exception ignored", b"Fatal Python error")
    )
    return (
        f"exit code {done.returncode}: {said[-700:]!r}" if is_odd or done.returncode not in (0, 1, 2) else ""
    )


@pytest.mark.timeout(120 + 4 * LINES)
def test_any_command_line_ends_in_words(own_folders: Path) -> None:
    faults = [
        f"{seed}: {one}\n   {fault}"
        for seed in range(LINES)
        if (fault := ended(one := line(seed), own_folders / str(seed)))
    ]
    print(f"{LINES} command lines, {len(faults)} faults")
    assert not faults, "\n".join(faults)
