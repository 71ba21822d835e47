"""Types of tensors in GGUF files: their names, and how many weights and bytes a block has.

Source: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class GgmlType(NamedTuple):
    name: str
    weights: int
    """In a block; a row is a whole number of blocks."""
    size: int
    """Bytes of a block."""


GGML_TYPES: Final[dict[int, GgmlType]] = {
    0: GgmlType("F32", 1, 4),
    1: GgmlType("F16", 1, 2),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    39: GgmlType("MXFP4", 32, 17),
}
"""By the number in the file. Types of weights only: no integers, and none that only activations have."""

UNREAD_TYPES: Final[dict[int, str]] = {
    4: "Q4_2, which ggml no longer has", 5: "Q4_3, which ggml no longer has", 9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16",
    26: "I32", 27: "I64", 28: "F64", 31: "Q4_0_4_4, which ggml no longer has", 32: "Q4_0_4_8, which ggml no longer has",
    33: "Q4_0_8_8, which ggml no longer has", 36: "IQ4_NL_4_4, which ggml no longer has",
    37: "IQ4_NL_4_8, which ggml no longer has", 38: "IQ4_NL_8_8, which ggml no longer has", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
"""Names of other types (`enum ggml_type` in ggml's include/ggml.h). A file with one is refused."""
