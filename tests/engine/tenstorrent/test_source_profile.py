"""The generation of a checkout is read from its source, by the rules of the adapter at run time."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttchat_tui.engine.tenstorrent.source_profile import generation, transformers_pin

OLD = "def prefill_forward_text(self, tokens, page_table=None, kv_cache=None, prompt_lens=None): ..."
SLOTS = "def prefill_forward_text(self, tokens, page_table=None, empty_slots=None, **kwargs): ..."
VISION = "def decode_forward(self, start_pos, tokens, masks): ..."


@pytest.mark.parametrize(
    ("label", "methods"),
    [
        ("S1", (OLD, VISION, "def decode_forward_text(self, tokens, start_pos, sampling_params=None): ...")),
        (
            "S3",
            (SLOTS, VISION, "def decode_forward_text(self, tokens, start_pos, sampling_params=None): ..."),
        ),
        ("S4", (SLOTS, VISION, "def decode_forward_text(self, tokens, start_pos, reset_batch=True): ...")),
        ("S5", (SLOTS, "def decode_forward(self, tokens, start_pos, reset_batch=False, **kwargs): ...")),
        ("S6", (SLOTS, "def decode_forward(self, tokens, start_pos, *, reload_inputs: bool): ...")),
        ("", (SLOTS, VISION)),
        ("", ("def forward(self, tokens): ...",)),
    ],
)
def test_a_generation_is_identified_from_the_source(
    tmp_path: Path, label: str, methods: tuple[str, ...]
) -> None:
    file = tmp_path / "models/tt_transformers/tt/generator.py"
    file.parent.mkdir(parents=True)
    file.write_text("import ttnn\nclass Generator:\n" + "".join(f"    {each}\n" for each in methods))
    assert generation(tmp_path) == label


def test_a_source_that_cannot_be_parsed_has_no_generation(tmp_path: Path) -> None:
    assert generation(tmp_path) == ""
    file = tmp_path / "models/tt_transformers/tt/generator.py"
    file.parent.mkdir(parents=True)
    file.write_text("class Generator(:\n")
    assert generation(tmp_path) == ""


def test_the_pin_of_the_model_folder_comes_before_the_developers(tmp_path: Path) -> None:
    assert transformers_pin(tmp_path) == ""
    for path, pin in (
        ("tt_metal/python_env/requirements-dev.txt", "4.38.0"),
        ("models/tt_transformers/requirements.txt", "4.53.0"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(f"torch\ntransformers=={pin}\n")
        assert transformers_pin(tmp_path) == pin
