"""All entries. The first match counts, so specific families and patterns come before general ones.

The texts are from tt-metal 2025-05 to 2026-11, ttnn 0.81.1, tt-umd 0.9.14, transformers 4.38 to 5.10, and from public
reports of owners.
"""

from __future__ import annotations

from typing import Final

from ttchat_tui.engine.tenstorrent.cures.card import CARD
from ttchat_tui.engine.tenstorrent.cures.cure import Cure
from ttchat_tui.engine.tenstorrent.cures.installation import INSTALLATION
from ttchat_tui.engine.tenstorrent.cures.model import MODEL
from ttchat_tui.engine.tenstorrent.cures.topology import TOPOLOGY

CURES: Final[tuple[Cure, ...]] = (*INSTALLATION, *TOPOLOGY, *CARD, *MODEL)
