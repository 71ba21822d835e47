"""Weights packed for matrix.h: tiles of 32 outputs by 32 inputs, four inputs of each output adjacent."""

from __future__ import annotations

from typing import Final

import torch

from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP, Int4Blocks

WIDTH: Final = 32
"""Outputs of a tile."""
_LANES: Final = 16
"""Outputs of half a tile."""
_LARGEST: Final = 127.0
_ZERO: Final = 128
_BLOCK: Final = 4096
"""Rows converted at once: a whole head in float32 is a large part of a small model's memory."""


def fits(outputs: int, inputs: int) -> bool:
    """Whether a matrix of this shape can be packed."""
    return outputs % WIDTH == 0 and inputs % GROUP == 0


def packed_4_bit(blocks: Int4Blocks, *, is_paired: bool = False) -> torch.Tensor:
    """uint8 [outputs / 32, inputs / 32, 2, 320]: codes, two to a byte, then float16 scales and minima."""
    outputs, groups = blocks.scale.shape
    codes = tensor_of(blocks.codes).view(outputs // _LANES, _LANES, groups, 4, 2, 4)
    both = codes[:, :, :, :, 0] | codes[:, :, :, :, 1] << 4
    scale, minimum = tensor_of(blocks.scale), tensor_of(blocks.minimum)
    parts = (_by_tile(both.flatten(3)), _halves(scale), _halves(minimum))
    return _in_tiles(torch.cat(parts, dim=2), is_paired)


def packed_8_bit(weight: torch.Tensor, *, is_paired: bool = False) -> torch.Tensor:
    """Round float [outputs, inputs] to 255 levels, with one scale for each 32 inputs. Exact for Q8_0, which has the same levels.

    Returns:
        uint8 [outputs / 32, inputs / 32, 1088]: codes of the two halves alternately, then their float16 scales.
    """
    parts = [
        _in_8_bits(weight[start : start + _BLOCK].float()) for start in range(0, weight.shape[0], _BLOCK)
    ]
    codes, scales = (_in_tiles(torch.cat(part), is_paired) for part in zip(*parts, strict=True))
    in_turn = codes.view(*codes.shape[:3], 8, 64).transpose(2, 3).flatten(2)
    return torch.cat((in_turn, scales.flatten(2)), dim=2)


def _in_8_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [halves, groups, 512] and scales [halves, groups, 32] as bytes."""
    outputs, groups = weight.shape[0], weight.shape[1] // GROUP
    grouped = weight.view(outputs, groups, GROUP)
    # The scale is rounded first, to its stored type, so that the codes compensate for it.
    scale = (grouped.abs().amax(dim=2) / _LARGEST).half()
    steps = torch.where(scale > 0, scale.float(), 1.0).unsqueeze(2)
    codes = (grouped / steps).round_().clamp_(-_LARGEST, _LARGEST).add_(_ZERO).to(torch.uint8)
    quads = codes.view(outputs // _LANES, _LANES, groups, GROUP)
    return _by_tile(quads), _halves(scale)


def _by_tile(codes: torch.Tensor) -> torch.Tensor:
    """[halves, 16, groups, bytes] → [halves, groups, bytes * 16]: four bytes of each of the 16 outputs, then the next four."""
    halves, lanes, groups, size = codes.shape
    return codes.view(halves, lanes, groups, size // 4, 4).permute(0, 2, 3, 1, 4).reshape(halves, groups, -1)


def _halves(values: torch.Tensor) -> torch.Tensor:
    """[outputs, groups] → uint8 [halves, groups, 32]: 16 float16 numbers."""
    halves = values.half().view(-1, _LANES, values.shape[1]).transpose(1, 2).contiguous()
    return halves.view(torch.uint8)


def _in_tiles(halves: torch.Tensor, is_paired: bool) -> torch.Tensor:
    """[halves, groups, bytes] → [tiles, groups, 2, bytes]. If `is_paired`, tile i joins half i of gate with half i of up."""
    tiles = len(halves) // 2
    if is_paired:
        return halves.view(2, tiles, *halves.shape[1:]).permute(1, 2, 0, 3).contiguous()
    return halves.view(tiles, 2, *halves.shape[1:]).transpose(1, 2).contiguous()
