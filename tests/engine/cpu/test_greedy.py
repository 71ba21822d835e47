"""SmolLM2 answers greedily as transformers does in float32 with the same weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from transformers import AutoTokenizer

from tests.engine.cpu.native_kernel import kernel_folder
from tests.engine.cpu.reference_model import reference_model
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.engine import CpuEngine

pytestmark = pytest.mark.model

TOKENS: Final = 64
END: Final = 2
"""<|im_end|>."""
TIE: Final = 0.02
"""Logits between the reference's first choice and another one that float16 may take for it."""
PROMPTS: Final = (
    "What is the capital of France?",
    "Write a Python function that reverses a string.",
    "Say hello in three languages.",
    "What is 17 + 26?",
    "Name the planets of the solar system.",
    "Who wrote Romeo and Juliet?",
    "Give me a recipe for pancakes.",
    "Translate 'good morning' into Spanish.",
    "Why is the sky blue?",
    "List three prime numbers.",
)[: sized(3, 10)]


@pytest.fixture(scope="module")
def reference(default_model_path: Path) -> Any:
    """A function from a prompt and a reply's ids to transformers' logits after each prefix of the reply."""
    file = GgufFile(default_model_path)
    model = reference_model(file)
    tokenizer = AutoTokenizer.from_pretrained(default_model_path.parent, gguf_file=default_model_path.name)
    tokenizer.chat_template = file.template.source

    @functools.cache  # Most replies are the same in every precision.
    def logits_along(prompt: str, reply: tuple[int, ...]) -> torch.Tensor:
        messages = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            return model(torch.tensor([[*ids, *reply]])).logits[0, len(ids) - 1 :]

    return logits_along


def greedy_replies(path: Path, precision: Any, kernel_dir: str = "") -> Iterator[tuple[str, list[int], str]]:
    """Prompt, the reply's ids and why it ended."""
    engine = CpuEngine()
    # One thread: with two, the barriers of OpenMP collapse where other tests run beside this one.
    spec = ModelSpec(
        name="smollm2",
        path=str(path),
        options=CpuOptions(precision=precision, threads=1),
        kernel_dir=kernel_dir,
    )
    info = engine.load(spec, lambda _progress: None)
    assert info.label == ("cpu int4 native" if kernel_dir else f"cpu {precision}")
    sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=TOKENS)
    for number, prompt in enumerate(PROMPTS):
        messages = (ChatMessage("user", prompt),)
        request = GenerationRequest(id=number, messages=messages, sampling=sampling, seed=0)
        events = list(engine.generate(request, GenerationControl(sampling)))
        ids = [i for event in events if isinstance(event, TokenEvent) for i in event.token_ids]
        assert isinstance(events[-1], GenerationFinished)
        yield prompt, ids, events[-1].reason
    engine.close()


def choices(ids: list[int], reason: str) -> list[int]:
    """What was chosen after each prefix of a reply, its end included."""
    return [*ids, END] if reason == "stop" else ids


# A reply whose every token is the reference's first choice after the tokens before it is, by induction, the reply
# that the reference generates greedily; asking so takes one forward for a reply instead of 64.


@pytest.mark.timeout(300)
def test_fp32_replies_are_those_of_transformers(reference: Any, default_model_path: Path) -> None:
    ended = 0
    for prompt, ids, reason in greedy_replies(default_model_path, "fp32"):
        chosen = choices(ids, reason)
        assert chosen == reference(prompt, tuple(ids))[: len(chosen)].argmax(-1).tolist(), prompt
        assert reason == "stop" or len(ids) == TOKENS
        ended += reason == "stop"
    assert 0 < ended < len(PROMPTS)  # Both endings were seen.


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kernel", ["torch's", "native"])
def test_f16_and_native_replies_part_from_transformers_float32_at_ties_only(
    reference: Any, default_model_path: Path, kernel: str
) -> None:
    """float16 weights move logits by 0.004 (rms), the compiled kernel by less: where the best two are nearer than that,
    either may be chosen."""
    held = ("auto", str(kernel_folder())) if kernel == "native" else ("f16", "")
    equal = 0
    for prompt, ids, reason in greedy_replies(default_model_path, *held):
        chosen = torch.tensor(choices(ids, reason))
        logits = reference(prompt, tuple(ids))[: len(chosen)]
        behind = logits.max(-1).values - logits.gather(1, chosen[:, None])[:, 0]
        assert behind.max() <= TIE, (prompt, behind.max())
        equal += int(behind.max() == 0)
    print(f"{equal} of {len(PROMPTS)} {held[0]} replies equal float32's, token for token")
    assert equal >= len(PROMPTS) - 1
