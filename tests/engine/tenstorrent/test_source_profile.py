"""The generation of a checkout is read from its source, by the rules of the adapter at run time."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttchat_tui.engine.tenstorrent.environment import LIBRARIES, Checkout
from ttchat_tui.engine.tenstorrent.signatures import CONTRACT_FLAGS
from ttchat_tui.engine.tenstorrent.source_profile import generation, p100_fault, transformers_pin

OLD = "def prefill_forward_text(self, tokens, page_table=None, kv_cache=None, prompt_lens=None): ..."
SLOTS = "def prefill_forward_text(self, tokens, page_table=None, empty_slots=None, **kwargs): ..."
VISION = "def decode_forward(self, start_pos, tokens, masks): ..."


@pytest.mark.parametrize("library", LIBRARIES)
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
        ("S6", (SLOTS, f"def decode_forward(self, tokens, start_pos, *, {', '.join(CONTRACT_FLAGS)}): ...")),
        ("", (SLOTS, "def decode_forward(self, tokens, start_pos, *, reload_inputs: bool): ...")),
        ("", (SLOTS, VISION)),
        ("", ("def forward(self, tokens): ...",)),
    ],
)
def test_a_generation_is_identified_from_the_source_under_every_name(
    tmp_path: Path, label: str, methods: tuple[str, ...], library: str
) -> None:
    file = tmp_path / f"models/{library}/tt/generator.py"
    file.parent.mkdir(parents=True)
    file.write_text("import ttnn\nclass Generator:\n" + "".join(f"    {each}\n" for each in methods))
    assert generation(Checkout(tmp_path, "")) == label


def test_a_source_that_cannot_be_parsed_has_no_generation(tmp_path: Path) -> None:
    assert generation(Checkout(tmp_path, "")) == ""
    file = tmp_path / "models/tt_transformers/tt/generator.py"
    file.parent.mkdir(parents=True)
    file.write_text("class Generator(:\n")
    assert generation(Checkout(tmp_path, "")) == ""


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_pin_of_the_library_comes_before_the_developers(tmp_path: Path, library: str) -> None:
    checkout = Checkout(tmp_path, "")
    assert transformers_pin(checkout) == ""
    (tmp_path / f"models/{library}/tt").mkdir(parents=True)
    (tmp_path / f"models/{library}/tt/generator.py").touch()
    for path, pin in (
        ("tt_metal/python_env/requirements-dev.txt", "4.38.0"),
        (f"models/{library}/requirements.txt", "4.53.0"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"torch\ntransformers=={pin}\n")
        assert transformers_pin(checkout) == pin


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('a\nb(\n  per_core_M=7\n  if self.device_name == "P100"\n  else 8)\n', 3),
        ("per_core_M = 7 if self.device_name == 'P100' else 8\n", 1),
        ('per_core_M=1\n  if self.device_name == "P100"\n  else 8\n', 0),
        ('per_core_M=7\n  if self.device_name == "P150"\n  else 8\n', 0),
        ('per_core_M=7,\nname = "P100"\n', 0),
    ],
)
def test_the_fault_of_a_p100_is_found_with_its_line(tmp_path: Path, source: str, line: int) -> None:
    file = tmp_path / "model_config.py"
    assert p100_fault(file) is None
    file.write_text(source)
    fault = p100_fault(file)
    assert (fault is not None) == bool(line)
    assert fault is None or f"line {line} of {file}" in fault.cure
