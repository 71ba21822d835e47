"""ttnn's operations in torch, so that tests without a card see numbers.

`operations.py` is the table. `shadow.py` carries its results beside the real ttnn's tensors on a mock card.
"""
