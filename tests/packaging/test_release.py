"""`make dist` refuses a changelog or a version that is not ready."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for a checkout in `tmp_path`."""
    spec = importlib.util.spec_from_file_location("build_release", ROOT / "scripts" / "build_release.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    return script


@pytest.mark.parametrize(
    "changelog",
    [
        "# Changelog\n\n## Unreleased\n- New.\n\n## 1.2.3 - 2026-01-01\n- Old.\n",
        "# Changelog\n\n## 1.2.3\n- No date.\n",
        "# Changelog\n\n## 1.2.2 - 2026-01-01\n- Old.\n",
        "# Changelog\n",
    ],
)
def test_the_newest_changelog_section_must_be_that_of_the_version(
    release: ModuleType, tmp_path: Path, changelog: str
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    with pytest.raises(release.NotReady, match=r"Name it \"1\.2\.3 - YYYY-MM-DD\""):
        release.check_changelog("1.2.3")


def test_an_empty_unreleased_section_may_precede_it(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-01-01\n- New.\n")
    release.check_changelog("1.2.3")


@pytest.mark.parametrize("version", ["1.2", "1.2.3.dev0", ""])
def test_the_version_must_be_a_final_one(release: ModuleType, tmp_path: Path, version: str) -> None:
    (tmp_path / "ttchat_tui").mkdir()
    (tmp_path / "ttchat_tui" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    with pytest.raises(release.NotReady):
        release.read_version()
