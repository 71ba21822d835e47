"""What `doctor` reports about HF_MODEL and the hub's token."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ttchat_tui.domain.user_paths import expanded
from ttchat_tui.engine.doctor import Check
from ttchat_tui.models import hub_settings


def hub_checks(environ: Mapping[str, str]) -> Iterator[Check]:
    """HF_MODEL and the hub's token."""
    name = environ.get("HF_MODEL", "").strip()
    if not name:
        yield Check("HF_MODEL", "ok", "not set: --model, config.toml or the model last used decides")
    elif os.path.isdir(expanded(name)):
        yield from _folder(expanded(name))
    elif not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        yield Check("HF_MODEL", "wrong", f"{name!r} is neither a folder nor org/name", "unset HF_MODEL")
    elif hub_settings.cached_snapshot(name, "main", environ) is not None:
        yield Check("HF_MODEL", "ok", f"{name}, in the hub's cache")
    elif hub_settings.is_offline(environ):
        cure = f"HF_HUB_OFFLINE=0 ttchat-tui models pull {name}"
        yield Check("HF_MODEL", "wrong", f"{name} is not on this machine, and HF_HUB_OFFLINE is set", cure)
    else:
        yield Check(
            "HF_MODEL", "note", f"{name} is not on this machine yet", f"ttchat-tui models pull {name}"
        )
    token = hub_settings.token(environ)
    fact = "found" if token else "none: gated models (Llama, Gemma) cannot be fetched"
    cure = "" if token else "Accept the licence on the model's page, then `hf auth login` or set HF_TOKEN."
    yield Check("hub token", "ok" if token else "note", fact, cure)


def _folder(folder: Path) -> Iterator[Check]:
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        yield Check("HF_MODEL", "wrong", f"{folder} lacks {', '.join(missing)}", "Fetch the model again.")
    else:
        yield Check("HF_MODEL", "ok", str(folder))
