"""A config.json means what it means to transformers: fields that are left out, null, of another family, or in an older form."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.cpu.test_families import go_on, stepper_of
from tests.engine.cpu.tiny_models import DESCRIBED, VOCAB, described
from tests.late_transformers import from_transformers
from tests.size import sized
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.hf_config import read_config, why_not_own
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.families import FAMILIES
from ttchat_tui.engine.cpu.forward.rope import RopeTable

LENGTH = 60
Fields = dict[str, Any]
FOREIGN: Fields = {
    "attention_multiplier": 3.0, "attn_logit_softcapping": 1.0, "embedding_multiplier": 5.0, "final_logit_softcapping": 1.0,
    "layer_types": ["sliding_attention"] * 4, "logits_scaling": 3.0, "max_window_layers": 1, "mlp_only_layers": [0],
    "moe_intermediate_size": 8, "no_rope_layers": [0] * 4, "norm_topk_prob": False, "num_experts": 2,
    "num_experts_per_tok": 1, "num_local_experts": 2,
    "position_embedding_type": "nope", "query_pre_attn_scalar": 3, "residual_multiplier": 3.0,
    "rope_local_base_freq": 7.0, "shared_intermediate_size": 8, "sliding_window": 4, "sliding_window_pattern": 2,
    "use_sliding_window": True,
}  # fmt: skip
"""What some family reads, each with a value that would change its numbers."""


def saved(folder: Path, name: str) -> Fields:
    """A model of `DESCRIBED` in `folder`, and its config.json."""
    described(name).save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def logits(folder: Path, ids: list[int]) -> Any:
    """Of transformers, as it loads the folder, after each id."""
    model = from_transformers("AutoModelForCausalLM").from_pretrained(folder).float().eval()
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def agree(folder: Path, tolerance: float = 1e-4) -> None:
    """Our forward and transformers give the same logits for what is in the folder."""
    ids = torch.randint(0, VOCAB, (LENGTH,), generator=torch.Generator().manual_seed(3)).tolist()
    expected = logits(folder, ids)
    stepper = stepper_of(folder, chunk=37)
    got = [stepper.prefill(ids[:50], go_on).copy(), *(stepper.step(each).copy() for each in ids[50:])]
    np.testing.assert_allclose(got, expected[49:], atol=tolerance * max(1.0, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_field_that_is_left_out_has_the_value_that_transformers_takes(name: str) -> None:
    mapping = from_transformers("CONFIG_MAPPING", "transformers.models.auto.configuration_auto")
    settings, fields = mapping[FAMILIES[name].model_types[0]], FAMILIES[name].config_fields
    assert fields.keys() >= {"rms_norm_eps", "max_position_embeddings"}
    for field, value in fields.items():
        theirs = getattr(settings, field, None)
        assert theirs is None or theirs == value or (field == "num_experts" and "num_local_experts" in fields)
    theta = getattr(settings, "default_theta", 1e4)
    theirs = [theta["global"], theta["local"]] if isinstance(theta, dict) else [theta, theta]
    ours = fields.get("rope_theta", 1e4)
    assert [ours, fields.get("rope_local_base_freq", ours)] == theirs


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_field_that_the_family_does_not_read_changes_nothing(name: str, tmp_path: Path) -> None:
    raw = saved(tmp_path, name)
    config = SafetensorsFolder(tmp_path).config
    read = FAMILIES[config.family].config_fields
    (tmp_path / "config.json").write_text(
        json.dumps({**raw, **{field: value for field, value in FOREIGN.items() if field not in read}})
    )
    assert why_not_own(json.loads((tmp_path / "config.json").read_text())) == ""
    assert SafetensorsFolder(tmp_path).config == config


CHANGES: dict[str, tuple[str, Callable[[Fields], Any]]] = {
    "caps of Gemma 2": ("gemma2", lambda raw: [raw.pop("attn_logit_softcapping"), raw.pop("final_logit_softcapping")]),
    "epsilon and context of Llama": ("llama-mlp-bias", lambda raw: [raw.pop("rms_norm_eps"), raw.pop("max_position_embeddings")]),
    "epsilon and context of GLM 4": ("glm4", lambda raw: [raw.pop("rms_norm_eps"), raw.pop("max_position_embeddings")]),
    "context of Phi 4": ("phi4-mini", lambda raw: raw.pop("max_position_embeddings")),
    "scale of Gemma 3": ("gemma3", lambda raw: raw.pop("query_pre_attn_scalar")),
    "a cap of scores in Gemma 3": ("gemma3", lambda raw: raw.update(attn_logit_softcapping=0.5)),
    "scale of Granite": ("granite", lambda raw: raw.pop("attention_multiplier")),
    "rope of Ministral 3": ("ministral3", lambda raw: raw.update(rope_parameters=None)),
    "linear rope of Ministral 3": ("ministral3", lambda raw: raw.update(rope_parameters={
        "rope_type": "linear", "factor": 2.0, "llama_4_scaling_beta": 0.3, "original_max_position_embeddings": 16})),
    "plain rope of Ministral 3": ("ministral3", lambda raw: raw.update(rope_parameters={
        "rope_type": "default", "llama_4_scaling_beta": 0.3, "original_max_position_embeddings": 16})),
    "window of Mistral": ("mixtral", lambda raw: raw.pop("sliding_window")),
    "weights of Mixtral's experts": ("mixtral", lambda raw: raw.update(norm_topk_prob=False, moe_intermediate_size=8)),
    "windows of Exaone 4": ("exaone4", lambda raw: [raw.pop("layer_types"), raw.pop("sliding_window_pattern")]),
    "yarn that begins between two pairs": ("qwen2-yarn", lambda raw: raw["rope_parameters"].update(truncate=False)),
    "window of OLMo 2": ("olmo2", lambda raw: raw.update(sliding_window=4)),
    "original context of Phi 4": ("phi4-mini", lambda raw: raw.pop("original_max_position_embeddings")),
    "original context beside a rope": ("ministral3", lambda raw: raw.update(original_max_position_embeddings=8)),
    "part of Phi 3": ("phi3", lambda raw: raw.update(partial_rotary_factor=0.5)),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_config_gives_the_logits_of_transformers(case: str, tmp_path: Path) -> None:
    name, change = CHANGES[case]
    raw = saved(tmp_path, name)
    change(raw)
    (tmp_path / "config.json").write_text(json.dumps(raw))
    agree(tmp_path)


def changed(raw: Fields, draw: random.Random) -> None:
    """Leave fields out, make them null, give them the values of other families, write the rope as transformers 4 does."""
    optional = [
        *FOREIGN,
        "head_dim",
        "max_position_embeddings",
        "original_max_position_embeddings",
        "rms_norm_eps",
        "rope_parameters",
        "tie_word_embeddings",
    ]
    for _ in range(draw.randint(1, 3)):
        match draw.randrange(4):
            case 0:
                raw.pop(draw.choice(optional), None)
            case 1:
                raw[draw.choice(["sliding_window", "rope_parameters", "final_logit_softcapping"])] = None
            case 2:
                field = draw.choice(list(FOREIGN))
                raw[field] = FOREIGN[field]
            case _:
                rope = raw.get("rope_parameters") or {}
                if "rope_type" in rope:
                    del raw["rope_parameters"]
                    raw["rope_theta"] = rope.pop("rope_theta", 1e4)
                    kind = rope.pop("rope_type")
                    raw["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_config_with_any_fields_gives_the_logits_of_transformers_or_is_not_ours(
    name: str, tmp_path: Path
) -> None:
    original = saved(tmp_path, name)
    for seed in range(sized(2, 40)):
        raw: Fields = json.loads(json.dumps(original))
        changed(raw, random.Random(f"{name} {seed}"))
        (tmp_path / "config.json").write_text(json.dumps(raw))
        ours, theirs = False, None
        with suppress(Exception):  # Sizes that the weights have not, or fields that transformers refuses.
            theirs = logits(tmp_path, [1])
        with suppress(ModelLoadError):
            ours = not why_not_own(raw) and not SafetensorsFolder(tmp_path).unread
        if ours and theirs is not None:
            agree(tmp_path, 2e-4)


@pytest.mark.parametrize("left_out", ["", "lm_head.weight", "model.embed_tokens.weight"])
@pytest.mark.parametrize("is_same", [True, False])
def test_ends_are_tied_as_transformers_ties_them(is_same: bool, left_out: str, tmp_path: Path) -> None:
    saved(tmp_path, "smollm3")  # Which are tied.
    weights = load_file(tmp_path / "model.safetensors")
    embed = weights["model.embed_tokens.weight"]
    weights["lm_head.weight"] = embed.clone() if is_same else torch.flip(embed, (0,)).contiguous()
    weights.pop(left_out, None)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    agree(tmp_path)
    assert SafetensorsFolder(tmp_path).config.is_head_tied == (is_same or bool(left_out))


def test_a_bias_that_some_layers_lack_is_missing(tmp_path: Path) -> None:
    saved(tmp_path, "llama-mlp-bias")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.bias"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"no tensor model\.layers\.1\.mlp\.up_proj\.bias"):
        SafetensorsFolder(tmp_path)


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("qwen3-moe", {"mlp_only_layers": [1]}, "experts in some of its layers"),
        ("qwen3-moe", {"decoder_sparse_step": 2}, "experts in some of its layers"),
        ("smollm3", {"use_sliding_window": True, "sliding_window": 8}, "sliding window"),
        ("smollm3", {"layer_types": ["sliding_attention"] * 4}, "layers of type 'sliding_attention'"),
        ("llama-mlp-bias", {"partial_rotary_factor": 0.5}, "a part of each head"),
        ("granite4", {"num_local_experts": 4}, "experts"),
        ("gemma3", {"use_bidirectional_attention": True}, "both directions"),
    ],
)
def test_what_a_family_has_beyond_its_description_runs_through_transformers(
    name: str, fields: Fields, words: str, tmp_path: Path
) -> None:
    assert words in why_not_own({**saved(tmp_path, name), **fields})


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("mixtral", {"sliding_window": -1}),
        ("mixtral", {"sliding_window": 7.5}),
        ("gemma3", {"layer_types": ["full_attention"]}),
        ("smollm3", {"no_rope_layers": [1] * 9}),
        ("granite", {"residual_multiplier": 1e308}),
        ("granite", {"embedding_multiplier": 10**400}),
        ("granite", {"logits_scaling": 1e-300}),
        ("gemma2", {"final_logit_softcapping": -1.0}),
        ("gemma3", {"rope_parameters": {"sliding_attention": {"rope_theta": -5.0}, "full_attention": {}}}),
        ("glm4", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.2}}),
        ("glm4", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.5}}),
        ("ministral3", {"rope_parameters": {"rope_type": "default", "llama_4_scaling_beta": math.inf}}),
    ],
)
def test_a_number_without_measure_makes_no_model(name: str, fields: Fields, tmp_path: Path) -> None:
    raw = {**saved(tmp_path, name), **fields}
    with pytest.raises(ModelLoadError, match="a value that makes no model"):
        read_config(raw)


def test_a_config_of_any_values_is_ours_or_refused_in_words(tmp_path: Path) -> None:
    values: list[Any] = [
        None, True, 0, -1, 2.5, 1e308, 10**30, math.nan, "", "x", [], [None], ["full_attention"], {}, {"rope_type": "yarn"},
    ]  # fmt: skip
    draw = random.Random(11)
    for name in sized(["gemma3", "mixtral", "ministral3"], list(DESCRIBED)):
        original = saved(tmp_path / name, name)
        for _ in range(sized(60, 600)):
            raw: Fields = json.loads(json.dumps(original))
            for _ in range(draw.randint(1, 3)):
                raw[draw.choice([*raw, *FOREIGN, "rope_scaling", "text_config"])] = draw.choice(values)
            (tmp_path / name / "config.json").write_text(json.dumps(raw))
            with suppress(ModelLoadError):
                if why_not_own(raw) == "":
                    RopeTable(SafetensorsFolder(tmp_path / name).config, None)
