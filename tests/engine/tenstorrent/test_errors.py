"""Each native text leads to its own sentence and cure; the backtrace stays off the screen."""

from __future__ import annotations

import logging
import re

import pytest

from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.tenstorrent.cures import CURES, Cure
from ttchat_tui.engine.tenstorrent.errors import cure_for, explain, explain_errors


def fatal(info: str, condition: str = "condition", file: str = "tt_metal/impl/some.cpp:101") -> RuntimeError:
    """A TT_FATAL as ttnn 0.81.1 raises it. Its backtrace contains the patterns of other entries on purpose."""
    return RuntimeError(
        f"TT_FATAL @ /project/{file}: {condition}\ninfo:\n{info}\nbacktrace:\n"
        " --- tt::tt_metal::detail::CreateDevices(std::vector<int> const&)\n --- reload_inputs(gated repo)\n"
    )


class GatedRepoError(OSError):
    """As huggingface_hub calls it."""


class LocalEntryNotFoundError(OSError):
    """As huggingface_hub calls it."""


NATIVE: list[tuple[BaseException, str, str]] = [
    (ValueError("Please set HF_MODEL to a HuggingFace name e.g. meta-llama/Llama-3.1-8B-Instruct"), "environment", "HF_MODEL"),
    (AssertionError("Please set HF_MODEL to a HuggingFace name"), "environment", "HF_MODEL"),
    (AssertionError("Only one of LLAMA_DIR or HF_MODEL should be set"), "environment", "unset LLAMA_DIR"),
    (ValueError("FAKE_DEVICE has been renamed to MESH_DEVICE. Please update"), "environment", "Unset FAKE_DEVICE"),
    (fatal("Failed to determine TT-Metal root directory. Set TT_METAL_RUNTIME_ROOT"), "environment", "TT_METAL_HOME"),
    (fatal("Root Directory is not set."), "environment", "TT_METAL_HOME"),
    (ModuleNotFoundError("No module named 'models'"), "missing_dependency", "TT_METAL_HOME"),
    (ModuleNotFoundError("No module named 'llama_models'"), "missing_dependency", "tt_metal_tag"),
    (ModuleNotFoundError("No module named 'models.tt_transformers'"), "missing_dependency", "TT_METAL_HOME"),
    (ModuleNotFoundError("No module named 'ttnn'"), "missing_dependency", "venv"),
    (ImportError("cannot import name 'AutoModelForVision2Seq' from 'transformers' (/x/__init__.py)"), "transformers_version", "4.53.0"),
    (ValueError("`rope_scaling` must be a dictionary with two fields, `type` and `factor`, got {...}"), "transformers_version", "4.53.0"),
    (ValueError("The checkpoint you are trying to load has model type `x` but Transformers does not recognize this architecture."), "transformers_version", "doctor"),
    (OSError("You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/m"), "model_gated", "licence"),
    (OSError("401 Client Error: Unauthorized for url: https://huggingface.co/x/resolve/main/config.json"), "model_gated", "HF_TOKEN"),
    (OSError("Access to model meta-llama/Llama-3.1-8B is restricted. You must have access to it"), "model_gated", "licence"),
    (GatedRepoError("Cannot access this repository."), "model_gated", "licence"),
    (OSError("403 Client Error: Forbidden for url: https://huggingface.co/x"), "model_gated", "wait"),
    (OSError("Your request to access model meta-llama/X is awaiting a review from the repo authors."), "model_gated", "wait"),
    (OSError("We couldn't connect to 'https://huggingface.co' to load the files"), "model_missing", "models pull"),
    (LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder for the specified revision."), "model_missing", "models pull"),
    (OSError("Cannot reach https://huggingface.co/api: offline mode is enabled."), "model_missing", "HF_HUB_OFFLINE"),
    (fatal("No chips detected in the cluster", "num_chips > 0", "tt_metal/llrt/tt_cluster.cpp:181"), "no_card", "/dev/tenstorrent"),
    (RuntimeError("Waiting for lock 'CHIP_IN_USE_0_PCIe' which is currently held by thread TID: 4242, PID: 4242"), "card_in_use", "doctor"),
    (RuntimeError("Waiting for KMD lock"), "card_in_use", "doctor"),
    (RuntimeError("Running UMD requires KMD version 2.5.0 or greater."), "driver_version", "tt-kmd"),
    (RuntimeError("Timed out while waiting for active ethernet core (x=1,y=0). Try resetting the board. Minimum tt-firmware version"), "firmware_version", "tt-flash"),
    (RuntimeError("Firmware update is required"), "firmware_version", "tt-flash"),
    (RuntimeError("Firmware bundle version 18.2.0 on the system is older than the minimum 18.7.0"), "firmware_version", "tt-flash"),
    (fatal("Fabric Router Sync: Timeout after 10000 ms. Device 1"), "fabric", "tt-topology"),
    (RuntimeError('Failed to write tensor data to "/cache/a.tensorbin": wrote 3/16 bytes (ferror=1, errno=28 "No space left on device")'), "disk_full", "TT_CACHE_PATH"),
    (OSError(122, "Disk quota exceeded", "/cache/N150"), "disk_full", "TT_CACHE_PATH"),
    (PermissionError(13, "Permission denied", "/cache/N150"), "not_writable", "cache_dir"),
    (RuntimeError("TT_THROW\ninfo:\nWatcher failed to create kernel name file"), "not_writable", "cache_dir"),
    (OSError(30, "Read-only file system", "/cache/N150"), "not_writable", "cache_dir"),
    (RuntimeError("Mapping a hugepage failed. (device: 0, 0/1 errno: Cannot allocate memory)."), "hugepages", "tt-system-tools"),
    (RuntimeError("Opened hugepage file has zero size, mapping might've failed!"), "hugepages", "tt-system-tools"),
    (RuntimeError("init_hugepage: no huge page mount found in /proc/mounts for hugepage_size: 1073741824"), "hugepages", "IOMMU"),
    (RuntimeError("Failed to pin pages for hugepage"), "hugepages", "IOMMU"),
    (RuntimeError("IOMMU is required for sysmem without hugepages."), "hugepages", "IOMMU"),
    (RuntimeError("TT_THROW @ /project/system_memory_manager.cpp:627: tt::exception\ninfo:\nTIMEOUT: device timeout, potential hang detected, the device is unrecoverable\nbacktrace:\n --- x"), "device_hung", "tt-smi -r"),
    (RuntimeError("device timeout in fetch queue wait, potential hang detected"), "device_hung", "glx_reset"),
    (RuntimeError("Read unexpected run_mailbox value: 0x40 (expected 0x80 or 0x0)"), "device_state", "tt-smi -r"),
    (fatal("Device 0: Timeout (10000 ms) waiting for physical cores to finish: (x=1,y=2)"), "device_state", "tt-smi -r"),
    (fatal("Device 0 init: failed to initialize FW! Try resetting the board."), "device_state", "Reboot"),
    (fatal("Creating trace buffers of size 60817408B on MeshDevice 1, but only 50000000B is allocated for trace region."), "trace_region", "trace_region_bytes"),
    (fatal("Out of Memory: Not enough space to allocate 1077936128 B DRAM buffer across 12 banks, where each bank needs to store 89828352 B"), "out_of_memory", "context-length"),
    (fatal("Out of Memory: Not enough space to allocate 2097152 B L1 buffer across 64 banks"), "l1_memory", "MAX_PREFILL_CHUNK_SIZE"),
    (fatal("Statically allocated circular buffers in program 12 clash with L1 buffers on core range [(x=0,y=0)]. L1 buffer allocated at 1"), "l1_memory", "MAX_PREFILL_CHUNK_SIZE"),
    (fatal("Statically allocated circular buffers on core range grow to 1634880 B which is beyond max L1 size of 1499136 B"), "l1_memory", "powers of 2"),
    (MemoryError(), "out_of_memory", "swap"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."), "out_of_memory", "swap"),
    (AssertionError("n_heads must be divisible by num_devices"), "model_unsupported", "fewer chips"),
    (AssertionError("n_kv_heads must be divisible by num_devices"), "model_unsupported", "fewer chips"),
    (ValueError("Unsupported model Llama-3.3-70B on device N150"), "model_unsupported", "table"),
    (AssertionError("Qwen2.5-7B is only supported on 2 or 4 devices, not 1"), "model_unsupported", "table"),
    (ValueError("Unsupported number of devices: 3"), "model_unsupported", "table"),
    (ValueError("Unsupported architecture: MambaForCausalLM"), "model_unsupported", "table"),
    (KeyError("P100"), "model_unsupported", "MESH_DEVICE"),
    (ValueError("requested mesh (1, 8) does not fit system mesh (1, 1)"), "model_unsupported", "MESH_DEVICE"),
    (ValueError("Batch size 3 not supported"), "batch_too_large", "max_batch_size"),
    (AssertionError("Batch size 1 must be equal to max_batch_size 4"), "batch_too_large", "max_batch_size"),
    (ValueError("decode batch 1 must equal lane capacity 4"), "batch_too_large", "max_batch_size"),
    (AssertionError("capped_warmup_seq_len must be a power of 2, but got 3000"), "context_length", "2048"),
    (AssertionError("Padded prefill end idx 8192 exceeds max seq len 4096"), "prompt_too_long", "context-length"),
    (AssertionError("Sequence length 5000 exceeds max seq len 4096"), "prompt_too_long", "context-length"),
    (AssertionError("Max prompt length 5000 exceeds model max seq len 4096"), "prompt_too_long", "context-length"),
    (AssertionError("max_prefill_len 131072 cannot exceed max_context_len 8192"), "prompt_too_long", "context-length"),
    (RuntimeError("TT_THROW @ /project/build.cpp:3: tt::exception\ninfo:\ntrisc2 build failed. Log: /x\nbacktrace:\n"), "kernel_build", "tt-metal-cache"),
    (RuntimeError("ncrisc compile failure -- cmd: riscv32-tt-elf-g++"), "kernel_build", "sfpi"),
    (RuntimeError("Failed to generate binaries for reader_unary"), "kernel_build", "sfpi"),
    (fatal("", "trace_buffer != nullptr"), "trace_lost", "trace = false"),
    (RuntimeError("Trace metadata missing for id 3"), "trace_lost", "reload"),
    (RuntimeWarning("Allocating device buffers is unsafe due to the existence of an active trace."), "trace_unsafe", "[tt] trace"),
    (RuntimeWarning("potentially unsafe due to the existence of an active trace"), "trace_unsafe", "[tt] trace"),
    (RuntimeError("TraceCoverageError: Required prefill trace is unavailable"), "trace_coverage", "trace = false"),
    (RuntimeError("prefill shape (1, 4096) was not compiled after trace activation"), "trace_coverage", "trace = false"),
    (AssertionError("Currently only supporting greedy decoding (temperature=0) on device"), "device_sampling", 'sampling = "host"'),
    (AssertionError("Sampling batch size must be a multiple of 32, got 1"), "device_sampling", 'sampling = "host"'),
    (AssertionError("Sampling module not found in model for sampling on device."), "device_sampling", 'sampling = "host"'),
    (ValueError("device sampling is not enabled for this executor"), "device_sampling", 'sampling = "host"'),
    (AssertionError("page_table must be provided for chunked prefill"), "adapter", "log"),
    (TypeError("Generator.decode_forward() missing 4 required keyword-only arguments: 'reload_inputs', 'reload_page_table'"), "adapter", "update"),
    (TypeError("reset_batch is not part of the decode input-update contract"), "adapter", "update"),
    (ValueError("start_pos must be block aligned"), "adapter", "update"),
    (RuntimeError("Paged KV cache has already been allocated"), "adapter", "update"),
    (ValueError("kv_cache is not the exact manager-owned borrowed handle"), "adapter", "update"),
    (RuntimeError("EagerExecutor is terminal; construct a new executor"), "reload_needed", "/reload"),
    (RuntimeError("executor has unreleased transient resources"), "reload_needed", "/reload"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind", "cure"), NATIVE, ids=lambda value: str(value)[:50])
def test_a_native_error_becomes_a_sentence_and_a_cure(error: BaseException, kind: str, cure: str) -> None:
    info = explain(error).info
    assert info.kind == kind
    assert cure in info.cure
    assert "backtrace" not in info.message
    assert "CreateDevices" not in info.message


def test_every_entry_of_the_table_is_reached_by_a_native_text() -> None:
    texts = [f"{type(error).__name__}: {error}" for error, _, _ in NATIVE]
    assert {cure_for(text) for text in texts} == set(CURES)


@pytest.mark.parametrize("cure", CURES, ids=lambda cure: cure.part[:40])
def test_every_alternative_of_a_pattern_has_an_example(cure: Cure) -> None:
    texts = [f"{type(error).__name__}: {error}".partition("\nbacktrace:")[0] for error, _, _ in NATIVE]
    insensitive, flags = cure.part.removeprefix("(?i)"), re.DOTALL
    if insensitive != cure.part:
        flags |= re.IGNORECASE
    looked_for = [part for part in re.split(r"\|(?![^(]*\))", insensitive) if part]
    assert [part for part in looked_for if not any(re.search(part, text, flags) for text in texts)] == []


def test_the_figures_of_a_tt_fatal_stay_and_its_backtrace_goes_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        reported = explain(fatal("Out of Memory: Not enough space to allocate 1077936128 B DRAM buffer"))
    assert "1077936128 B" in str(reported)
    assert "CreateDevices" not in str(reported)
    assert "CreateDevices" in caplog.text


def test_an_unknown_tt_fatal_shows_its_info_block_only() -> None:
    reported = explain(fatal("Something new\nwith two lines"))
    assert str(reported) == "The Tenstorrent engine failed: Something new with two lines"
    assert reported.info.kind == "native"


def test_the_cause_is_searched_when_the_error_itself_matches_nothing() -> None:
    error = ValueError("could not load the configuration")
    error.__cause__ = OSError("401 Client Error: Unauthorized")
    assert explain(error).info.kind == "model_gated"


def test_an_error_of_our_own_passes_unchanged() -> None:
    with pytest.raises(LoadCancelled), explain_errors():
        raise LoadCancelled("cancelled")


def test_native_errors_leave_the_block_explained() -> None:
    with pytest.raises(EngineError, match="stopped answering"), explain_errors():
        raise fatal("TIMEOUT: device timeout, potential hang detected")
