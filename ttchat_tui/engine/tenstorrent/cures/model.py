"""Model and card: memory, sizes that do not fit, lengths, traces, sampling, and calls that changed upstream."""

from __future__ import annotations

from typing import Final

from ttchat_tui.engine.tenstorrent.cures.cure import Cure

MODEL: Final[tuple[Cure, ...]] = (
    # -- memory
    Cure(
        r"Creating trace buffers of size",
        "trace_region",
        "The memory reserved for traces is too small.",
        "Set {setting[tt.trace_region_bytes]} to the size in the message, or {setting[tt.trace = false]}.",
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
        'Lower {setting[model.context_length]} or {setting[tt.max_batch_size]}, or use {setting[tt.optimizations = "performance"]}.',
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
        "Use fewer chips: MESH_DEVICE or {setting[tt.mesh_device]}.",
    ),
    Cure(
        r"Unsupported model .* on device|only supported on \d+ or \d+ devices|Unsupported number of devices|"
        r"Unsupported architecture|^KeyError: 'P\d+\w*'",
        "model_unsupported",
        "This checkout cannot run this model on this card.",
        "Choose another model or MESH_DEVICE; docs/tenstorrent.md has the table.",
    ),
    Cure(
        r"Batch size \S+ not supported|Batch size .* must be equal to max_batch_size|"
        r"decode batch .* must equal lane capacity",
        "batch_too_large",
        "tt-metal cannot decode this number of rows.",
        "Set {setting[tt.max_batch_size]} to 1, 2, 4, 8, 16 or 32 and load again.",
    ),
    # -- lengths
    Cure(
        r"must be a power of 2",
        "context_length",
        "tt-metal requires a power of two as the context length.",
        "Set {setting[model.context_length]} to 1024, 2048, 4096 …",
    ),
    Cure(
        r"must be a multiple of 2048",
        "context_length",
        "tt-metal cannot split a prompt of this length into chunks of 2,048 tokens.",
        "Set {setting[model.context_length]} to 2048, 4096, 8192 …, and unset MAX_PREFILL_CHUNK_SIZE.",
    ),
    Cure(
        r"(Padded prefill end idx|Sequence length|Max prompt length) .*exceeds|cannot exceed max_context_len",
        "prompt_too_long",
        "The conversation is longer than the context on the card.",
        "Load again with a larger {setting[model.context_length]}, or start a new conversation.",
    ),
    # -- traces and sampling
    Cure(
        r"MemoryConfig can only be obtained if the buffer is not null|(Tensor|Storage|Buffer) is not allocated",
        "reload_needed",
        "tt-metal used a tensor that it had already freed.",
        "Reload the model (/reload). If it happens again, use a newer tt-metal checkout, and delete this model's converted "
        "weights ({setting[tt.cache_dir]}).",
    ),
    Cure(
        r"trace_buffer != nullptr|Trace metadata missing",
        "trace_lost",
        "The trace of the decode step is lost.",
        "Reload the model (/reload). If it happens again, set {setting[tt.trace = false]}.",
    ),
    Cure(
        r"Allocating device buffers is unsafe|potentially unsafe due to the existence of an active trace",
        "trace_unsafe",
        "Memory was allocated on the card while a trace exists, which may overwrite it.",
        "If replies become garbage, set {setting[tt.trace = false]} and /reload.",
    ),
    Cure(
        r"TraceCoverageError|Required prefill trace is unavailable|after trace activation",
        "trace_coverage",
        "The tt_transformers package needs a shape that it did not record at load.",
        "Reload the model. With {setting[tt.trace = false]} every shape runs, but slower.",
    ),
    Cure(
        r"Currently only supporting greedy decoding|Sampling batch size must be a multiple of 32|"
        r"device sampling is not enabled|Sampling module not found in model",
        "device_sampling",
        "This tt-metal does not support this kind of device sampling.",
        'Set {setting[tt.sampling = "host"]} and load again.',
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
