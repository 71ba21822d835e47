"""Tokenizer, chat template and end-of-turn ids from a model folder in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.text.json_file import check_text, read_json_if_there, read_text
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
    check_text(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except (
        BaseException
    ) as error:  # tokenizers raises bare Exception for a broken file, and panics for some merges
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
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
    """The first place that has one, in transformers' order; empty if none has."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return read_text(path)
    # Processors of models that see images have a file of their own for it.
    of_processor = read_json_if_there(folder / "chat_template.json")
    source = chosen_template(of_processor.get("chat_template")) or chosen_template(
        config.get("chat_template")
    )
    if source:
        return source
    named = {
        path.stem: read_text(path) for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))
    }
    return chosen_template(named)


def chosen_template(value: Any) -> str:
    """The template to use of a text, of several by name, or of a list of entries with `name` and `template`: that called
    `default`, else the first. Empty if it is none of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        entries = [cast(dict[str, Any], entry) for entry in cast(list[Any], value) if isinstance(entry, dict)]
        value = {str(entry.get("name")): entry.get("template") for entry in entries}
    if not isinstance(value, dict):
        return ""
    texts = {
        name: text for name, text in cast(dict[str, Any], value).items() if isinstance(text, str) and text
    }
    return texts.get("default") or next(iter(texts.values()), "")


def _end_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """What the folder's files call an end: a number, a list of them, or nothing; in config.json also of the text part of a
    model that sees images."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        config = read_json_if_there(folder / name)
        for part in (config, config.get("text_config"), config.get("llm_config")):
            if isinstance(part, dict):
                found.update(_ids(cast(dict[str, Any], part).get("eos_token_id")))
    eos = _token_text(read_json_if_there(folder / "tokenizer_config.json").get("eos_token"))
    eos_id = tokenizer.token_to_id(eos) if eos else None
    return frozenset(found if eos_id is None else {*found, eos_id})


def _ids(value: Any) -> list[int]:
    values = cast(list[Any], value) if isinstance(value, list) else [value]
    return [each for each in values if type(each) is int and each >= 0]


def _token_text(value: Any) -> str:
    """Special tokens are strings, or objects with their text in `content`."""
    if isinstance(value, dict):
        return str(cast(dict[str, Any], value).get("content", ""))
    return value if isinstance(value, str) else ""
