"""Names of files to attach or import, as they are typed. Opens no file but `.gitignore`, and follows no link out of the folder."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from pathspec import GitIgnoreSpec

from ttchat_tui.domain.text import visible_line
from ttchat_tui.domain.user_paths import current_folder, expanded
from ttchat_tui.session.fuzzy import ranked

MOST_FOUND: Final = 50
MOST_NAMES: Final = 200_000
"""Of a larger folder, no more are searched."""
STEP_S: Final = 0.03
"""How long a call of `find` walks, in seconds; only a single folder's list of names may take longer."""
FRESH_S: Final = 10.0
"""A walk that ended longer ago is repeated."""
MOST_STARS: Final = 3
"""Of a pattern in `.gitignore`, for each part between slashes: five take 15 s to match one name, and no other thread runs."""
IGNORED: Final = frozenset({".git", ".hg", ".svn", ".jj", "node_modules", "__pycache__", ".venv"})
_LONGEST_IGNORE_FILE: Final = 1 << 16


class FoundFiles(msgspec.Struct, frozen=True):
    """What matches. Folders end in a slash."""

    paths: tuple[str, ...]
    is_complete: bool = True
    """False while the walk has not ended: `find` again finds more."""
    is_cut: bool = False
    """The folder has more names than are searched."""
    is_exact: bool = False
    """What was typed is the path of something, whether it is offered or not."""


class _Ignoring(NamedTuple):
    """A `.gitignore` and the ones above it."""

    above_root: str
    """The root relative to its folder, with a slash, if that is above the root; otherwise empty."""
    depth: int
    """Characters of its folder's name, if that is below the root."""
    spec: GitIgnoreSpec
    above: _Ignoring | None


class FileFinder:
    """Finds files below a folder. `find` may be called on any thread, and must not be on the UI's."""

    def __init__(
        self, root: Path | None = None, clock: Callable[[], float] = time.monotonic, most: int = MOST_NAMES
    ) -> None:
        self._root = root
        self._clock = clock
        self.most = most
        self._lock = threading.Lock()
        self._names: list[str] = []
        """Relative to the root, shallow ones first."""
        self._folded: list[str] = []
        self._walk: Iterator[str] | None = None
        """What is not in `_names` yet; None between two walks."""
        self._walked = 0
        """How many entries the walk has looked at."""
        self._walked_root = ""
        self._ended_s = -FRESH_S

    def find(self, typed: str) -> FoundFiles:
        """The files below the root that match, or the entries of another folder if `typed` begins with one (`/`, `~`, `.`).

        Walks for `STEP_S` at most; call it again until `is_complete`.
        """
        # Not under the lock: a network disk that is gone may never answer.
        is_exact = bool(typed) and os.path.lexists((self._root or Path()) / expanded(typed))
        if typed.startswith(("/", "~/", "./", "../")):
            return FoundFiles(_entries(typed), is_exact=is_exact)
        with self._lock:
            self._continue()
            places = ranked(typed, self._folded, MOST_FOUND)
            return FoundFiles(
                tuple(self._names[place] for place in places),
                is_complete=self._walk is None,
                is_cut=self._walked >= self.most,
                is_exact=is_exact,
            )

    def _continue(self) -> None:
        """Walk on for `STEP_S`; from the root, if the last walk ended long ago."""
        until = self._clock() + STEP_S
        if self._walk is None:
            if until - STEP_S - self._ended_s < FRESH_S:
                return
            self._names, self._folded, self._walked = [], [], 0
            self._walk = self._entries_below()
        for name in self._walk:
            self._walked += 1
            if name:
                self._names.append(name)
                self._folded.append(name.casefold())
            if self._walked >= self.most:
                break
            if self._clock() >= until:
                return
        self._walk, self._ended_s = None, self._clock()

    def _entries_below(self) -> Iterator[str]:
        """The names below the root, shallow ones first; empty for an entry that is not offered."""
        root = self._root or current_folder()
        self._walked_root = os.path.realpath(root) if root.is_absolute() else ""  # it has been deleted
        left: deque[tuple[str, _Ignoring | None]] = deque([("", _ignoring_above(root))])
        while left:
            folder, ignoring = left.popleft()
            path = os.path.join(self._walked_root, folder)
            try:
                with os.scandir(path) as found:
                    entries = sorted(islice(found, self.most), key=lambda entry: entry.name)
            except OSError:  # not readable, or gone meanwhile: it has nothing to offer
                continue
            if any(entry.name == ".gitignore" for entry in entries):
                ignoring = _ignoring_in(path, ignoring, depth=len(folder))
            for entry in entries:
                name = self._offered(entry, folder)
                if name and _is_ignored(name, ignoring):
                    name = ""
                if name.endswith("/"):
                    left.append((name, ignoring))
                yield name

    def _offered(self, entry: os.DirEntry[str], folder: str) -> str:
        """The name of an entry below the root; empty for what is not offered: devices, links out of the root or to folders,
        and names that a terminal would not show as they are."""
        if entry.name in IGNORED or visible_line(entry.name) != entry.name:
            return ""
        try:
            if entry.is_dir(follow_symlinks=False):
                return f"{folder}{entry.name}/"
            if entry.is_symlink() and not os.path.realpath(entry.path).startswith(f"{self._walked_root}/"):
                return ""
            return f"{folder}{entry.name}" if entry.is_file() else ""
        except OSError:  # a loop of links
            return ""


def _entries(typed: str) -> tuple[str, ...]:
    """What is in the folder at the beginning of `typed` and matches the rest."""
    folder, _, wanted = typed.rpartition("/")
    names: list[str] = []
    try:
        with os.scandir(expanded(f"{folder}/")) as entries:
            for entry in islice(entries, MOST_NAMES):
                if visible_line(entry.name) == entry.name and not (
                    entry.name[0] == "." and wanted[:1] != "."
                ):
                    with suppress(OSError):  # a loop of links
                        if entry.is_dir():
                            names.append(f"{entry.name}/")
                        elif entry.is_file():
                            names.append(entry.name)
    except (OSError, ValueError):  # there is no such folder: nothing to offer
        return ()
    names.sort()
    places = ranked(wanted, [name.casefold() for name in names], MOST_FOUND)
    return tuple(f"{folder}/{names[place]}" for place in places)


def _ignoring_above(root: Path) -> _Ignoring | None:
    """The `.gitignore` files of the folders above `root`, up to the one with the repository."""
    above = [root, *root.parents]
    depth = next((depth for depth, each in enumerate(above) if os.path.lexists(each / ".git")), 0)
    ignoring: _Ignoring | None = None
    for level in range(depth, 0, -1):
        down = "".join(f"{part}/" for part in root.parts[-level:])
        ignoring = _ignoring_in(above[level], ignoring, above_root=down)
    return ignoring


def _ignoring_in(
    folder: str | Path, above: _Ignoring | None, *, above_root: str = "", depth: int = 0
) -> _Ignoring | None:
    """`above`, and the `.gitignore` in `folder`; see `_Ignoring` for the rest."""
    file = os.path.join(folder, ".gitignore")
    try:
        if os.path.islink(file) or not os.path.isfile(file):
            return above
        with open(file, encoding="utf-8", errors="replace") as lines:
            patterns = filter(_is_pattern, lines.read(_LONGEST_IGNORE_FILE).splitlines())
            spec = GitIgnoreSpec.from_lines(patterns)
    except OSError:  # as git does
        return above
    return _Ignoring(above_root, depth, spec, above)


def _is_pattern(line: str) -> bool:
    """Git skips a line that is no pattern; here one is skipped too that would be slow to match."""
    if line.count("**") > MOST_STARS or any(part.count("*") > MOST_STARS for part in line.split("/")):
        return False
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _is_ignored(name: str, ignoring: _Ignoring | None) -> bool:
    """Whether the innermost `.gitignore` that says something about `name` excludes it."""
    while ignoring is not None:
        verdict = ignoring.spec.check_file(f"{ignoring.above_root}{name[ignoring.depth :]}").include
        if verdict is not None:
            return verdict
        ignoring = ignoring.above
    return False
