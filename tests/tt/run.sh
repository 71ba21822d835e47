#!/bin/sh
# `make test-tt`: a venv with ttnn, the stub compiler in it, then the tests of this folder. What cannot be had on this
# machine is said, and is no failure. Arguments go to pytest.
set -eu
venv=${VENV:-.venv-tt}
here=tests/tt

skip() {
  echo "test-tt skipped: $1"
  exit 0
}

# ttnn has wheels for Linux on x86-64, and for these two versions of Python.
find_python() {
  for version in 3.12 3.10; do
    for python in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
      if "$python" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
        echo "$python"
        return
      fi
    done
  done
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "ttnn has wheels for Linux on x86-64 only, this is $(uname -sm)."
command -v riscv64-unknown-elf-gcc >/dev/null \
  || skip "riscv64-unknown-elf-gcc is missing; on Debian and Ubuntu: sudo apt install gcc-riscv64-unknown-elf"

if [ ! -e "$venv/.installed" ] || [ "$here/requirements.txt" -nt "$venv/.installed" ] \
    || [ pyproject.toml -nt "$venv/.installed" ]; then
  python=$(find_python)
  [ -n "$python" ] || skip "no python3.12 or python3.10 found; ttnn has wheels for these."
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  echo "Installing ttnn and torch into $venv: gigabytes, minutes, once."
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check -r "$here/requirements.txt" --editable . \
    || skip "the packages of $here/requirements.txt could not be installed into $venv."
  touch "$venv/.installed"
fi
bash "$here/mock/install.sh" "$venv/bin/python"

if [ -z "${TT_METAL_HOME:-}" ]; then
  echo "TT_METAL_HOME is not set: the engine's own tests are skipped. They want a tt-metal checkout of 2026-06."
fi
exec "$venv/bin/python" -m pytest -o addopts= -p no:cacheprovider -v -rs --durations=5 "$here" "$@"
