#!/usr/bin/env bash
# install.sh PYTHON: put the stub compiler into the ttnn of PYTHON's venv, where it looks for its own. Runs again at will.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
package=$("$1" -c 'from importlib.util import find_spec; print(find_spec("ttnn").submodule_search_locations[0])')
bin=$package/runtime/sfpi/compiler/bin
if [ -e "$bin/riscv-tt-elf-g++" ] && [ ! -e "$bin/stub.o" ]; then
  echo "$bin holds a real compiler: left alone."
  exit
fi
mkdir -p "$bin" "$package/runtime/sfpi/include"
install -m 755 "$folder/riscv-tt-elf-g++" "$bin/"
riscv64-unknown-elf-gcc -march=rv32im -mabi=ilp32 -O1 -fno-inline -c "$folder/stub.c" -o "$bin/stub.o"
