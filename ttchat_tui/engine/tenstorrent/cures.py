"""Errors of ttnn, tt-metal, the driver and the hub as data: a pattern of the native text, its meaning, and a cure.

The texts are from tt-metal 2025-05 to 2026-11, ttnn 0.81.1 and transformers 4.38 to 5.10. The first match counts, so
specific patterns come before general ones.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ttchat_tui.domain.errors import ErrorKind


class Cure(msgspec.Struct, frozen=True):
    part: str
    """A regular expression to search for in `TypeName: native text`."""
    kind: ErrorKind
    meaning: str
    cure: str


_RESET: Final = "Quit, run `tt-smi -r` (Galaxy: `tt-smi -glx_reset`), and start again."
_FROM_TT_METAL: Final = (
    "Start ttchat-tui in the venv of the tt-metal checkout, and name its root in TT_METAL_HOME or [tt] home."
)

CURES: Final[tuple[Cure, ...]] = (
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
        "Unset FAKE_DEVICE; set MESH_DEVICE or [tt] mesh_device.",
    ),
    Cure(
        r"Failed to determine TT-Metal root directory|Root Directory is not set",
        "environment",
        "The native code does not find tt-metal's files.",
        "Set TT_METAL_HOME to the root of the checkout, or TT_METAL_RUNTIME_ROOT if you only have the wheel.",
    ),
    Cure(
        r"No module named '?(models|llama_models|pi|ttnn|tt_transformers|loguru)\b",
        "missing_dependency",
        "A Python package of tt-metal is missing.",
        f"{_FROM_TT_METAL} llama_models (checkouts before 2026-06): "
        "pip install git+https://github.com/tenstorrent/llama-models.git@tt_metal_tag",
    ),
    Cure(
        r"cannot import name 'AutoModelForVision2Seq'|rope_scaling. must be a dictionary with two fields"
        r"|Transformers does not recognize this architecture",
        "transformers_version",
        "This version of transformers does not fit the tt-metal checkout.",
        "Install the one it is pinned to: 4.53.0 before 2026-06-22, 5.10.2 after (`ttchat-tui doctor` compares them).",
    ),
    # -- the hub
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
    # -- driver, firmware, who owns the card
    Cure(
        r"No chips detected in the cluster",
        "no_card",
        "No Tenstorrent card was found.",
        "Check that /dev/tenstorrent/* exists (driver loaded, card seated). A container needs --device /dev/tenstorrent.",
    ),
    Cure(
        r"CHIP_IN_USE|Waiting for KMD lock",
        "card_in_use",
        "Another process has the card open.",
        "End the process that `ttchat-tui doctor` names. If it names none: rm /dev/shm/TT_UMD_LOCK.*",
    ),
    Cure(
        r"Running UMD requires KMD version",
        "driver_version",
        "The kernel driver is older than this ttnn needs.",
        "Update tt-kmd (github.com/tenstorrent/tt-kmd), then load it or reboot.",
    ),
    Cure(
        r"Timed out while waiting for active ethernet core|Firmware update is required|"
        r"Firmware bundle version .* older than the minimum",
        "firmware_version",
        "The card's firmware is too old for this ttnn, or a link between chips did not come up.",
        "Run `tt-smi -r`. If that does not help, update the firmware with tt-flash, and the driver too.",
    ),
    Cure(
        r"Fabric Router Sync: Timeout",
        "fabric",
        "The links between the chips do not work.",
        "Run `tt-smi -r`, check `tt-topology` and the cables. MESH_DEVICE=N150 (or P150) runs on one chip.",
    ),
    Cure(
        r"(?i)mapping a hugepage failed|opened hugepage file has zero size|no huge page mount found|"
        r"failed to pin pages|IOMMU is required for sysmem without hugepages",
        "hugepages",
        "The driver has no huge pages, which it needs to reach the card.",
        "Install and start tenstorrent-hugepages (tt-system-tools) and reboot, or enable the IOMMU.",
    ),
    Cure(
        r"TIMEOUT: device timeout|device timeout in fetch queue wait",
        "device_hung",
        "The card stopped answering.",
        _RESET,
    ),
    Cure(
        r"Read unexpected run_mailbox value|waiting for physical cores to finish|"
        r"failed to initialize FW! Try resetting the board",
        "device_state",
        "The card is in a bad state, usually because the process before was killed.",
        f"{_RESET} Reboot if it happens again.",
    ),
    # -- files
    Cure(
        r"No space left on device|Disk quota exceeded",
        "disk_full",
        "There is no space for the converted weights, which take about as much as the model's own files.",
        "Free some space, or set TT_CACHE_PATH or [tt] cache_dir to another folder.",
    ),
    Cure(
        r"Read-only file system|Watcher failed to create|^PermissionError: (?!.*/dev/)",
        "not_writable",
        "tt-metal cannot write to one of its folders.",
        "Set TT_CACHE_PATH or [tt] cache_dir to a writable folder; the log names the one that is not.",
    ),
    # -- memory
    Cure(
        r"Creating trace buffers of size",
        "trace_region",
        "The memory reserved for traces is too small.",
        "Set [tt] trace_region_bytes to the size in the message, or [tt] trace = false.",
    ),
    Cure(
        r"Statically allocated circular buffers .*clash with L1 buffers|beyond max L1 size|"
        r"Not enough space to allocate .*L1",
        "l1_memory",
        "An operation does not fit into the cores' memory (L1) on this card.",
        "Halve MAX_PREFILL_CHUNK_SIZE (powers of 2, down to 4), or choose a model made for this card.",
    ),
    Cure(
        r"Not enough space to allocate",
        "out_of_memory",
        "The card does not have enough memory for this model with this context.",
        'Lower --context-length or [tt] max_batch_size, or use optimizations = "performance".',
    ),
    Cure(
        r"^MemoryError|DefaultCPUAllocator: can't allocate memory|Cannot allocate memory",
        "out_of_memory",
        "This machine ran out of memory while converting the weights (an 8B model needs more than 16 GB).",
        "Close other programs or add swap. Once the weights are converted, loading needs less.",
    ),
    # -- model and card do not fit
    Cure(
        r"n_(kv_)?heads must be divisible",
        "model_unsupported",
        "The model's attention heads cannot be split over this many chips.",
        "Use fewer chips: MESH_DEVICE or [tt] mesh_device.",
    ),
    Cure(
        r"Unsupported model .* on device|only supported on \d+ or \d+ devices|Unsupported number of devices|"
        r"Unsupported architecture|requested mesh .* does not fit system mesh|^KeyError: 'P\d+\w*'",
        "model_unsupported",
        "This checkout cannot run this model on this card.",
        "Choose another model or MESH_DEVICE; docs/tenstorrent.md has the table.",
    ),
    Cure(
        r"Batch size \S+ not supported|Batch size .* must be equal to max_batch_size|"
        r"decode batch .* must equal lane capacity",
        "batch_too_large",
        "tt-metal cannot decode this number of rows.",
        "Set [tt] max_batch_size to 1, 2, 4, 8, 16 or 32 and load again.",
    ),
    # -- lengths
    Cure(
        r"must be a power of 2",
        "context_length",
        "tt-metal requires a power of two as the context length.",
        "Set --context-length to 1024, 2048, 4096 …",
    ),
    Cure(
        r"(Padded prefill end idx|Sequence length|Max prompt length) .*exceeds|cannot exceed max_context_len",
        "prompt_too_long",
        "The conversation is longer than the context on the card.",
        "Load again with a larger --context-length, or start a new conversation.",
    ),
    # -- kernels and traces
    Cure(
        r"trisc\d? build failed|compile failure -- cmd|Failed to generate binaries",
        "kernel_build",
        "A kernel for the card did not compile: the compiler has the wrong version, or the cache is stale.",
        "rm -rf ~/.cache/tt-metal-cache (or $TT_METAL_CACHE), reinstall sfpi, and load again.",
    ),
    Cure(
        r"trace_buffer != nullptr|Trace metadata missing",
        "trace_lost",
        "The trace of the decode step is lost.",
        "Reload the model (/reload). If it happens again, set [tt] trace = false.",
    ),
    Cure(
        r"Allocating device buffers is unsafe|potentially unsafe due to the existence of an active trace",
        "trace_unsafe",
        "Memory was allocated on the card while a trace exists, which may overwrite it.",
        "If replies become garbage, set [tt] trace = false and /reload.",
    ),
    Cure(
        r"TraceCoverageError|Required prefill trace is unavailable|after trace activation",
        "trace_coverage",
        "The tt_transformers package needs a shape that it did not record at load.",
        "Reload the model. With [tt] trace = false every shape runs, but slower.",
    ),
    Cure(
        r"Currently only supporting greedy decoding|Sampling batch size must be a multiple of 32|"
        r"device sampling is not enabled|Sampling module not found in model",
        "device_sampling",
        "This tt-metal does not support this kind of device sampling.",
        'Set [tt] sampling = "host" and load again.',
    ),
    # -- this engine against a newer tt-metal
    Cure(
        r"page_table must be provided for chunked prefill",
        "adapter",
        "This release of tt-metal requires a page table in a call where ttchat-tui passes none.",
        "Please report it with the log. A checkout from the table in docs/tenstorrent.md works meanwhile.",
    ),
    Cure(
        r"reload_inputs|reset_batch is not part of the decode input-update contract|"
        r"must be block aligned|Paged KV cache has already been allocated|"
        r"not the exact manager-owned borrowed handle",
        "adapter",
        "The API of this tt-metal differs from those that ttchat-tui supports.",
        "Use a checkout from the table in docs/tenstorrent.md, or update ttchat-tui. `ttchat-tui doctor` shows what it found.",
    ),
    Cure(
        r"is terminal; construct a new executor|has unreleased transient resources",
        "reload_needed",
        "The model on the card cannot continue after the last error.",
        "Reload it (/reload).",
    ),
)
