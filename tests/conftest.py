"""Every test runs in folders of its own; only the model in the user's cache is shared, since it never changes."""

from __future__ import annotations

import gc
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.size import IS_NIGHTLY, sized
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.given_settings import set_names
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.fetch import pull

with suppress(ImportError):  # the venv of `make test-tt` has no hypothesis
    from hypothesis import HealthCheck, settings

    # A loaded machine makes examples slowly; that is no fault of a test.
    settings.register_profile(
        "any load",
        deadline=None,
        max_examples=sized(25, 1000),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("any load")

LONGEST_FIRST = (
    "terminal/test_app", "engine/cpu/test_accuracy", "engine/cpu/test_lookup", "engine/contract",
    "packaging", "terminal", "ui/test_chat_screen", "cli/test_hostile_text", "engine/cpu", "ui/widgets/test_transcript", "cli", "engine",
)  # fmt: skip
"""Files and folders whose tests take long: where they come last, one process works and the others have nothing left."""

SHARE_A_PROCESS = (
    (
        "tests/engine/cpu/",
        "tests/engine/text/",
        "tests/cli/test_awkward_surroundings.py",
        "tests/cli/test_hostile_text.py",
    ),
    ("tests/engine/contract/",),
)
"""Files and folders of which one process runs all: they need transformers' models, 3 s to import, or the same engines."""

gc.disable()  # Imports and the collection of tests make millions of objects, and hardly any garbage.
_USER_ENVIRON = dict(os.environ)
_USER_MODELS = find_paths(_USER_ENVIRON).models_dir
_TAKEN_AWAY = [
    *(name for name in _USER_ENVIRON if name.startswith(("TTCHAT_", "HF_", "HUGGING"))),
    *("COLUMNS", "LINES"),  # pytest's readline exports those of the terminal that runs the tests
]
_OF_PYTEST = "PYTEST_CURRENT_TEST"
_SCOPES = ("CONFIG", "DATA", "CACHE", "STATE")
_NUMBERS = itertools.count()
ROOM_FOR_FILES = 4 << 30
"""Bytes. A run leaves the files of failed tests only (`tmp_path_retention_policy`)."""


def pytest_configure() -> None:
    """Keep the tests' files in memory where there is room: on a disk, a store waits for it at each commit."""
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or not memory.is_dir():
        return
    system = os.statvfs(memory)
    may_run_programs = not system.f_flag & os.ST_NOEXEC
    if may_run_programs and system.f_bavail * system.f_frsize > ROOM_FOR_FILES:
        os.environ["TMPDIR"] = str(memory)
        tempfile.tempdir = None  # It was read before.


@pytest.hookimpl(optionalhook=True)  # The venv of `make test-tt` has no xdist.
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes per core: tests spend a third of their time waiting for other processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, the tests of the files in `SHARE_A_PROCESS` run in one process, as those of one file do."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            shared = (starts[0] for starts in SHARE_A_PROCESS if nodeid.startswith(starts))
            return next(shared, nodeid.split("::", 1)[0])

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        return next(
            (n for n, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(f"tests/{start}")), 99
        )

    items.sort(key=rank)
    if IS_NIGHTLY:
        for item in items:
            item.add_marker(pytest.mark.timeout(3600), append=False)


def pytest_collection_finish() -> None:
    """The engines collect garbage at each load: what was imported for other tests would take them half a second."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def tests_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of this process's tests."""
    return tmp_path_factory.mktemp("tests")


@pytest.fixture
def tmp_path(tests_folder: Path) -> Path:
    """A folder of the test's own. pytest's own fixture looks for a free number among the folders of all tests before it."""
    folder = tests_folder / f"test-{next(_NUMBERS)}"
    os.mkdir(folder)
    return folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path) -> Iterator[Path]:
    """Take the user's settings away: TTCHAT_*, XDG and Hugging Face variables point below `tmp_path` or are gone.

    The four folders of the app are `tmp_path/{config,data,cache,state}`; the fixture's value is `tmp_path`. What a test
    leaves in the environment (an engine in this process sets what its libraries read) is gone after it, and messages name
    no setting as it gave it.
    """
    environ, before = os.environ, dict(os.environ)
    for name in _TAKEN_AWAY:
        environ.pop(name, None)
    for scope in _SCOPES:
        environ[f"TTCHAT_{scope}_DIR"] = f"{tmp_path}/{scope.lower()}"
        environ[f"XDG_{scope}_HOME"] = f"{tmp_path}/xdg/{scope.lower()}"
    environ["HF_HOME"] = f"{tmp_path}/huggingface"
    environ["COLORTERM"] = "truecolor"  # How many colours there are must not hang on who runs the tests.
    yield tmp_path
    set_names({})
    for name, value in dict(environ).items():
        if before.get(name) != value and name != _OF_PYTEST:
            if name in before:
                environ[name] = before[name]
            else:
                del environ[name]
    for name in before.keys() - environ.keys():
        environ[name] = before[name]


@pytest.fixture(scope="session")
def default_model_path() -> Path:
    """The default model in the user's cache; pulled, once, if it is not there (by one of several test processes)."""
    known = catalog()
    entry = known.find(known.default)
    assert entry is not None
    return pull(entry, _USER_MODELS, lambda progress: None, _USER_ENVIRON)
