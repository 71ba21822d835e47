"""A checkout's generation of the Generator API and its pinned transformers, read from its source: this neither imports
ttnn nor opens a card."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.engine.tenstorrent.environment import GENERATOR, Checkout
from ttchat_tui.engine.tenstorrent.signatures import generation_of

MODEL_CONFIG: Final = Path("tt", "model_config.py")
"""In the library."""
_PIN: Final = re.compile(r"^transformers\s*==\s*([\w.]+)", re.MULTILINE)
_P100_FAULT: Final = re.compile(r"per_core_M\s*=\s*7\s+if\s+self\.device_name\s*==\s*[\"']P100[\"']")


def generation(checkout: Checkout) -> str:
    """`S1` to `S6` (S2 counts as S1), as `adapter.identify` will name it; empty if that will refuse it, or if the file
    cannot be read."""
    methods = _methods(checkout.library / GENERATOR)
    return generation_of(
        methods.get("prefill_forward_text", []),
        methods.get("decode_forward_text"),
        methods.get("decode_forward", []),
    )


def transformers_pin(checkout: Checkout) -> str:
    """The version of transformers that the checkout pins; empty if it pins none."""
    for file in (
        checkout.library / "requirements.txt",
        checkout.root / "tt_metal/python_env/requirements-dev.txt",
    ):
        if match := _PIN.search(_text(file)):
            return match[1]
    return ""


def p100_fault(model_config: Path) -> ErrorInfo | None:
    """That a P100 garbles short prompts with this source, and the cure; None if the source is right.

    From 2026-06 to 2026-07-22 a matmul of prompts that are padded to 128 tokens writes past its output (tt-metal #50656).

    Args:
        model_config: `MODEL_CONFIG` of the library, or the file of its module.
    """
    text = _text(model_config)
    match = _P100_FAULT.search(text)
    if match is None:
        return None
    line = text.count("\n", 0, match.start()) + 1
    return ErrorInfo(
        kind="model_unsupported",
        message="On a P100 this tt-metal garbles replies to prompts of up to 128 tokens (tt-metal #50656).",
        cure=f"Update the checkout to 2026-07-22 or later, or write per_core_M=1 in line {line} of {model_config}. Until "
        "then, a system prompt of more than 128 tokens avoids it.",
    )


def _text(file: Path) -> str:
    """Empty if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _methods(file: Path) -> dict[str, list[str]]:
    """Parameter names without `self` of each method of class Generator."""
    try:
        tree = ast.parse(_text(file))
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, list[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Generator":
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    names = [*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs]
                    found[item.name] = [each.arg for each in names if each.arg != "self"]
    return found
