"""Templates and ends of a turn from the files of a model folder, in all places and forms that they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder
from ttchat_tui.engine.text.tokenizer_gguf import template_from_gguf

A, B = "A{{ messages }}", "B{{ messages }}"


def folder(path: Path, **files: Any) -> Path:
    """JSON files, with `__` for the dot of their names; texts are written as they are."""
    for name, content in files.items():
        place = path / name.replace("__", ".").replace("___", "/")
        place.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (A, A),
        ([{"name": "default", "template": A}, {"name": "tool_use", "template": B}], A),
        ([{"name": "tool_use", "template": B}], B),
        ([{"name": "rag", "template": A}, {"name": "default", "template": B}], B),
        ({"default": A, "tool_use": B}, A),
        ({"tool_use": B}, B),
        ([{"name": "default"}, "text", None, {"template": B}], B),
        ([], ""),
        ({}, ""),
        (None, ""),
        (7, ""),
        (["x"], ""),
        ({"default": None}, ""),
    ],
)
def test_the_template_of_a_tokenizer_config_has_many_forms(
    template: Any, expected: str, tmp_path: Path
) -> None:
    assert (
        template_from_folder(folder(tmp_path, tokenizer_config__json={"chat_template": template})).source
        == expected
    )


def test_a_template_is_found_in_every_place_and_the_file_for_it_comes_first(tmp_path: Path) -> None:
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("more")
    assert template_from_folder(tmp_path).source == "more"
    folder(tmp_path, tokenizer_config__json={"chat_template": "config"})
    assert template_from_folder(tmp_path).source == "config"
    folder(tmp_path, chat_template__json={"chat_template": "processor"})
    assert template_from_folder(tmp_path).source == "processor"
    folder(tmp_path, chat_template__jinja="own file")
    assert template_from_folder(tmp_path).source == "own file"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"tokenizer.chat_template": A, "tokenizer.chat_template.tool_use": B}, A),
        ({"tokenizer.chat_template.tool_use": B, "tokenizer.chat_templates": ["tool_use"]}, B),
        ({"tokenizer.chat_template": ""}, ""),
        ({"tokenizer.chat_template": ["x"]}, ""),
        ({}, ""),
    ],
)
def test_the_template_of_a_gguf_file_may_have_a_name(metadata: dict[str, Any], expected: str) -> None:
    assert template_from_gguf(metadata).source == expected


@pytest.mark.parametrize(
    "name",
    ["chat_template__jinja", "tokenizer_config__json", "chat_template__json", "special_tokens_map__json"],
)
def test_a_file_that_is_no_text_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name.replace("__", ".")).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelLoadError, match=name.replace("__", ".")):
        template_from_folder(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, {1}),
        ([1, 2], {1, 2}),
        (None, set()),
        ([], set()),
        ([None, 1], {1}),
        ("2", set()),
        (True, set()),
        (-1, set()),
        ({"id": 1}, set()),
        (1.0, set()),
    ],
)
@pytest.mark.parametrize("file", ["config__json", "generation_config__json"])
def test_an_end_is_a_number_a_list_or_nothing(
    file: str, value: Any, expected: set[int], tmp_path: Path
) -> None:
    tokenizer_in(tmp_path)
    assert tokenizer_from_folder(folder(tmp_path, **{file: {"eos_token_id": value}})).end_ids == expected


def test_the_end_of_the_text_part_counts(tmp_path: Path) -> None:
    tokenizer_in(tmp_path)
    folder(
        tmp_path, config__json={"text_config": {"eos_token_id": [2]}, "vision_config": {"eos_token_id": 1}}
    )
    assert tokenizer_from_folder(tmp_path).end_ids == {2}


def test_a_tokenizer_whose_merges_do_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    tokenizer_in(tmp_path)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["model"]["merges"] = [["a", "b"]]
    folder(tmp_path, tokenizer__json=data)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
        tokenizer_from_folder(tmp_path)


def tokenizer_in(path: Path) -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "c": 2}, merges=[]))
    made.decoder = decoders.ByteLevel()
    made.save(str(path / "tokenizer.json"))
