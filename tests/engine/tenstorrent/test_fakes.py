"""The scripted card is strict: each mistake that a generation punishes changes its logits or raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.tenstorrent.fakes import card, native, s1, s3, s4, s5, s6, s7
from tests.engine.tenstorrent.fakes.generator import DecodersPrecision, PagedAttentionConfig

TABLE = torch.arange(64, dtype=torch.int32).view(2, 32)
PROMPT = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 8]])
GREEDY = {s1: (0.0, -1, 1.0), s3: (0.0, -1, 1.0), s4: (0.0, 1, 1.0), s5: (0.0, 1, 1.0), s6: (0.0, 1, 1.0)}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_MODEL", str(tmp_path))
    monkeypatch.setenv("TT_CACHE_PATH", str(tmp_path))
    card.EVENTS.clear()


def generator(module: Any) -> Any:
    """With a batch of two and 1,024 positions."""
    mesh = native.open_mesh_device(native.MeshShape(1, 1), trace_region_size=10_000)
    args, model, kv_cache, _ = module.create_tt_model(
        mesh, True, 2, lambda a: DecodersPrecision.performance(2, ""), 1024, PagedAttentionConfig(32, 64)
    )
    made = module.Generator(model=[model], model_args=[args], mesh_device=mesh, tokenizer=None)
    made.kv = [kv_cache]
    mesh.enable_program_cache()
    for program in (("read", False), ("read", True), ("sampling", False, True)):
        mesh.compile(*program)  # As after a first step.
    return made


def prefill(made: Any, tokens: torch.Tensor = PROMPT, **more: Any) -> torch.Tensor:
    """Without traces, where that can be said."""
    kv_cache = made.kv
    if isinstance(made, s5.PrefillsInWaves):
        more = {"enable_trace": False, "warmup_prefill": False, **more}
    elif isinstance(made, s4.Generator):
        more = {"enable_trace": False, **more}
    return made.prefill_forward_text(
        tokens, page_table=TABLE, kv_cache=kv_cache, prompt_lens=[4] * len(tokens), **more
    )


def decode(made: Any, token: int, position: int, **more: Any) -> Any:
    """Row 0 only; row 1 is idle."""
    step = made.decode_forward_text if hasattr(made, "decode_forward_text") else made.decode_forward
    output = step(
        torch.tensor([[token], [0]]),
        torch.tensor([position, -1]),
        page_table=more.pop("page_table", TABLE),
        kv_cache=more.pop("kv_cache", made.kv),
        **more,
    )
    return output if torch.is_tensor(output) else output[0]


def row(logits: torch.Tensor) -> list[float]:
    return logits[0, 0].tolist()


def test_a_wrong_token_position_or_page_gives_other_logits() -> None:
    right = generator(s1)
    prefill(right)
    said = row(decode(right, 9, 4))
    assert said == row(decode(right, 9, 4)), "the same step again is the same"
    others = []
    for token, position, table in ((10, 4, TABLE), (9, 5, TABLE), (9, 3, TABLE), (9, 4, TABLE.roll(1, 1))):
        made = generator(s1)
        prefill(made)
        others.append(row(decode(made, token, position, page_table=table)))
    assert said not in others
    assert len({tuple(other) for other in others}) == 4


def test_a_token_that_was_fed_twice_gives_other_logits() -> None:
    once, twice = generator(s1), generator(s1)
    for made in (once, twice):
        prefill(made)
        decode(made, 9, 4)
    decode(twice, 9, 5)
    assert row(decode(once, 11, 5)) != row(decode(twice, 11, 6))


def test_an_idle_row_has_no_numbers() -> None:
    made = generator(s1)
    prefill(made)
    assert decode(made, 9, 4)[1].isnan().all()


@pytest.mark.parametrize("module", [s1, s3, s4, s5])
def test_with_sampling_on_the_host_every_step_is_the_hosts(module: Any) -> None:
    made, plain = generator(module), generator(module)
    traced: list[object] = []
    steps: list[object] = []
    for one, trace in ((made, True), (plain, False)):
        prefill(one)
        steps = [row(decode(one, token, 4 + n, enable_trace=trace)) for n, token in enumerate((9, 3, 7))]
        if trace:
            traced = steps
    assert steps == traced


@pytest.mark.parametrize("module", [s3, s4])
def test_a_sampling_card_continues_by_itself_until_the_page_table_is_forgotten(module: Any) -> None:
    made = generator(module)
    params = module.SamplingParams(*GREEDY[module])
    prefill(made)
    first = decode(made, 9, 4, sampling_params=params)
    second = decode(made, int(first[0]), 5, sampling_params=params)
    prefill(made)
    stale = decode(made, 9, 4, sampling_params=params)
    prefill(made)
    made.prev_page_table = None
    fresh = [
        decode(made, 9, 4, sampling_params=params),
        decode(made, int(first[0]), 5, sampling_params=params),
    ]
    assert [int(ids[0]) for ids in fresh] == [int(first[0]), int(second[0])]
    assert int(stale[0]) != int(first[0])


def test_a_prefill_makes_s5_take_the_hosts_tokens() -> None:
    made = generator(s5)
    params = s5.SamplingParams(*GREEDY[s5])
    prefill(made)
    first = decode(made, 9, 4, sampling_params=params)
    assert int(decode(made, 9, 4, sampling_params=params)[0]) != int(first[0]), "it went on by itself"
    assert int(decode(made, 9, 4, sampling_params=params, reset_batch=True)[0]) == int(first[0])
    prefill(made)
    assert int(decode(made, 9, 4, sampling_params=params)[0]) == int(first[0])


def flags(**changes: bool) -> dict[str, bool]:
    names = ("reload_inputs", "reload_page_table", "reload_sampling_params", "reset_sampling_state")
    return dict.fromkeys(names, False) | changes


def test_s6_reloads_only_what_its_flags_name() -> None:
    made = generator(s6)
    prefill(made)
    first = row(decode(made, 9, 4, **flags(reload_inputs=True)))
    assert row(decode(made, 3, 5, **flags())) == first, "the same step again"
    assert row(decode(made, 3, 5, **flags(reload_inputs=True))) != first
    with pytest.raises(TypeError, match="reload_page_table"):
        decode(made, 9, 4, reload_inputs=True)
    with pytest.raises(ValueError, match="reload_inputs"):
        decode(made, 9, 4, **flags(reload_inputs=True, reload_page_table=True))
    with pytest.raises(TypeError, match="reset_batch"):
        decode(made, 9, 4, **flags(reload_inputs=True), reset_batch=True)


@pytest.mark.parametrize("module", [s1, s3, s4])
def test_decode_forward_is_the_vision_models_up_to_s4(module: Any) -> None:
    with pytest.raises(AssertionError, match="vision"):
        generator(module).decode_forward(torch.tensor([4]), torch.tensor([[9]]), None, None, None, None)


@pytest.mark.parametrize("module", [s3, s4, s5, s6])
def test_the_fourth_argument_is_no_tokenizer_from_s3_on(module: Any) -> None:
    made = generator(module)
    with pytest.raises(AssertionError, match="fourth"):
        module.Generator(made.model, made.model_args, made.mesh_device, "a tokenizer")


@pytest.mark.parametrize("module", [s3, s4])
def test_prefill_swallows_unknown_keywords(module: Any) -> None:
    made = generator(module)
    prefill(made, start_pos=[2])
    assert made.swallowed == {"start_pos"}


def test_what_all_generations_refuse() -> None:
    made = generator(s1)
    prefill(made)
    with pytest.raises(AssertionError, match="Batch size 1 must be equal to max_batch_size 2"):
        made.decode_forward_text(torch.tensor([[9]]), torch.tensor([4]), page_table=TABLE, kv_cache=made.kv)
    with pytest.raises(AssertionError, match="cache"):
        decode(made, 9, 4, kv_cache=[None])
    with pytest.raises(AssertionError, match="greedy"):
        decode(made, 9, 4, sampling_params=s1.SamplingParams(0.7, 1, 1.0))


@pytest.mark.parametrize("module", [s5, s6])
def test_a_pass_of_several_users_has_rows_for_the_first_slots_only(module: Any) -> None:
    made = generator(module)
    prefill(made, PROMPT, empty_slots=[0, 1])
    with pytest.raises(IndexError):
        prefill(made, PROMPT, empty_slots=[1, 2])


def test_a_shape_that_compiles_under_a_live_trace_spoils_it() -> None:
    clean, spoiled = generator(s1), generator(s1)
    for made in (clean, spoiled):
        prefill(made)
        decode(made, 9, 4)
    spoiled.model[0].compile(1, 256, 255)
    assert row(decode(clean, 3, 5)) != row(decode(spoiled, 3, 5))
    assert card.misuses()


def test_a_mesh_reports_what_outlives_it() -> None:
    made = generator(s1)
    decode(made, 9, 4)
    native.close_mesh_device(made.mesh_device)
    assert card.misuses() == ["misuse: trace 1 outlives its mesh", "misuse: a model outlives its mesh"]


def package() -> tuple[s7.LlamaForCausalLM, Any]:
    """With its cache allocated and a recorded decode step."""
    mesh = native.open_mesh_device(native.MeshShape(1, 1), trace_region_size=10_000)
    llm = s7.from_pretrained(mesh, max_batch_size=2, max_seq_len=1024)
    config = s7.LlamaExecutorConfig(
        s7.TraceConfig(), s7.WarmupConfig((128,), (1,)), llm.executor.config.paged_kv_cache, False
    )
    llm.executor = s7.Executor(llm.model, llm.runtime_config, config)
    kv = llm.executor.allocate_kv_cache()
    both: dict[str, Any] = {"kv_cache": kv, "can_sample_on_device": False}
    llm.executor.warmup_model_prefill(enable_trace=False, **both)
    llm.executor.warmup_model_decode(enable_trace=True, max_batch_size=2, num_blocks=32, **both)
    return llm, kv


def test_the_package_refuses_what_it_did_not_compile_and_what_is_not_its_own() -> None:
    llm, kv = package()
    executor, one = llm.executor, PROMPT[:1]
    with pytest.raises(RuntimeError, match="already been allocated"):
        executor.allocate_kv_cache()
    with pytest.raises(ValueError, match="borrowed handle"):
        executor.prefill_forward(one, TABLE[:1], kv_cache=[kv])
    with pytest.raises(ValueError, match="prompt_lens must be a rank-1"):
        executor.prefill_forward(one, TABLE[:1], prompt_lens=[4], kv_cache=kv)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="as many rows"):
        executor.prefill_forward(one, TABLE, kv_cache=kv)
    with pytest.raises(RuntimeError, match="not compiled after trace activation"):
        executor.prefill_forward(PROMPT, TABLE, kv_cache=kv)
    with pytest.raises(ValueError, match="lane capacity"):
        executor.decode_forward(torch.tensor([[9], [0]]), torch.tensor([4, -1]), TABLE, kv_cache=kv)
    with pytest.raises(ValueError, match="capacity"):
        executor.decode_forward(torch.tensor([9, 0]), torch.tensor([1024, -1]), TABLE, kv_cache=kv)
    llm.cleanup()
    with pytest.raises(RuntimeError, match="terminal"):
        executor.prefill_forward(one, TABLE[:1])


def test_the_package_skips_a_row_whose_prefix_is_all_of_it() -> None:
    llm, kv = package()
    tokens = torch.arange(32).view(1, 32)
    start = torch.tensor([32])
    assert not llm.executor.prefill_forward(tokens, TABLE[:1], start_pos=start, kv_cache=kv).any()
    with pytest.raises(ValueError, match="block aligned"):
        llm.executor.prefill_forward(tokens, TABLE[:1], start_pos=torch.tensor([3]), kv_cache=kv)
