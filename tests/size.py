"""Test sizes: few examples by default, many with TTCHAT_TEST_SIZE=nightly."""

from __future__ import annotations

import os
from typing import Final, TypeVar

T = TypeVar("T")

IS_NIGHTLY: Final = os.environ.get("TTCHAT_TEST_SIZE") == "nightly"


def sized(small: T, nightly: T) -> T:
    """`small` or `nightly`: the number of examples, tokens or texts of a test."""
    return nightly if IS_NIGHTLY else small
