"""Only the compiled file itself is run. Anything else in its place is compiled again, or refused with a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.cpu import test_native_step as step
from tests.engine.cpu.native_kernel import kernel
from tests.engine.cpu.tiny_models import save
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.cpu.native import build, library
from ttchat_tui.engine.cpu.native.sealed import NotPrivate, fault_of, require_private, seal
from ttchat_tui.engine.cpu.native.self_check import is_correct

LOAD = """
import os, sys
from pathlib import Path
from ttchat_tui.engine.cpu.native import build
build.load(Path(sys.argv[1]), os.environ, compiling=lambda: print("compiled"), refused=print)
"""


@pytest.fixture(autouse=True)
def quick_compiler(compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, compiler: str) -> Path:
    """The file as a load leaves it: its name is that of any load with this compiler."""
    kernel()  # Skips where there is none.
    folder = tmp_path_factory.mktemp("compiled") / "kernels"
    build.load(folder, {**os.environ, "CC": compiler})
    (file,) = folder.iterdir()
    return file


def loaded_elsewhere(folder: Path) -> list[str]:
    """What a new process says of a load: a file that ends it with a signal must not end the tests."""
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{run.returncode}: {run.stderr}"
    return run.stdout.splitlines()


def loaded_here(folder: Path) -> list[str]:
    """What this process says of a load, after another one survived it, and whether the kernel computes what it should."""
    said: list[str] = []
    loaded = library.load(folder, os.environ, lambda: said.append("compiled"), said.append)
    return [*said, "right" if is_correct(loaded) else "wrong"]


@pytest.fixture
def kept(tmp_path: Path, compiled: Path) -> Path:
    """A copy of it, to be damaged."""
    folder = tmp_path / "kernels"
    require_private(folder)
    return Path(shutil.copy2(compiled, folder))


def cut(part: float) -> Callable[[Path], None]:
    def do(file: Path) -> None:
        os.truncate(file, int(file.stat().st_size * part))

    return do


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def another_library(file: Path) -> None:
    source = file.parent.parent / "other.c"
    source.write_text("int answer(void) { return 42; }\n")
    command = build.compiler(os.environ)
    assert command is not None
    subprocess.run([*command, "-shared", "-fPIC", str(source), "-o", str(file)], check=True)


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def link_to(target: str) -> Callable[[Path], None]:
    def do(file: Path) -> None:
        file.unlink()
        file.symlink_to(target)

    return do


def link_to_the_same(file: Path) -> None:
    elsewhere = file.rename(file.parent.parent / "elsewhere.so")
    file.symlink_to(elsewhere)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": cut(0.0),
    "a page": cut(0.1),
    "cut in half": cut(0.5),
    "almost whole": cut(0.99),
    "without its seal": lambda file: os.truncate(file, file.stat().st_size - 45),
    "one byte more": lambda file: file.write_bytes(file.read_bytes() + b"\n"),
    "a bit flipped": flip,
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "text": lambda file: file.write_text("not a library"),
    "another library": another_library,
    "a pipe": pipe,
    "a link to nothing": link_to("gone"),
    "a link to a device": link_to("/dev/zero"),
    "a link to the same": link_to_the_same,
    "far too large": lambda file: os.truncate(file, 1 << 40),
    "others may write": lambda file: file.chmod(0o722),
    "the group may write": lambda file: file.chmod(0o770),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_every_file_but_the_compiled_one_is_detected(kept: Path, damage: Callable[[Path], object]) -> None:
    assert fault_of(kept) == ""
    damage(kept)
    try:
        assert str(kept) in fault_of(kept)
    except OSError as error:  # A link is not followed.
        assert str(error.filename) == str(kept)  # noqa: PT017


@pytest.mark.parametrize("name", ["cut in half", "another library", "a pipe", "a link to the same"])
def test_a_faulty_file_is_compiled_again_once(kept: Path, name: str) -> None:
    DAMAGES[name](kept)
    assert loaded_elsewhere(kept.parent) == ["compiled"]
    assert loaded_here(kept.parent) == ["right"]
    assert fault_of(kept) == ""
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_has_a_fault(kept: Path) -> None:
    os.chown(kept, 12345, -1)
    assert "another user" in fault_of(kept)


def test_a_folder_in_the_place_of_the_file_does_not_stop_a_load(kept: Path) -> None:
    kept.unlink()
    kept.mkdir()
    assert loaded_here(kept.parent) == ["compiled", "right"]
    kept.unlink()
    (kept / "inside").mkdir(parents=True)
    _, reason, compiling, right = loaded_here(kept.parent)
    assert reason == f"The compiled decode kernel is not saved: {kept}: Directory not empty."
    assert (compiling, right) == ("compiled", "right")


def test_a_seal_is_not_put_on_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="link"):
        seal(tmp_path / "link")
    assert (tmp_path / "theirs").read_text() == "text"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(NotPrivate, match="other users may write"):
        require_private(tmp_path)


def test_nothing_in_a_refused_folder_is_run_and_the_refusal_is_reported(kept: Path) -> None:
    another_library(kept)
    seal(kept)  # Whoever may write may also compute a digest.
    kept.parent.chmod(0o777)
    reason, compiling, right = loaded_here(kept.parent)
    assert reason == f"The compiled decode kernel is not saved: other users may write to {kept.parent}."
    assert (compiling, right) == ("compiled", "right")
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(NotPrivate, match="another user"):
        require_private(tmp_path)


def test_a_folder_that_everyone_may_rename_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(NotPrivate, match="every user"):
        require_private(open_to_all / "kernels")
    open_to_all.chmod(0o1777)  # As /tmp is: only owners rename.
    require_private(open_to_all / "kernels")


def test_a_folder_that_cannot_be_created_costs_only_a_compilation(tmp_path: Path, compiled: Path) -> None:
    (tmp_path / "file").touch()
    reasons: list[str] = []
    there = library.load(tmp_path / "file" / "kernels", os.environ, lambda: None, reasons.append)
    assert is_correct(there)
    assert len(reasons) == 1
    assert "not saved" in reasons[0]


def test_sealing_removes_write_permission_for_others(tmp_path: Path, compiled: Path) -> None:
    before = os.umask(0)
    try:
        build.load(tmp_path / "kernels", os.environ)
    finally:
        os.umask(before)
    (file,) = (tmp_path / "kernels").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o700, 0o700)


def test_a_compiler_that_makes_another_library_leaves_the_engine_without(tmp_path: Path) -> None:
    kernel()
    cc = tmp_path / "cc"
    cc.write_text(
        '#!/bin/bash\ncase "$*" in *-shared*) echo "int x;" | gcc -shared -fPIC -x c - -o "${@: -2:1}";; esac\n'
    )
    cc.chmod(0o755)
    with pytest.raises(build.Unavailable, match="lacks a function"):
        library.load(tmp_path / "kernels", {**os.environ, "CC": str(cc)}, lambda: None, lambda reason: None)


def test_a_load_says_that_the_folder_is_refused(tmp_path: Path) -> None:
    kernel()
    folder = tmp_path / "kernels"
    folder.mkdir()
    folder.chmod(0o777)
    label, notes = loaded_with_notes(save(step.build("llama"), tmp_path / "model"), folder)
    assert label == "cpu int4 native"
    assert [note for note in notes if "other users may write" in note]


def loaded_with_notes(model: Path, kernels: Path) -> tuple[str, tuple[str, ...]]:

    spec = ModelSpec(
        name="tiny", path=str(model), options=CpuOptions(precision="int4", threads=1), kernel_dir=str(kernels)
    )
    there = load_model(spec, lambda progress: None)
    return there.label, there.notes
