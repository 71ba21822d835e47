"""How much the tests try: little on each change, as much as a night allows where TTCHAT_TEST_SIZE is `nightly`."""

from __future__ import annotations

import os
from typing import Final, TypeVar

T = TypeVar("T")

IS_NIGHTLY: Final = os.environ.get("TTCHAT_TEST_SIZE") == "nightly"


def sized(small: T, nightly: T) -> T:
    """The examples, tokens or texts that a test takes."""
    return nightly if IS_NIGHTLY else small
