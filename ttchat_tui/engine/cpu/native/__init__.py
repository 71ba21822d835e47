"""The layers in C, compiled on the user's machine. Why: docs/decisions/016."""
