"""What `make` does at installation, from its dry run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_an_installation_compiles_the_package_after_pip_which_leaves_an_editable_one_alone(
    tmp_path: Path,
) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    recipe = subprocess.run(
        ["make", "--dry-run", "run"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert ".[cpu,web,constrain]" in recipe, "what README shows without a condition works"
    assert 0 < recipe.index("install --editable") < recipe.index("compileall -q ttchat_tui")
