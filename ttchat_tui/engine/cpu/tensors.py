"""numpy arrays as torch tensors."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray


def tensor_of(array: NDArray[Any]) -> torch.Tensor:
    """Shares the array's memory."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]
