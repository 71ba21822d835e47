"""Our GGUF reader reads what the gguf package writes, and says what is wrong with what it cannot read."""

from __future__ import annotations

from pathlib import Path

import gguf
import gguf.quants
import msgspec
import numpy as np
import pytest

from tests.engine.cpu.gguf_files import permuted, write_gguf
from tests.engine.cpu.raw_gguf import ValueOfType, tiny_metadata, write_raw
from tests.engine.cpu.tiny_models import build, save
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import RopeScaling
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.gguf_names import canonical_name
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import read_tensor
from ttchat_tui.engine.cpu.checkpoints.parts import half_split_rows
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.text.generation_config import suppressed_ids, unapplied_notes

Q = gguf.GGMLQuantizationType


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(build("llama"), tmp_path_factory.mktemp("llama"))


def test_a_gguf_file_and_a_safetensors_folder_are_the_same_checkpoint(llama: Path, tmp_path: Path) -> None:
    write_gguf(llama, tmp_path / "x.gguf")
    file, folder = GgufFile(tmp_path / "x.gguf"), SafetensorsFolder(llama)
    assert set(file.names) == set(folder.names)
    for name in folder.names:
        np.testing.assert_array_equal(file.tensor(name), folder.tensor(name))
    for field in folder.config.__struct_fields__:
        if field != "norm_eps":
            assert getattr(file.config, field) == getattr(folder.config, field), field
    assert file.config.norm_eps == pytest.approx(folder.config.norm_eps)
    file.close()


def test_a_rotary_permutation_is_undone() -> None:
    weight = np.arange(24.0).reshape(12, 2)
    np.testing.assert_array_equal(half_split_rows(permuted(weight, 3), 3), weight)


def test_a_raw_tensor_has_the_bytes_of_the_file_and_names_the_order_of_its_rows(
    llama: Path, tmp_path: Path
) -> None:
    write_gguf(llama, tmp_path / "x.gguf", Q.F16)
    file = GgufFile(tmp_path / "x.gguf")
    q = file.raw("layers.0.q")
    assert (q.kind, q.shape, q.paired_heads) == ("F16", file.tensor("layers.0.q").shape, file.config.heads)
    stored = q.data.view(np.float16).astype(np.float32).reshape(q.shape)
    np.testing.assert_array_equal(half_split_rows(stored, q.paired_heads), file.tensor("layers.0.q"))
    assert file.raw("layers.0.v").paired_heads == 0
    before = q.data.tobytes()
    file.release("layers.0.q")
    file.close()  # The view keeps the map open.
    assert q.data.tobytes() == before


def test_linear_rope_scaling_is_read(llama: Path, tmp_path: Path) -> None:
    write_gguf(
        llama, tmp_path / "x.gguf", llama__rope__scaling__type="linear", llama__rope__scaling__factor=4.0
    )
    assert GgufFile(tmp_path / "x.gguf").config.rope_scaling == RopeScaling(
        kind="linear", factor=4.0, original_context=512
    )


def test_rope_scaling_without_a_type_is_linear_as_in_llama_cpp(llama: Path, tmp_path: Path) -> None:
    for number, key in enumerate(("llama__rope__scaling__factor", "llama__rope__scale_linear")):
        file = tmp_path / f"{number}.gguf"
        write_gguf(llama, file, None, **{key: 4.0})
        assert GgufFile(file).config.rope_scaling == RopeScaling(
            kind="linear", factor=4.0, original_context=512
        )


def test_other_rope_scaling_is_refused(llama: Path, tmp_path: Path) -> None:
    write_gguf(
        llama, tmp_path / "x.gguf", llama__rope__scaling__type="spiral", llama__rope__scaling__factor=4.0
    )
    with pytest.raises(ModelLoadError, match="spiral") as caught:
        GgufFile(tmp_path / "x.gguf")
    assert "safetensors" in caught.value.info.cure


def test_recommended_sampling_and_template_are_read(llama: Path, tmp_path: Path) -> None:
    write_gguf(llama, tmp_path / "x.gguf", general__sampling__temp=0.5, tokenizer__chat_template="{{ 1 }}")
    file = GgufFile(tmp_path / "x.gguf")
    assert file.generation_config == {"temperature": 0.5}
    assert file.template.source == "{{ 1 }}"


def test_tokens_to_suppress_are_read_and_other_samplers_are_noted(tmp_path: Path) -> None:
    file = GgufFile(
        write_raw(
            tmp_path / "x.gguf",
            {
                **tiny_metadata(),
                "tokenizer.ggml.suppress_tokens": ValueOfType(5, [1, 2]),
                "general.sampling.mirostat": 2,
                "general.sampling.xtc_probability": 0.0,
            },
        )
    )
    assert suppressed_ids(file.generation_config, ()) == {1, 2}
    assert "mirostat," in unapplied_notes(file.generation_config)[0]


QUANTISABLE = [Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1]


@pytest.mark.parametrize("kind", QUANTISABLE, ids=lambda kind: kind.name)
def test_tensor_types_are_read_as_the_gguf_package_reads_them(kind: Q, tmp_path: Path) -> None:
    weight = np.random.default_rng(1).normal(size=(6, 64)).astype(np.float32)
    packed = gguf.quants.quantize(weight, kind)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("odd", np.ones(3, np.float32))  # So that alignment matters.
    writer.add_tensor("w", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    container = GgufContainer(tmp_path / "x.gguf")
    got = read_tensor(container.data, container.tensors["w"])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, gguf.quants.dequantize(packed, kind).reshape(6, 64))


def test_k_quants_are_read_through_the_gguf_package(tmp_path: Path) -> None:
    raw = np.random.default_rng(1).integers(0, 60, size=(2, 144), dtype=np.uint8)  # Two Q4_K blocks of 256.
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("w", raw, raw_dtype=Q.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    container = GgufContainer(tmp_path / "x.gguf")
    expected = gguf.quants.dequantize(raw, Q.Q4_K)
    np.testing.assert_array_equal(read_tensor(container.data, container.tensors["w"]), expected)


def test_metadata_of_every_type_is_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_uint8("u8", 200)
    writer.add_int32("i32", -5)
    writer.add_uint64("u64", 2**40)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_string("text", "grüße 🙂")
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("words", ["a", "", "ĠĠ"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = GgufContainer(tmp_path / "x.gguf").metadata
    assert {key: metadata[key] for key in ("u8", "i32", "u64", "f64", "yes", "text", "numbers", "words")} == {
        "u8": 200, "i32": -5, "u64": 2**40, "f64": 0.1, "yes": True, "text": "grüße 🙂", "numbers": [1, -2, 3],
        "words": ["a", "", "ĠĠ"],
    }  # fmt: skip


def read_all(path: Path) -> None:
    file = GgufFile(path)
    for name in file.names:
        file.tensor(name)


@pytest.mark.parametrize("size", [0, 3, 10, 40, 200, -100_000])
def test_a_file_that_was_cut_short_is_refused(llama: Path, tmp_path: Path, size: int) -> None:
    write_gguf(llama, tmp_path / "whole.gguf")
    (tmp_path / "x.gguf").write_bytes((tmp_path / "whole.gguf").read_bytes()[:size])
    with pytest.raises(ModelLoadError):
        read_all(tmp_path / "x.gguf")


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"none\.gguf"):
        GgufFile(tmp_path / "none.gguf")


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGML" + bytes(100))
    with pytest.raises(ModelLoadError, match="not a GGUF"):
        GgufFile(tmp_path / "x.gguf")


def test_a_big_endian_file_is_refused_as_such(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelLoadError, match="big-endian"):
        GgufFile(tmp_path / "x.gguf")


def test_a_version_from_the_future_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + (4).to_bytes(4, "little") + bytes(100))
    with pytest.raises(ModelLoadError, match="version 4"):
        GgufFile(tmp_path / "x.gguf")


def test_a_tensor_type_that_nobody_knows_is_refused_with_name_and_number(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("w", np.ones((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    container = GgufContainer(tmp_path / "x.gguf")
    unknown = msgspec.structs.replace(container.tensors["w"], type_id=99)
    with pytest.raises(ModelLoadError, match=r"'w' .*99") as caught:
        read_tensor(container.data, unknown)
    assert "another quantisation" in caught.value.info.cure


def test_another_architecture_is_refused_with_a_cure(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelLoadError, match="mamba") as caught:
        GgufFile(tmp_path / "x.gguf")
    assert "safetensors" in caught.value.info.cure


def test_names_that_are_not_known_stay() -> None:
    assert canonical_name("blk.12.attn_q.weight") == "layers.12.q"
    assert canonical_name("blk.0.strange.weight") == "blk.0.strange.weight"
