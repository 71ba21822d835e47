"""Driver, firmware, permissions, who owns the card, and the state that it is in."""

from __future__ import annotations

from typing import Final

from ttchat_tui.engine.tenstorrent.cures.cure import RESET, Cure

CARD: Final[tuple[Cure, ...]] = (
    Cure(
        r"/dev/(tenstorrent|hugepages)\S*.*([Pp]ermission denied|errno: 13\b)|"
        r"([Pp]ermission denied|\[Errno 13\]).*/dev/(tenstorrent|hugepages)",
        "permission_denied",
        "This user may not open the card.",
        "`ls -l /dev/tenstorrent` shows who may. Install tt-kmd's udev rules or add yourself to that group and log in "
        "again; a container needs --device /dev/tenstorrent.",
    ),
    Cure(
        r"Read-only file system|Watcher failed to create|^PermissionError: ",
        "not_writable",
        "tt-metal cannot write to one of its folders.",
        "Set TT_CACHE_PATH or {setting[tt.cache_dir]} to a writable folder; the log names the one that is not.",
    ),
    Cure(
        r"No chips detected in the cluster|Did not find any PCI devices matching Tenstorrent",
        "no_card",
        "No Tenstorrent card was found.",
        "Check that /dev/tenstorrent/* exists (driver loaded, card seated) and that you may open it. A container needs "
        "--device /dev/tenstorrent.",
    ),
    Cure(
        r"CHIP_IN_USE|Waiting for KMD lock|already holding the sysmem NOC address|Failed to allocate TLB window",
        "card_in_use",
        "Another process has the card open.",
        "End the process that `ttchat-tui doctor` names. If it names none: rm /dev/shm/TT_UMD_LOCK.*",
    ),
    Cure(
        r"Running UMD requires KMD version|requires KMD \d",
        "driver_version",
        "The kernel driver is older than this ttnn needs.",
        "Update tt-kmd (github.com/tenstorrent/tt-kmd), then load it or reboot.",
    ),
    Cure(
        r"Timed out while waiting for active ethernet core|Firmware update is required|"
        r"Timed out while waiting for ack when trying to launch Metal ethernet firmware|"
        r"eth base firmware (not )?ready|ETH FW version \S+ is older|expected ETH firmware version|"
        r"Firmware bundle version .* older than the minimum",
        "firmware_version",
        "The card's firmware is too old for this ttnn, or a link between chips did not come up.",
        "Run `tt-smi -r`. If that does not help, update the firmware with tt-flash, and the driver too.",
    ),
    Cure(
        r"(?i)mapping a hugepage failed|opened hugepage file has zero size|no huge page mount found|"
        r"failed to pin pages|failed pinning pages|IOMMU is required for sysmem without hugepages|"
        r"creating hugepage mapping file failed|NumHostMemChannels",
        "hugepages",
        "The driver has no huge pages, which it needs to reach the card.",
        "Install and start tenstorrent-hugepages (tt-system-tools) and reboot, or enable the IOMMU.",
    ),
    Cure(
        r"(?i)Read 0x\w+ (from|over) PCIe|NOC\d? appears hung|hang: read 0xffffffff|SIGBUS signal detected|"
        r"TIMEOUT: device timeout|device timeout in fetch queue wait",
        "device_hung",
        "The card stopped answering.",
        f"{RESET} If it happens again: power the machine off and on, and check the card's seat and its power cables.",
    ),
    Cure(
        r"for ARC\b|ARC message|ARC core|Firmware startup error|"
        r"Timed out waiting for ETH heartbeat|ETH training timed out|DRAM training (failed|for channel)",
        "device_state",
        "The card's own processor does not answer.",
        f"{RESET} If it happens again: power the machine off and on, then update the firmware with tt-flash.",
    ),
    Cure(
        r"Read unexpected run_mailbox value|waiting for physical cores to finish|"
        r"failed to initialize FW! Try resetting the board|Timeout waiting for Ethernet core service",
        "device_state",
        "The card is in a bad state, usually because the process before was killed.",
        f"{RESET} Reboot if it happens again.",
    ),
)
