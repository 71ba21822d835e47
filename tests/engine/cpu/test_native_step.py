"""A step of the compiled kernel gives transformers' float32 logits over the same weights, and each row its own bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import gguf
import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.engine.cpu.gguf_files import write_gguf
from tests.engine.cpu.native_kernel import PROCESSORS, kernel, kernel_folder
from tests.engine.cpu.tiny_models import VOCAB, random_model, save
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec, Precision
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint, RawTensor
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.loading import _label, load_model
from ttchat_tui.engine.cpu.native.library import MAX_ROWS, Library
from ttchat_tui.engine.cpu.native.model import NativeModel
from ttchat_tui.engine.cpu.native.step import FORMATS
from ttchat_tui.engine.cpu.native.weights import convert_weights, stored_format
from ttchat_tui.engine.cpu.stepper import CachedStepper
from ttchat_tui.engine.cpu.weights.int4_blocks import CENTRE, GROUP
from ttchat_tui.engine.cpu.weights.precision import native_plan
from ttchat_tui.engine.decoding.rules import NoUsableLogits, usable

LENGTH = 600
"""More than two blocks of attention."""
TOLERANCES = {"f16": 4e-3, "q8": 0.1}
"""By the format of keys and values. Activations have 16 bits; logits are about 5."""
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 192, "intermediate_size": 160, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 1024,
    "bos_token_id": 256, "eos_token_id": 258,
}  # fmt: skip


def _model(name: str) -> Any:
    match name:
        case "llama":
            return random_model("Llama", **_SHAPE, tie_word_embeddings=True)
        case "llama-bias":
            return random_model("Llama", **{**_SHAPE, "head_dim": 16}, attention_bias=True)
        case "llama-wide-heads":
            shape = {**_SHAPE, "head_dim": 128, "num_attention_heads": 3, "num_key_value_heads": 1}
            return random_model("Llama", **shape)
        case "qwen2-sliding":
            sliding: dict[str, Any] = {"sliding_window": 40, "max_window_layers": 1}
            return random_model("Qwen2", **_SHAPE, use_sliding_window=True, **sliding)
        case "qwen3":
            shape = {**_SHAPE, "head_dim": 32, "num_attention_heads": 8}
            return random_model("Qwen3", **shape)
        case _:
            raise ValueError(name)


FAMILIES = ("llama", "llama-bias", "llama-wide-heads", "qwen2-sliding", "qwen3")


def build(name: str, bits: int = 4) -> Any:
    """Random weights that the kernel's formats hold exactly: `bits` in the layers, 8 in the head."""
    torch.manual_seed(11)
    model = _model(name)
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.2)
            elif bits == 8 or "embed" in path or "lm_head" in path:
                weight.copy_(_in_8_bits(*weight.shape))
            else:
                weight.copy_(_in_4_bits(*weight.shape))
    return model.float().eval()


def _in_4_bits(outputs: int, inputs: int) -> torch.Tensor:
    """Every group has the least and the greatest code, so that rounding finds the same scale again."""
    codes = torch.randint(0, 16, (outputs, inputs // GROUP, GROUP)).float()
    codes[..., 0], codes[..., 5] = 0.0, 15.0
    scale = 2.0 ** -torch.randint(5, 8, (outputs, inputs // GROUP, 1))
    return ((codes - CENTRE) * scale).flatten(1)


def _in_8_bits(outputs: int, inputs: int) -> torch.Tensor:
    codes = torch.randint(-127, 128, (outputs, inputs)).float()
    codes[:, ::GROUP] = 127.0
    return codes * 2.0**-10


def stepper_of_8_bits(file: Path, library: Library, cache: str = "f16") -> CachedStepper:
    checkpoint = GgufFile(file)
    plan = native_plan("auto", checkpoint.stored_bits)
    assert plan is not None
    assert plan.format == "int8"
    return native_stepper(checkpoint, library, plan.rounded, cache)


def stepper_of(folder: Path, library: Library, cache: str = "f16", chunk: int = 256) -> CachedStepper:
    return native_stepper(SafetensorsFolder(folder), library, "int4", cache, chunk)


def native_stepper(
    checkpoint: Checkpoint,
    library: Library,
    rounded: Literal["int4", "int8"] | None,
    cache: str,
    chunk: int = 256,
) -> CachedStepper:
    weights = convert_weights(checkpoint, library, rounded, lambda _done, _total: None)
    rope = RopeTable(checkpoint.config, checkpoint.rope_factors)
    return CachedStepper(NativeModel(checkpoint.config, weights, rope, library, FORMATS[cache]), chunk)


def go_on(_done: int, _total: int) -> bool:
    return True


def drawn(length: int, seed: int = 3) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(VOCAB, size=length).tolist()
    return ids


@pytest.fixture(scope="module", params=FAMILIES)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The saved folder, some ids, and transformers' logits at each of their positions."""
    model = build(request.param)
    folder = save(model, tmp_path_factory.mktemp(request.param))
    ids = drawn(LENGTH)
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(logits).max() > 2.0  # Logits near zero would agree with anything.
    return folder, ids, logits


@pytest.fixture(params=FORMATS)
def cache(request: pytest.FixtureRequest) -> str:
    """The format of keys and values."""
    return request.param


@pytest.fixture(params=PROCESSORS)
def library(request: pytest.FixtureRequest) -> Library:
    return kernel(request.param)


def test_every_step_agrees_with_transformers_and_a_prompt_has_the_bits_of_its_steps(
    oracle: Any, library: Library, cache: str
) -> None:
    folder, ids, expected = oracle
    stepper = stepper_of(folder, library, cache)
    got = [stepper.prefill(ids[:1], go_on).copy()] + [stepper.step(i).copy() for i in ids[1:]]
    np.testing.assert_allclose(np.stack(got), expected, atol=TOLERANCES[cache], rtol=0)
    for length in (5, 31, LENGTH):
        stepper.reset()
        assert np.array_equal(stepper.prefill(ids[:length], go_on), got[length - 1])


def test_the_last_layer_of_a_prompt_runs_for_the_rows_that_are_asked_for(
    oracle: Any, library: Library, cache: str
) -> None:
    folder, ids, _ = oracle
    model = stepper_of(folder, library, cache)._model
    for rows, outputs in ((1, 0), (1, 1), (5, 0), (5, 1), (40, 9), (LENGTH - 1, 0), (LENGTH - 1, 1)):
        whole, part = model.new_cache(), model.new_cache()
        expected = model.forward(ids[:rows], whole)[rows - outputs :]
        assert np.array_equal(model.forward(ids[:rows], part, outputs), expected)
        after = [model.forward(ids[rows : rows + 1], each) for each in (whole, part)]
        assert np.array_equal(*after), "keys and values of all rows are there"


def test_a_file_in_8_bits_agrees_at_every_position(tmp_path: Path, library: Library, cache: str) -> None:
    model = build("llama", bits=8)
    folder, ids = save(model, tmp_path / "folder"), drawn(LENGTH)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    write_gguf(folder, tmp_path / "x.gguf", gguf.GGMLQuantizationType.Q8_0)
    stepper = stepper_of_8_bits(tmp_path / "x.gguf", library, cache)
    got = [stepper.prefill(ids[:1], go_on).copy()] + [stepper.step(i).copy() for i in ids[1:]]
    np.testing.assert_allclose(np.stack(got), expected, atol=TOLERANCES[cache], rtol=0)


def test_rows_that_are_run_together_have_the_bits_that_they_have_alone(
    oracle: Any, library: Library, cache: str
) -> None:
    folder, ids, _ = oracle
    stepper = stepper_of(folder, library, cache)
    for start in (1, 250, 290):
        stepper.prefill(ids[:start], go_on)
        alone = np.stack([stepper.step(i).copy() for i in ids[start : start + MAX_ROWS]])
        for rows in range(1, MAX_ROWS + 1):
            stepper.crop(start)
            together = stepper.step_many(ids[start : start + rows])
            assert np.array_equal(together, alone[:rows])


def test_rows_of_a_batch_have_the_bits_of_replies_of_their_own(
    oracle: Any, library: Library, cache: str
) -> None:
    folder, ids, _ = oracle
    stepper = stepper_of(folder, library, cache)
    prompt, tails = ids[:255], [drawn(70, seed) for seed in range(5)]
    stepper.prefill(prompt, go_on)
    stepper.fork(len(tails))
    rows = [[] for _ in tails]  # type: list[list[NDArray[np.float32]]]
    for step in range(70):
        live = [row for row in range(len(tails)) if step < 70 - 10 * row]
        for row, logits in zip(live, stepper.step_rows([tails[row][step] for row in live]), strict=True):
            rows[row].append(logits.copy())
        for row in live:
            if step + 1 == 70 - 10 * row:
                stepper.freeze(row)
    stepper.join()
    for tail, found in zip(tails, rows, strict=True):
        stepper.crop(len(prompt))
        alone = [stepper.step(i).copy() for i in tail[: len(found)]]
        assert np.array_equal(np.stack(found), np.stack(alone))


def test_any_number_of_threads_gives_the_same_bits(oracle: Any, cache: str) -> None:
    folder, ids, _ = oracle
    library = kernel()
    stepper = stepper_of(folder, library, cache)
    found = []
    for threads in (1, 2, 3, 1):
        library.set_threads(threads)
        stepper.reset()
        stepper.prefill(ids[:300], go_on)
        found.append(np.concatenate([stepper.step(7)[None].copy(), stepper.step_many(ids[:8])]))
    library.set_threads(1)
    assert all(np.array_equal(each, found[0]) for each in found)


def test_hidden_states_that_are_not_finite_give_no_usable_logits(
    tmp_path: Path, library: Library, cache: str
) -> None:
    """Keys, values and scales beyond float16 are infinite."""
    model = build("llama")
    with torch.no_grad():
        model.model.layers[1].self_attn.v_proj.weight.mul_(2.0**40)
    stepper = stepper_of(save(model, tmp_path), library, cache)
    for logits in (stepper.prefill(drawn(9), go_on), stepper.step(3), *stepper.step_many([1, 2])):
        with pytest.raises(NoUsableLogits):
            usable(logits)


def test_a_row_that_is_finite_is_not_touched_by_one_that_is_not(tmp_path: Path, library: Library) -> None:
    checkpoint = SafetensorsFolder(save(build("llama"), tmp_path))
    weights = convert_weights(checkpoint, library, "int4", lambda _done, _total: None)
    model = NativeModel(checkpoint.config, weights, RopeTable(checkpoint.config), library, FORMATS["f16"])
    hidden = np.random.default_rng(1).standard_normal((3, 192)).astype(np.float32)
    expected = model.logits(hidden[::2].copy())
    for value in (np.nan, np.inf):
        hidden[1, 5] = value
        logits = model.logits(hidden)
        assert np.array_equal(logits[::2], expected)
        assert np.isnan(logits[1]).all()


def test_an_id_beyond_the_embedding_is_refused_before_it_is_read(tmp_path: Path, library: Library) -> None:
    stepper = stepper_of(save(build("llama"), tmp_path), library, "f16")
    for ids in ([VOCAB], [-1], [0, 2**31 - 1]):
        with pytest.raises(IndexError, match=f"not one of {VOCAB}"):
            stepper.prefill([1, *ids], go_on)
        stepper.reset()


def test_a_shape_that_the_kernel_does_not_take_is_left_to_torch(tmp_path: Path) -> None:
    for changed in (
        {"intermediate_size": 112},
        {"head_dim": 16, "num_attention_heads": 3, "num_key_value_heads": 1},
    ):
        folder = save(random_model("Llama", **{**_SHAPE, **changed}), tmp_path)
        spec = ModelSpec(
            name="odd",
            path=str(folder),
            kernel_dir=str(kernel_folder()),
            options=CpuOptions(precision="int4", threads=1),
        )
        model = load_model(spec, lambda _progress: None)
        assert "native" not in model.label
        assert model.stepper.prefill([1, 2, 3], go_on).shape == (VOCAB,)


@pytest.mark.parametrize("setting", FORMATS)
def test_the_setting_chooses_how_keys_and_values_are_held(setting: Any, tmp_path: Path) -> None:
    folder = save(build("llama"), tmp_path)
    options = CpuOptions(precision="int4", threads=1, kv_cache=setting)
    spec = ModelSpec(name="tiny", path=str(folder), kernel_dir=str(kernel_folder()), options=options)
    model = load_model(spec, lambda _progress: None)
    logits = model.stepper.prefill(drawn(40), go_on).copy()
    expected = stepper_of(folder, kernel(), setting)
    assert np.array_equal(logits, expected.prefill(drawn(40), go_on))
    assert not any("KV cache" in note for note in model.notes)


def test_without_the_compiled_kernel_a_note_says_that_the_cache_is_float32(tmp_path: Path) -> None:
    folder = save(random_model("Llama", **_SHAPE), tmp_path)
    options = CpuOptions(precision="fp32", threads=1)
    for setting, is_noted in (("f16", False), ("q8", True)):
        changed = msgspec.structs.replace(options, kv_cache=setting)
        spec = ModelSpec(name="tiny", path=str(folder), kernel_dir=str(kernel_folder()), options=changed)
        notes = load_model(spec, lambda _progress: None).notes
        assert any(f'[cpu] kv_cache = "{setting}"' in note for note in notes) == is_noted
    causes = (
        ('precision = "fp32"', CpuOptions(precision="fp32", threads=1, kv_cache="q8")),
        ('kernel = "off"', CpuOptions(kernel="off", threads=1, kv_cache="q8")),
    )
    for cause, changed in causes:
        spec = ModelSpec(name="tiny", path=str(folder), kernel_dir=str(kernel_folder()), options=changed)
        notes = load_model(spec, lambda _progress: None).notes
        assert any(f"and [cpu] {cause} runs without it" in note for note in notes)


@pytest.mark.parametrize("name", ["llama", "llama-wide-heads"])
def test_elements_that_are_much_larger_than_the_others_cost_8_bit_keys_little(
    name: str, tmp_path: Path
) -> None:
    model = build(name)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.k_proj.weight[3::32].mul_(64.0)
            layer.self_attn.q_proj.weight[3::32].div_(64.0)
    folder, ids = save(model, tmp_path), drawn(200)
    logits: list[NDArray[np.float32]] = []
    for cache in ("f16", "q8"):
        stepper = stepper_of(folder, kernel(), cache)
        stepper.prefill(ids[:1], go_on)
        logits.append(stepper.step_many(ids[1:]).copy())
    # Without the Hadamard transform it is 0.03; with a factor of 1 instead of 64 it is 0.002.
    assert np.sqrt(np.mean((logits[0] - logits[1]) ** 2)) < 0.012


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "F16"])
@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_the_label_names_the_stored_format_unless_the_user_has_chosen_another(
    tmp_path: Path, kind: str, precision: Precision
) -> None:
    write_gguf(save(build("llama"), tmp_path), tmp_path / "x.gguf", gguf.GGMLQuantizationType[kind])
    checkpoint = GgufFile(tmp_path / "x.gguf")
    plan = native_plan(precision, checkpoint.stored_bits)
    assert plan is not None
    held = kind.lower() if precision == "auto" else "int8"
    assert _label(checkpoint, plan, CpuOptions()) == f"cpu {held} native"
    assert _label(checkpoint, plan, CpuOptions(kv_cache="q8")) == f"cpu {held} native kv-q8"
    checkpoint.close()


def test_the_label_of_a_mix_names_the_format_of_most_weights() -> None:
    class Mixed:
        names = ("embed", "layers.0.q", "layers.0.down", "layers.0.attn_norm")

        def raw(self, name: str) -> RawTensor:
            kind, shape = {
                "embed": ("Q8_0", (9_000, 256)),
                "layers.0.q": ("Q6_K", (256, 256)),
                "layers.0.down": ("Q5_K", (256, 1024)),
                "layers.0.attn_norm": ("F32", (256,)),
            }[name]
            return RawTensor(kind, shape, np.zeros(0, np.uint8))

    assert stored_format(cast("Checkpoint", Mixed())) == "q5_k"
