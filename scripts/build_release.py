"""Check tree, version and changelog, then build wheel and sdist into dist/. `make dist` runs it. Nothing is uploaded."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
VERSION_FILE = "ttchat_tui/__init__.py"
NEVER_SHIPPED = re.compile(
    r"(^|/)(\.env|\.venv[^/]*|__pycache__|results|conversations\.db[^/]*)(/|$)|\.(log|gguf)$"
)
"""Paths that no archive may contain."""


class NotReady(Exception):
    """The checkout cannot be released; the message has the cure."""


def main() -> None:
    try:
        version = read_version()
        check_tree()
        check_tag(version)
        check_changelog(version)
        wheel, sdist = build(version)
        check_wheel(wheel, version)
        check_sdist(sdist)
    except NotReady as error:
        sys.exit(f"Not released: {error}")
    print(
        f"{wheel.relative_to(ROOT)}\n{sdist.relative_to(ROOT)}\nReady. CONTRIBUTING.md, Release, has the next steps."
    )


def read_version() -> str:
    found = re.search(
        r'^__version__ = "(\d+\.\d+\.\d+)"$', (ROOT / VERSION_FILE).read_text("utf-8"), re.MULTILINE
    )
    if found is None:
        raise NotReady(f'{VERSION_FILE} has no version of the form __version__ = "1.2.3".')
    return found[1]


def check_tree() -> None:
    changes = git("status", "--porcelain")
    if changes:
        raise NotReady(f"the tree has changes that are not committed:\n{changes}")


def check_tag(version: str) -> None:
    """A tag of this version must name this commit."""
    tag = f"v{version}"
    if tag in git("tag", "--list").split() and git("rev-list", "-n1", tag) != git("rev-parse", "HEAD"):
        raise NotReady(f"{tag} is another commit. Raise __version__ in {VERSION_FILE}.")


def check_changelog(version: str) -> None:
    """The newest section must be that of this version, with a date and at least one line."""
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    filled = [each for each in sections if re.search(r"^- ", each, re.MULTILINE)]
    title = filled[0].splitlines()[0] if filled else "nothing"
    if re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", title) is None:
        raise NotReady(f'the newest section of CHANGELOG.md is "{title}". Name it "{version} - YYYY-MM-DD".')


def build(version: str) -> tuple[Path, Path]:
    """Build both archives into an empty dist/, with the backend of this environment (the lock file's)."""
    for old in DIST.glob("ttchat_tui-*"):
        old.unlink()
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise NotReady("the build failed; its message is above.")
    return DIST / f"ttchat_tui-{version}-py3-none-any.whl", DIST / f"ttchat_tui-{version}.tar.gz"


def check_wheel(wheel: Path, version: str) -> None:
    """The wheel has every tracked file of the package, every theme and the example config, and nothing else."""
    beside = [*tracked("themes"), "config.example.toml"]
    expected = {*tracked("ttchat_tui"), *(f"ttchat_tui/{name}" for name in beside)}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"ttchat_tui-{version}.dist-info/METADATA").decode()
    files = {name for name in names if ".dist-info/" not in name}
    if files != expected:
        raise NotReady(f"the wheel differs from the tracked files: {sorted(files ^ expected)}")
    if f"\nVersion: {version}\n" not in metadata:
        raise NotReady(f"the wheel's metadata does not have version {version}.")


def check_sdist(sdist: Path) -> None:
    """The sdist has tracked files only, those for tests and tools included."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()} - {"", "PKG-INFO"}
    surplus = {name for name in names - set(tracked()) if (ROOT / name).is_file()}
    surplus |= {name for name in names if NEVER_SHIPPED.search(name)}
    if surplus:
        raise NotReady(f"the sdist contains files that do not belong there: {sorted(surplus)}")
    missing = {
        "Makefile",
        "requirements.lock",
        "CHANGELOG.md",
        "tests/conftest.py",
        *tracked("ttchat_tui"),
    } - names
    if missing:
        raise NotReady(f"the sdist lacks {sorted(missing)}.")


def tracked(folder: str = ".") -> list[str]:
    return git("ls-files", folder).splitlines()


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
