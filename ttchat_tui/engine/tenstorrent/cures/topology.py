"""Chips that do not join into the mesh: cables, links, and descriptions of another machine. Each cure offers one chip."""

from __future__ import annotations

from typing import Final

from ttchat_tui.engine.tenstorrent.cures.cure import ONE_CHIP, Cure

TOPOLOGY: Final[tuple[Cure, ...]] = (
    Cure(
        r"(?i)requested mesh is too big|requested mesh .* does not fit system mesh|"
        r"requested mesh shape .* requires \d+ devices, but only \d+|not possible to form a physically connected mesh",
        "fabric",
        "The mesh has more chips than this machine joins.",
        f"Choose a smaller {{setting[tt.mesh_device]}} (MESH_DEVICE). {ONE_CHIP}",
    ),
    Cure(
        r"Custom fabric mesh graph descriptor path must be specified|Unknown cluster type|"
        r"No mesh graph descriptor found for cluster type|Cannot find mesh graph descriptor",
        "fabric",
        "tt-metal does not know this combination of cards.",
        f"{ONE_CHIP} For all of them: a newer tt-metal, or TT_MESH_GRAPH_DESC_PATH names their mesh graph descriptor.",
    ),
    Cure(
        r"[Mm]esh graph descriptor file (not found|must use the \.textproto)",
        "fabric",
        "TT_MESH_GRAPH_DESC_PATH names a file that does not exist or has an old format.",
        f"Unset it, or name a .textproto from tt_metal/fabric/mesh_graph_descriptors. {ONE_CHIP}",
    ),
    Cure(
        r"Graph specified in MGD could not fit|Physical chip id \d* ?not found|Did not find chip for mesh row|"
        r"Did not find edge with expected number|requires more connectivity than MGD provides|"
        r"Fabric is being used but Device|Fabric node ID not yet assigned|Bus ID \d+ not found|"
        r"not found in (logical-to-physical chip mapping|mesh graph)|requires at least 2 participating chips",
        "fabric",
        "The chips of this machine are not connected as tt-metal expects.",
        f"{ONE_CHIP} For several: check the cables, and `tt-topology` (Wormhole).",
    ),
    Cure(
        r"missing connections in 2D mesh|Expected \d+ eth (links|channels)|Requested \d+ channels between|"
        r"ethernet connections did not match expected|Not enough active fabric eth channels|"
        r"Physical Discovery Error|Fabric Router Sync: Timeout|STRICT system health",
        "fabric",
        "Links between the chips are down or missing.",
        f"{ONE_CHIP} For several: run `tt-smi -r`, check the cables, and `tt-topology` (Wormhole).",
    ),
    Cure(
        r"Chips with differing architectures|Firmware [Vv]ersions are expected to be consistent|"
        r"Firmware Bundle Versions are expected to be consistent|ETH FW version mismatch|"
        r"Firmware bundle version mismatch",
        "fabric",
        "The cards of this machine differ in their generation or in their firmware.",
        f"{ONE_CHIP} For several: flash the same firmware on each with tt-flash.",
    ),
)
