#!/bin/sh
# The compiled kernel's tests with gcc's sanitizers: of addresses and undefined behaviour, then of its threads.
# Usage: sh scripts/sanitize_kernel.sh PYTHON, on Linux, in the root of the checkout. A finding ends the run.
set -e

if [ "$1" = --compile ]; then # As CC: the kernel with the sanitizers $2. At -O3 that takes minutes.
    kinds=$2
    shift 2
    case "$*" in
    *-shared*) exec gcc "$@" -O1 -g -fno-omit-frame-pointer -fsanitize="$kinds" -fno-sanitize-recover=all ;;
    *) exec gcc "$@" ;;
    esac
fi

python=$1
tests=tests/engine/cpu

# run KINDS LIBRARY TESTS…: the library has to be loaded first, into this process only; libstdc++ is for torch's exceptions.
run() {
    kinds=$1 library=$(gcc -print-file-name="$2")
    shift 2
    CC="sh $0 --compile $kinds" LD_PRELOAD="$library $(gcc -print-file-name=libstdc++.so.6)" ASAN_OPTIONS=detect_leaks=0 \
        TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" \
        setarch -R "$python" -c 'import os, sys
del os.environ["LD_PRELOAD"]
import pytest
sys.exit(pytest.main(["-q", "--capture=no", "-p", "no:cacheprovider", *sys.argv[1:]]))' "$@"
}

run address,undefined libasan.so $tests/test_native_formats.py $tests/test_native_step.py $tests/test_batch.py \
    $tests/test_kernels.py $tests/test_described_families.py $tests/test_native_passes.py
run thread libtsan.so $tests/test_native_step.py -k 'threads or batch'
