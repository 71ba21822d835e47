"""What is installed: Python packages, shared libraries, the checkout, its compiler, models of the hub, folders."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.installation import install_command
from ttchat_tui.engine.tenstorrent.cures.cure import Cure

_FROM_TT_METAL: Final = "Start ttchat-tui in the venv of the tt-metal checkout"

INSTALLATION: Final[tuple[Cure, ...]] = (
    # -- the environment
    Cure(
        r"Please set HF_MODEL to a HuggingFace name|Only one of LLAMA_DIR or HF_MODEL",
        "environment",
        "tt-metal does not know which model to load.",
        "Choose one with --model or HF_MODEL, and unset LLAMA_DIR.",
    ),
    Cure(
        r"FAKE_DEVICE has been renamed",
        "environment",
        "FAKE_DEVICE is now called MESH_DEVICE.",
        "Unset FAKE_DEVICE; set MESH_DEVICE or {setting[tt.mesh_device]}.",
    ),
    Cure(
        r"Failed to determine TT-Metal root directory|Root Directory is not set",
        "environment",
        "The native code does not find tt-metal's files.",
        "Set TT_METAL_HOME to the root of the checkout, or TT_METAL_RUNTIME_ROOT if you only have the wheel.",
    ),
    Cure(
        r"(BDF|device ID|device identifier|chip ID) (in|pattern in) TT_VISIBLE_DEVICES",
        "environment",
        "TT_VISIBLE_DEVICES names a card that this machine does not have.",
        "Unset it, or give it numbers of /dev/tenstorrent, such as 0 or 0,1.",
    ),
    # -- Python packages
    Cure(
        r"No module named '?(llama_models|pi)\b",
        "missing_dependency",
        "tt-metal before 2026-06 needs the package llama_models, which is not installed.",
        f"{install_command('git+https://github.com/tenstorrent/llama-models.git@tt_metal_tag')}, or use a newer checkout.",
    ),
    Cure(
        r"cannot import name '\w+' from 'transformers|No module named '?transformers\."
        r"|rope_scaling. must be a dictionary with two fields|Transformers does not recognize this architecture",
        "transformers_version",
        "This version of transformers does not fit the tt-metal checkout.",
        "Install the one it is pinned to: 4.53.0 before 2026-06-22, 5.10.2 after (`ttchat-tui doctor` compares them).",
    ),
    Cure(
        r"module 'ttnn[\w.]*' has no attribute|cannot import name '\w+' from 'ttnn|No module named '?ttnn\.|"
        r"incompatible function arguments",
        "adapter",
        "The tt-metal checkout and the installed ttnn are of different releases.",
        "Check out tt-metal at the release of ttnn (`git checkout v0.81.1` for ttnn 0.81.1), or start ttchat-tui in the "
        "checkout's own venv; `ttchat-tui doctor` names both.",
    ),
    Cure(
        r"No module named '?(?P<module>models|ttnn|tt_transformers)\b",
        "missing_dependency",
        "tt-metal's package {module} is not installed here.",
        f"{_FROM_TT_METAL}, and name its root in TT_METAL_HOME or {{setting[tt.home]}}.",
    ),
    Cure(
        r"No module named '?(?P<whole>(?P<module>\w+)\.\w[\w.]*)",
        "missing_dependency",
        "The version of {module} that is installed here does not fit: it has no {whole}.",
        f"{_FROM_TT_METAL}, or: {{upgrade}}",
    ),
    Cure(
        r"cannot import name '(?P<name>\w+)' from '(?P<module>\w+)",
        "missing_dependency",
        "The version of {module} that is installed here does not fit: it has no {name}.",
        f"{_FROM_TT_METAL}, or: {{upgrade}}",
    ),
    Cure(
        r"No module named '?transformers\b",
        "missing_dependency",
        "The package transformers is not installed here.",
        f"{_FROM_TT_METAL}, or install the version that it pins: `ttchat-tui doctor` names it.",
    ),
    Cure(
        r"No module named '?(?P<module>\w+)",
        "missing_dependency",
        "The package {module} is not installed here.",
        f"{_FROM_TT_METAL}, or: {{install}}",
    ),
    # -- shared libraries
    Cure(
        r"libmpi\w*\.so[.\d]*|undefined symbol: \w*(OMPI|ompi|MPIX?)_",
        "missing_dependency",
        "ttnn does not find the Open MPI that it was built for (libmpi.so.40).",
        "Run tt-metal's install_dependencies.sh, or put the folder of libmpi.so.40 on LD_LIBRARY_PATH "
        "(/opt/openmpi-v5.0.7-ulfm/lib, or `ttnn.libs` beside the wheel).",
    ),
    Cure(
        r"GLIBC(XX)?_[\d.]+' not found|CXXABI_[\d.]+' not found",
        "missing_dependency",
        "The C++ library of this environment is older than the one that ttnn was built with.",
        "In conda: conda install -c conda-forge libstdcxx-ng, or use a plain venv. Otherwise Ubuntu 22.04 or newer.",
    ),
    Cure(
        r"(?P<library>\S+): cannot open shared object file",
        "missing_dependency",
        "The native code does not find the library {library}.",
        "Run tt-metal's install_dependencies.sh, or install the package of your distribution that has it.",
    ),
    # -- the kernel compiler
    Cure(
        r"(?i)sfpi (system package )?not found|riscv\S*-g\+\+: (not found|No such file)",
        "missing_dependency",
        "The compiler for the card's kernels (sfpi) is not installed.",
        "Install the sfpi release that `ttchat-tui doctor` names: github.com/tenstorrent/sfpi/releases (a .deb or .rpm, "
        "to /opt/tenstorrent/sfpi), or tt-metal's install_dependencies.sh --sfpi.",
    ),
    Cure(
        r"trisc\d? build failed|(compile|link) failure -- cmd|Failed to generate binaries",
        "kernel_build",
        "A kernel for the card did not compile: the compiler has the wrong version, or the cache is stale.",
        "rm -rf ~/.cache/tt-metal-cache (or $TT_METAL_CACHE), install the sfpi release that `ttchat-tui doctor` names, "
        "and load again.",
    ),
    Cure(
        r"cannot map elf file into memory",
        "kernel_build",
        "A compiled kernel disappeared from the cache: another process builds into the same folder.",
        "Give each process its own TT_METAL_CACHE, and load again.",
    ),
    # -- the hub and the model's files
    Cure(
        r"awaiting a review|403 Client Error",
        "model_gated",
        "The hub has not granted this account access to the model yet.",
        "Request access on the model's page, wait for the answer, then load again.",
    ),
    Cure(
        r"gated repo|GatedRepoError|401 Client Error|Access to model .* is restricted",
        "model_gated",
        "The hub requires you to accept a licence, or to log in.",
        "Accept the licence on the model's page, then `hf auth login` or set HF_TOKEN.",
    ),
    Cure(
        r"couldn't connect to 'https://huggingface\.co|LocalEntryNotFoundError|offline mode is enabled",
        "model_missing",
        "The model is not on this machine, and the hub cannot be reached.",
        "Fetch it first (`ttchat-tui models pull NAME`), or unset HF_HUB_OFFLINE and CI.",
    ),
    Cure(
        r"Can't load tokenizer for|No fallback tokenizer found|Couldn't instantiate the backend tokenizer",
        "model_missing",
        "The model's tokenizer is missing or incomplete.",
        "Fetch the model again (`ttchat-tui models pull NAME`); its folder needs tokenizer.json and "
        "tokenizer_config.json.",
    ),
    Cure(
        r"Neither model\.safetensors|no checkpoint files found|Missing safetensors file|"
        r"SafetensorError|no file named (pytorch_model|model)",
        "model_missing",
        "The model's weights are missing or incomplete.",
        "Fetch the model again (`ttchat-tui models pull NAME`).",
    ),
    # -- folders
    Cure(
        r"No space left on device|Disk quota exceeded",
        "disk_full",
        "There is no space for the converted weights, which take about as much as the model's own files.",
        "Free some space, or set TT_CACHE_PATH or {setting[tt.cache_dir]} to another folder.",
    ),
)
