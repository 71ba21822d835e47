"""The decode kernel is compiled once per machine. Without a working compiler the engine runs without it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine.cpu import test_native_step as step
from tests.engine.cpu.native_kernel import kernel
from tests.engine.cpu.tiny_models import save
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.engine.base import OutOfMemory
from ttchat_tui.engine.cpu import loading
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.self_check import is_correct
from ttchat_tui.engine.factory import ENGINES


def script(path: Path, body: str) -> dict[str, str]:
    """An environment whose C compiler is a shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return {**os.environ, "CC": str(path)}


def counting(folder: Path, compiler: str) -> tuple[Mapping[str, str], Path]:
    """A compiler that notes each time it compiles."""
    noted = folder / "noted"
    noted.touch()
    body = f'case "$*" in *-shared*) echo once >> {noted};; esac\nexec {compiler} "$@"'
    return script(folder / "cc", body), noted


def test_it_is_compiled_once_for_a_compiler_and_a_processor(tmp_path: Path, compiler: str) -> None:
    environ, noted = counting(tmp_path, compiler)
    reported: list[str] = []
    for _ in range(2):
        library = build.load(tmp_path / "kernels", environ, compiling=lambda: reported.append("compiling"))
        assert isinstance(library, ctypes.CDLL)
    assert noted.read_text() == "once\n"
    assert reported == ["compiling"]
    build.load(tmp_path / "kernels", environ, "x86-64-v3")
    assert noted.read_text() == "once\n" * 2
    assert len(list((tmp_path / "kernels").iterdir())) == 2  # Nothing half-made is left.


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path, compiler: str) -> None:
    environ, _ = counting(tmp_path, compiler)
    found: list[ctypes.CDLL] = []
    threads = [
        threading.Thread(target=lambda: found.append(build.load(tmp_path / "kernels", environ)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert is_correct(Library(found[0]))


def test_the_compiler_is_cc_or_the_first_on_the_path(tmp_path: Path) -> None:
    assert build.compiler({"PATH": str(tmp_path)}) is None
    for name in ("clang", "gcc"):
        script(tmp_path / name, "")
    assert build.compiler({"PATH": str(tmp_path)}) == (str(tmp_path / "gcc"),)
    assert build.compiler({"PATH": str(tmp_path), "CC": "clang -m64"}) == (str(tmp_path / "clang"), "-m64")
    for named in ("no-such-compiler", 'gcc "-m64'):
        assert build.compiler({"PATH": str(tmp_path), "CC": named}) is None


def test_the_reason_for_a_missing_kernel_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(build.Unavailable, match="no C compiler"):
        build.load(tmp_path, {"PATH": str(tmp_path)})
    broken = script(tmp_path / "broken", "echo 'decode.c:1: error: no such thing' >&2; exit 1")
    with pytest.raises(build.Unavailable, match="no such thing"):
        build.load(tmp_path / "kernels", broken)
    assert not list((tmp_path / "kernels").iterdir())
    with pytest.raises(build.Unavailable, match="too short"):
        build.load(tmp_path / "kernels", {**broken, "CC": shutil.which("true") or "true"})
    assert not list((tmp_path / "kernels").iterdir())
    monkeypatch.setattr(build.platform, "machine", lambda: "riscv64")
    with pytest.raises(build.Unavailable, match="riscv64"):
        build.load(tmp_path, os.environ, is_asked_for=True)


def test_a_processor_on_which_it_was_not_measured_has_it_by_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    with pytest.raises(build.Unavailable, match="aarch64"):
        build.load(tmp_path, {"PATH": str(tmp_path)})
    with pytest.raises(build.Unavailable, match="no C compiler"):
        build.load(tmp_path, {"PATH": str(tmp_path)}, is_asked_for=True)


def test_a_compiler_that_does_not_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_TIMEOUT_S", 0.2)
    with pytest.raises(build.Unavailable, match=r"takes more than 0\.2 s"):
        build.load(tmp_path / "kernels", script(tmp_path / "cc", "sleep 1000; true"))


def test_a_full_disk_costs_only_a_compilation(
    tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = tmp_path / "kernels"
    body = f'case "$*" in *-o\\ {kernels}*) exit 1;; esac\nexec {compiler} "$@"'
    environ = script(tmp_path / "cc", body)
    with pytest.raises(build.Unavailable, match="does not compile"):
        build.load(kernels, environ)
    monkeypatch.setattr(build.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 0))  # pyright: ignore
    reasons: list[str] = []
    there = build.load(kernels, environ, refused=reasons.append)
    assert is_correct(Library(there))
    assert reasons == [f"The compiled decode kernel is not saved: {kernels}: No space left on device."]


def test_leftovers_of_a_killed_compilation_are_removed_later(tmp_path: Path, compiler: str) -> None:
    kernels = tmp_path / "kernels"
    kernels.mkdir(mode=0o700)
    for name in ("compiling-old.so", "compiling-new.so"):
        (kernels / name).touch()
    os.utime(kernels / "compiling-old.so", (1, 1))
    build.load(kernels, {**os.environ, "CC": compiler})
    assert {file.name.partition("-")[2] for file in kernels.glob("compiling-*")} == {"new.so"}


@pytest.mark.parametrize("processor", ["native", "x86-64-v3"])
def test_the_compiled_kernel_computes_correctly(processor: str) -> None:
    assert is_correct(kernel(processor))


def test_a_kernel_with_wrong_results_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    library = kernel()
    right = library.multiply

    def wrong(matrix: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = right(matrix, x)
        y[0, 0] += 0.01 * np.abs(y).max()
        return y

    monkeypatch.setattr(library, "multiply", wrong)
    assert not is_correct(library)


def load(folder: Path, kernel_dir: str, precision: Any = "int4") -> tuple[str, list[LoadProgress]]:
    reports: list[LoadProgress] = []
    spec = ModelSpec(
        name="tiny",
        path=str(folder),
        options=CpuOptions(precision=precision, threads=1),
        kernel_dir=kernel_dir,
    )
    return load_model(spec, reports.append).label, reports


def test_a_load_compiles_it_and_says_so(
    tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    folder = save(step.build("llama"), tmp_path / "model")
    label, reports = load(folder, str(tmp_path / "kernels"))
    assert label == "cpu int4 native"
    assert [report.detail for report in reports if report.phase == "compile"] == ["decode kernel"]
    monkeypatch.setattr(loading, "available_bytes", lambda: 2**20)
    with pytest.raises(OutOfMemory, match="GB are free"):
        load(folder, str(tmp_path / "kernels"))


def test_a_load_works_without_a_kernel_that_is_off_unavailable_or_useless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(step.build("llama"), tmp_path / "model")
    assert "native" not in load(folder, "")[0]
    assert load(folder, str(tmp_path / "kernels"), "fp32")[0] == "cpu fp32"
    assert not (tmp_path / "kernels").exists()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "native" not in load(folder, str(tmp_path / "kernels"))[0]


def test_without_one_on_the_path_the_package_ziglang_compiles(
    tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a package whose compiler is this machine's."""
    package = tmp_path / "packages" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        f"import os, sys; assert sys.argv[1] == 'cc'; os.execv({compiler!r}, [{compiler!r}, *sys.argv[2:]])"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)
    nowhere = {"PATH": str(tmp_path)}
    command = build.compiler(nowhere)
    assert command is not None
    assert command == (sys.executable, "-m", "ziglang", "cc")
    assert build.name_of(command) == "ziglang, from the package index"
    assert build.is_possible(nowhere)
    assert is_correct(Library(build.load(tmp_path / "kernels", nowhere)))
    assert build.compiler({"PATH": str(tmp_path), "CC": "missing-cc"}) is None


def test_torch_is_warmed_where_the_compiled_kernel_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = ENGINES["cpu"].warm_modules
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(build, "compiler", lambda _environ: ("cc",))
    assert "torch" in warm(CpuOptions())
    assert "torch" not in warm(CpuOptions(kernel="on"))
    monkeypatch.setattr(build.platform, "machine", lambda: "x86_64")
    assert "torch" not in warm(CpuOptions())
    assert "torch" in warm(CpuOptions(precision="f16"))
    assert "torch" in warm(CpuOptions(kernel="off"))
    monkeypatch.setattr(build, "compiler", lambda _environ: None)
    assert "torch" in warm(CpuOptions())
