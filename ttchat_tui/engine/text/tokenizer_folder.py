"""Tokenizer, chat template and end-of-turn ids from a model folder in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.text.json_file import read_json_if_there
from ttchat_tui.engine.text.template import TemplateData
from ttchat_tui.engine.text.tokenizer import ChatTokenizer


def tokenizer_from_folder(folder: Path) -> ChatTokenizer:
    """The tokenizer of a model folder.

    Raises:
        ModelLoadError: tokenizer.json is missing or broken.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ModelLoadError(
            f"{folder} has no tokenizer.json.",
            "Save the model's fast tokenizer there, or choose another model.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for a broken file
        raise ModelLoadError(f"{path} cannot be read: {error}.", "Download the model again.") from error
    return ChatTokenizer(tokenizer, _end_ids(folder, tokenizer))


def template_from_folder(folder: Path) -> TemplateData:
    """The chat template from chat_template.jinja, or from tokenizer_config.json."""
    config = read_json_if_there(folder / "tokenizer_config.json")
    config = {**read_json_if_there(folder / "special_tokens_map.json"), **config}
    names = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
    special = {name: text for name in names if (text := _token_text(config.get(name)))}
    return TemplateData(source=_template_source(folder, config), special=special)


def _template_source(folder: Path, config: Mapping[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    source = config.get("chat_template") or ""
    if isinstance(source, str):
        return source
    named = {entry["name"]: entry["template"] for entry in cast(list[dict[str, str]], source)}
    return named.get("default", "")


def _end_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        value: int | list[int] | None = read_json_if_there(folder / name).get("eos_token_id")
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    eos = _token_text(read_json_if_there(folder / "tokenizer_config.json").get("eos_token"))
    eos_id = tokenizer.token_to_id(eos) if eos else None
    return frozenset(found if eos_id is None else {*found, eos_id})


def _token_text(value: Any) -> str:
    """Special tokens are strings, or objects with their text in `content`."""
    if isinstance(value, dict):
        return str(cast(dict[str, Any], value).get("content", ""))
    return value if isinstance(value, str) else ""
