"""Native texts that owners of cards meet, each with its kind and a part of its cure.

From upstream's issues where a number is given, else from the libraries of ttnn 0.81.1 (tt-umd 0.9.14), from tt_transformers of
2025-05 to 2026-06, or from Python's own loader.
"""

from __future__ import annotations


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


class SafetensorError(Exception):
    """As safetensors calls it."""


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
    (fatal("Out of Memory: Not enough space to allocate 1077936128 B DRAM buffer across 12 banks, where each bank needs to store 89828352 B"), "out_of_memory", "context_length"),
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
    (ValueError("requested mesh (1, 8) does not fit system mesh (1, 1)"), "fabric", "MESH_DEVICE"),
    (ValueError("Batch size 3 not supported"), "batch_too_large", "max_batch_size"),
    (AssertionError("Batch size 1 must be equal to max_batch_size 4"), "batch_too_large", "max_batch_size"),
    (ValueError("decode batch 1 must equal lane capacity 4"), "batch_too_large", "max_batch_size"),
    (AssertionError("capped_warmup_seq_len must be a power of 2, but got 3000"), "context_length", "2048"),
    (AssertionError("Padded prefill end idx 8192 exceeds max seq len 4096"), "prompt_too_long", "context_length"),
    (AssertionError("Sequence length 5000 exceeds max seq len 4096"), "prompt_too_long", "context_length"),
    (AssertionError("Max prompt length 5000 exceeds model max seq len 4096"), "prompt_too_long", "context_length"),
    (AssertionError("max_prefill_len 131072 cannot exceed max_context_len 8192"), "prompt_too_long", "context_length"),
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
    # -- packages and libraries
    (ModuleNotFoundError("No module named 'torch'"), "missing_dependency", "pip install torch"),
    (ModuleNotFoundError("No module named 'transformers'"), "missing_dependency", "doctor"),
    (ModuleNotFoundError("No module named 'pydantic'"), "missing_dependency", "pip install pydantic"),
    (ModuleNotFoundError("No module named 'safetensors'"), "missing_dependency", "pip install safetensors"),
    (ModuleNotFoundError("No module named 'torch.distributed.tensor'"), "missing_dependency", "pip install --upgrade torch"),
    (ImportError("cannot import name 'TypeIs' from 'typing_extensions' (/x/typing_extensions.py)"), "missing_dependency", "pip install --upgrade typing_extensions"),
    (ModuleNotFoundError("No module named 'transformers.models.qwen3_next'"), "transformers_version", "5.10.2"),
    (AttributeError("module 'ttnn' has no attribute 'FabricTensixConfig'"), "adapter", "git checkout"),
    (AttributeError("module 'ttnn.experimental' has no attribute 'all_gather_async'"), "adapter", "own venv"),
    (ImportError("cannot import name 'ReplicateTensorToMesh' from 'ttnn' (/x/ttnn/__init__.py)"), "adapter", "git checkout"),
    (ModuleNotFoundError("No module named 'ttnn.model_preprocessing'"), "adapter", "git checkout"),
    (TypeError("__call__(): incompatible function arguments. The following argument types are supported:\n    1. __call__(self, input_tensor: ttnn.Tensor)"), "adapter", "git checkout"),
    (ImportError("libmpi.so.40: cannot open shared object file: No such file or directory"), "missing_dependency", "LD_LIBRARY_PATH"),
    (ImportError("/opt/tt/build/lib/libtt_metal.so: undefined symbol: MPIX_Comm_revoke"), "missing_dependency", "libmpi.so.40"),
    (ImportError("/opt/conda/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /x/ttnn/build/lib/libtt_metal.so)"), "missing_dependency", "libstdcxx-ng"),
    (ImportError("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /x/ttnn/_ttnn.so)"), "missing_dependency", "Ubuntu 22.04"),
    (ImportError("/opt/conda/lib/libstdc++.so.6: version `CXXABI_1.3.15' not found (required by /x/libtt_metal.so)"), "missing_dependency", "libstdcxx-ng"),
    (ImportError("libnuma.so.1: cannot open shared object file: No such file or directory"), "missing_dependency", "install_dependencies.sh"),
    (fatal("sfpi not found at /home/u/tt-metal/runtime/sfpi or /opt/tenstorrent/sfpi"), "missing_dependency", "github.com/tenstorrent/sfpi"),
    (RuntimeError("SFPI system package not found at /opt/tenstorrent/sfpi. Please install the SFPI system package."), "missing_dependency", "--sfpi"),  # pytorch2.0_ttnn#1042
    (RuntimeError("sh: 1: /x/runtime/sfpi/compiler/bin/riscv-tt-elf-g++: not found"), "missing_dependency", "--sfpi"),
    (RuntimeError("/x/sfpi/compiler/bin/riscv32-unknown-elf-g++: No such file or directory"), "missing_dependency", "--sfpi"),
    (RuntimeError("trisc0 link failure -- cmd: cd /home/user/.cache/tt-metal-cache"), "kernel_build", "sfpi release"),
    (fatal("/home/u/.cache/tt-metal-cache/0545e2f38f/kernels/ncrisc.elf: cannot map elf file into memory: No such file or directory"), "kernel_build", "TT_METAL_CACHE"),  # 24087
    (OSError("Can't load tokenizer for '/models/Llama'. If you were trying to load it from 'https://huggingface.co/models', make sure you don't have a local directory with the same name."), "model_missing", "tokenizer.json"),
    (Exception("No fallback tokenizer found for base model: Llama-3.2-1B"), "model_missing", "tokenizer.json"),
    (ValueError("Couldn't instantiate the backend tokenizer from one of: (1) a `tokenizers` library serialization file"), "model_missing", "tokenizer.json"),
    (FileNotFoundError("Neither model.safetensors.index.json nor model.safetensors found in /models/x"), "model_missing", "models pull"),
    (AssertionError("no checkpoint files found in /models/x"), "model_missing", "models pull"),
    (FileNotFoundError("Missing safetensors file /models/x/model-00002-of-00004.safetensors"), "model_missing", "models pull"),
    (SafetensorError("Error while deserializing header: incomplete metadata, file not fully covered"), "model_missing", "models pull"),
    (OSError("Error no file named model.safetensors, or pytorch_model.bin, found in directory /models/x."), "model_missing", "models pull"),
    (RuntimeError("Invalid device ID in TT_VISIBLE_DEVICES: 4.  Valid device identifiers are either integers or part of the BDF string. Valid integer IDs are between 0 and 0."), "environment", "0,1"),
    (RuntimeError("Invalid device identifier in TT_VISIBLE_DEVICES: x.  Valid device identifiers are either integers or part of the BDF string."), "environment", "0,1"),
    (RuntimeError("Invalid BDF in TT_VISIBLE_DEVICES: 0000:99:00.0. Valid BDFs are part of the cluster descriptor."), "environment", "0,1"),
    (RuntimeError("BDF pattern in TT_VISIBLE_DEVICES: 99 did not match any devices."), "environment", "0,1"),
    (RuntimeError("Invalid chip ID in TT_VISIBLE_DEVICES: 9. Valid ID needs to be in range of actual chip IDs in the cluster."), "environment", "0,1"),
    # -- chips that do not join
    (fatal("Physical chip id 0 not found in control plane chip mapping. You are calling for a chip outside of the fabric cluster. Check that your mesh graph descriptor specifies the correct topology"), "fabric", "one chip"),  # 32833, 33764
    (fatal("Physical chip id not found for eth coord"), "fabric", "one chip"),  # 48009
    (fatal("Custom fabric mesh graph descriptor path must be specified for CUSTOM cluster type"), "fabric", "TT_MESH_GRAPH_DESC_PATH"),
    (RuntimeError("TT_THROW @ /x/tt_cluster.cpp:1310: tt::exception\ninfo:\nUnknown cluster type\nbacktrace:\n --- tt::Cluster::initialize_control_plane()"), "fabric", "one chip"),  # 20897
    (fatal("No mesh graph descriptor found for cluster type"), "fabric", "one chip"),
    (fatal("Cannot find mesh graph descriptor for fabric type MESH and cluster type CUSTOM"), "fabric", "one chip"),
    (fatal("Mesh graph descriptor file not found: /x/p150_x2.textproto"), "fabric", "Unset it"),
    (fatal("Mesh graph descriptor file must use the .textproto format. The YAML format (MGD 1.0) has been deprecated."), "fabric", ".textproto"),
    (fatal("Graph specified in MGD could not fit in the discovered physical topology for mesh 0 under the given pinning constraints. Either relax pinnings or modify the MGD."), "fabric", "TT_VISIBLE_DEVICES=0"),  # 32990
    (fatal("Graph specified in MGD could not fit in the discovered physical topology. Inter-mesh mapping failed after 2 attempt(s)."), "fabric", "one chip"),  # 53037
    (fatal("Did not find chip for mesh row 1 and column 2", "found_chip"), "fabric", "one chip"),  # 21224
    (fatal("Did not find edge with expected number of East-West chips 2", "physical_chip_ids.size() == mesh_ew_size"), "fabric", "tt-topology"),  # 22560, tt-umd#855
    (fatal("Error during physical chip discovery: missing connections in 2D mesh. Please check ethernet connection status"), "fabric", "cables"),  # 32946
    (fatal("Expected 4 eth links from physical chip 1 to physical chip 2", "connected_eth_cores.size() >= edge.connected_chip_ids.size()"), "fabric", "one chip"),  # 38026
    (fatal("Expected 2 eth channels on M0D1 in direction E, but got 1"), "fabric", "one chip"),
    (fatal("Requested 4 channels between 0 and 1, but only 2 were resolved."), "fabric", "cables"),
    (fatal("Not enough active fabric eth channels for node (M0, D1) in direction E. Requested 2 routing planes but only have 1 eth channels"), "fabric", "cables"),
    (RuntimeError("Detected ethernet connections did not match expected device connectivity, try re-running tt-topology."), "fabric", "tt-topology"),
    (fatal("Physical Discovery Error: All ethernet connections should either be local or global. Please reset the system and try again."), "fabric", "tt-smi -r"),
    (fatal("STRICT system health: the live physical system descriptor does not match the factory descriptor, intramesh=1 intermesh=0 missing cable(s)."), "fabric", "cables"),
    (fatal("Requested mesh is too big and is not rotatable: MeshShape([1, 8]) and SystemMesh MeshShape([1, 4]), offset MeshCoordinate([0, 0])"), "fabric", "smaller"),
    (fatal("Requested mesh shape MeshShape([1, 8]) requires 8 devices, but only 4 devices are available in the system mesh MeshShape([2, 2])."), "fabric", "smaller"),
    (fatal("User has requested a reshape of the MeshDevice to shape: MeshShape([1, 4]), but it is not possible to form a physically connected mesh grid with the opened devices from the original shape: MeshShape([2, 2])."), "fabric", "smaller"),
    (fatal("FabricConfig requests topology Ring which requires more connectivity than MGD provides Line."), "fabric", "one chip"),
    (fatal("Fabric is being used but Device 2 is not active. This may indicate that the fabric was launched on a subset of the devices available in the system"), "fabric", "one chip"),
    (fatal("Fabric node ID not yet assigned for physical chip id 3"), "fabric", "one chip"),
    (fatal("Bus ID 67 not found.", "bus_id_it != ordered_bus_ids.end()"), "fabric", "one chip"),  # 46065
    (fatal("FabricNodeId (M0, D3) not found in logical-to-physical chip mapping. Check for a fabric mesh/topology mismatch"), "fabric", "one chip"),
    (fatal("Fabric node id (M0, D3) not found in mesh graph"), "fabric", "one chip"),
    (fatal("Fabric config FABRIC_1D requires at least 2 participating chips, but the opened mesh has 1 local device(s) on a single host."), "fabric", "one chip"),
    (RuntimeError("Chips with differing architectures detected. This is unsupported."), "fabric", "one chip"),
    (fatal("Ethernet Firmware Versions are expected to be consistent across all nodes in the cluster."), "fabric", "tt-flash"),
    (fatal("Firmware Bundle Versions are expected to be consistent across all nodes in the cluster."), "fabric", "tt-flash"),
    (RuntimeError("ETH FW version mismatch for device ASIC ID: 7 ETH core e0, expected: 7.1.0, found 6.14.0."), "fabric", "tt-flash"),
    (RuntimeError("Firmware bundle version mismatch for device 1: expected 19.8.1, got 18.7.0."), "fabric", "tt-flash"),
    # -- driver, permissions, state of the card
    (RuntimeError("Failed to open device /dev/tenstorrent/0: Permission denied"), "permission_denied", "udev"),
    (RuntimeError("PCIDevice - Cannot open /dev/tenstorrent/0. errno: 13"), "permission_denied", "udev"),
    (PermissionError(13, "Permission denied", "/dev/tenstorrent/0"), "permission_denied", "container"),
    (RuntimeError("Permission denied: /dev/hugepages-1G/device_0_tenstorrent"), "permission_denied", "group"),
    (RuntimeError("Did not find any PCI devices matching Tenstorrent vendor_id 0x1e52"), "no_card", "driver"),
    (RuntimeError("NOC address of a hugepage does not match the expected address. This usually means another process is already holding the sysmem NOC address space UMD requires"), "card_in_use", "doctor"),
    (RuntimeError("Failed to allocate TLB window. Note that the resource might be exhausted by some other hung process."), "card_in_use", "doctor"),
    (RuntimeError("Device-read-only page pinning requires KMD 2.9.0 or newer and an active IOMMU."), "driver_version", "tt-kmd"),
    (RuntimeError("Device 0: Timed out while waiting for ack when trying to launch Metal ethernet firmware on ethernet core e1-6. Last message status: 0x1. Retrain count: 0. Is the firmware updated? Minimum tt-firmware version is 18.2.0."), "firmware_version", "tt-flash"),  # 26235
    (RuntimeError("Device 0: eth base firmware not ready on core (20,25), cannot proceed with reset"), "firmware_version", "tt-flash"),
    (RuntimeError("ETH FW version 6.0.0 is older than minimum version needed for retraining 6.15.0. Skip retrain."), "firmware_version", "tt-flash"),
    (RuntimeError("The expected ETH firmware version 6.0.0 is older than the minimum supported version 7.0.0"), "firmware_version", "tt-flash"),
    (RuntimeError("Failed pinning pages. See logs above. Physical device ID: 0. Channel: 0."), "hugepages", "IOMMU"),
    (RuntimeError("SiliconSysmemManager::init_hugepage: physical_device_id: 0 ch: 0 creating hugepage mapping file failed."), "hugepages", "IOMMU"),
    (RuntimeError("NumHostMemChannels: 1 used for device_id: 0x401e less than target: 4. Workload will fail if it exceeds NumHostMemChannels. Increase Number of Hugepages."), "hugepages", "IOMMU"),
    (RuntimeError("Read 0xffffffff from PCIE: you should reset the board."), "device_hung", "tt-smi -r"),
    (RuntimeError("Read 0xffffffff over PCIe ID 0: the board should be reset."), "device_hung", "power"),  # tt-umd#2991
    (RuntimeError("NOC0 appears hung: you should reset the board."), "device_hung", "tt-smi -r"),
    (RuntimeError("Device hang: read 0xffffffff"), "device_hung", "tt-smi -r"),
    (RuntimeError("SIGBUS signal detected: Device access failed."), "device_hung", "tt-smi -r"),
    (RuntimeError("Timed out after waiting 1000 ms for ARC to respond"), "device_state", "tt-smi -r"),  # 30964
    (RuntimeError("Timed out after waiting 1000 ms for ARC to respond. Message code 0x90 with arguments 0x0 and 0x0"), "device_state", "tt-flash"),
    (RuntimeError("Timed out after waiting 300000 ms for ARC firmware on device 0 to become ready"), "device_state", "power"),
    (RuntimeError("Message code 0x90 not recognized: ARC message failed"), "device_state", "tt-smi -r"),
    (RuntimeError("Chip 0: ARC core failed to start"), "device_state", "tt-smi -r"),
    (RuntimeError("Timeout waiting for ARC msg request queue."), "device_state", "tt-smi -r"),
    (RuntimeError("Timeout waiting for ARC telemetry initialization (table pointer not published)."), "device_state", "tt-smi -r"),
    (RuntimeError("Firmware startup error on device 0 at core e0 over NOC0: scratch_status=0x1, postcode=0x2"), "device_state", "tt-smi -r"),
    (RuntimeError("Timed out waiting for ETH heartbeat on device ASIC ID: 7, ETH core e0 to change. Stuck at 0x1"), "device_state", "tt-flash"),
    (RuntimeError("ETH training timed out after 60000 ms, on eth core 0, 1"), "device_state", "tt-smi -r"),
    (RuntimeError("DRAM training failed for channel 3; Wormhole cannot retrain it."), "device_state", "power"),
    (RuntimeError("DRAM training for channel 3 timed out after 60000 ms"), "device_state", "power"),
    (RuntimeError("Timeout waiting for Ethernet core service remote IO request flush."), "device_state", "Reboot"),  # tt-umd#1846
    # -- the model
    (ValueError("seq_len (5000) must be a multiple of 2048."), "context_length", "MAX_PREFILL_CHUNK_SIZE"),
    (RuntimeError("TT_THROW @ /x/storage.hpp:50: tt::exception\ninfo:\nMemoryConfig can only be obtained if the buffer is not null\nbacktrace:\n"), "reload_needed", "newer"),  # tt-inference-server#145
    (fatal("Input Tensor is not allocated"), "reload_needed", "/reload"),
    (fatal("DeviceStorage is not allocated"), "reload_needed", "/reload"),
    (fatal("Buffer is not allocated"), "reload_needed", "/reload"),
]  # fmt: skip
