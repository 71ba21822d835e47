"""A checkout's generation of the Generator API and its pinned transformers, read from its source: this neither imports
ttnn nor opens a card."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from ttchat_tui.engine.tenstorrent.environment import GENERATOR

_REQUIREMENTS: Final = (
    Path("models/tt_transformers/requirements.txt"),
    Path("tt_metal/python_env/requirements-dev.txt"),
)
_PIN: Final = re.compile(r"^transformers\s*==\s*([\w.]+)", re.MULTILINE)


def generation(root: Path) -> str:
    """`S1` to `S6` by the rules of `adapter.identify` (S2 counts as S1); empty if that would refuse it, or if the file
    cannot be read."""
    methods = _methods(root / GENERATOR)
    prefill = methods.get("prefill_forward_text", [])
    text_decode = methods.get("decode_forward_text")
    decode = text_decode or methods.get("decode_forward", [])
    if prefill[:1] != ["tokens"] or decode[:2] != ["tokens", "start_pos"]:
        return ""
    if text_decode is not None:
        return "S4" if "reset_batch" in decode else "S3" if "empty_slots" in prefill else "S1"
    if "reload_inputs" in decode:
        return "S6"
    return "S5" if "reset_batch" in decode else ""


def transformers_pin(root: Path) -> str:
    """The version of transformers that the checkout pins; empty if it pins none."""
    for file in _REQUIREMENTS:
        try:
            match = _PIN.search((root / file).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if match:
            return match[1]
    return ""


def _methods(file: Path) -> dict[str, list[str]]:
    """Parameter names without `self` of each method of class Generator."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, list[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Generator":
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    names = [*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs]
                    found[item.name] = [each.arg for each in names if each.arg != "self"]
    return found
