"""Conversations with the engine over a scripted card, and the same with a full prefill for each token."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from tests.engine.tenstorrent.fakes.card import FakeMesh, Transformer
from tests.engine.tenstorrent.fakes.checkpoint import VOCAB, WORDS
from tests.engine.tenstorrent.fakes.installation import Installation
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.sampler import Sampler
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
from ttchat_tui.engine.text.prompt_builder import PromptBuilder
from ttchat_tui.engine.text.template import ChatTemplate
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder

GREEDY = SamplingParams(temperature=0.0, max_tokens=24)
DRAWN = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=12)
FIRST = (ChatMessage("user", "Say something."),)
SECOND = (*FIRST, ChatMessage("assistant", " buli fado"), ChatMessage("user", "word " * 150))
WORDY = (ChatMessage("user", "Say it again: " + " ".join(word.lstrip("Ġ") for word in WORDS[::2])),)
"""Half of the vocabulary, so that a penalty on a prompt's tokens shows."""
_CONTEXT = 1024
_PROMPTS: dict[tuple[ChatMessage, ...], list[int]] = {}


def load(engine: TenstorrentEngine, installed: Installation, **options: object) -> EngineInfo:
    return engine.load(installed.spec(**options), lambda progress: None)  # type: ignore[arg-type]


def reply(
    engine: TenstorrentEngine,
    messages: tuple[ChatMessage, ...] = FIRST,
    sampling: SamplingParams = GREEDY,
    seed: int = 1,
    *candidates: Candidate,
    cached: list[int] | None = None,
    change: dict[int, SamplingParams] | None = None,
) -> list[list[int]]:
    """Ids of each row.

    Args:
        cached: `cached_tokens` is appended here; without it there must be none.
        change: sampling parameters that are set when so many tokens of row 0 have come.
    """
    request = GenerationRequest(
        id=1, messages=messages, sampling=sampling, seed=seed, candidates=tuple(candidates)
    )
    control = GenerationControl(sampling)
    rows: list[list[int]] = [[] for _ in range(request.rows)]
    for event in engine.generate(request, control):
        if isinstance(event, TokenEvent):
            rows[event.row].extend(event.token_ids)
            if change and event.row == 0 and len(rows[0]) in change:
                control.set_sampling(change[len(rows[0])])
        elif isinstance(event, GenerationFinished):
            assert event.error is None, event.error
        elif isinstance(event, GenerationStarted):
            if cached is None:
                assert event.cached_tokens == 0
            else:
                cached.append(event.cached_tokens)
    return rows


def prompt_ids(installed: Installation, messages: tuple[ChatMessage, ...]) -> list[int]:
    """The same for every installation: each has a checkpoint of the same content."""
    if messages not in _PROMPTS:
        tokenizer = tokenizer_from_folder(installed.checkpoint)
        data = template_from_folder(installed.checkpoint)
        template = ChatTemplate(data.source, data.special, tokenizer.controls)
        builder = PromptBuilder(template, tokenizer, _CONTEXT)
        _PROMPTS[messages] = list(builder.build(messages, continue_last=False).ids)
    return list(_PROMPTS[messages])


def anew(ids: Sequence[int]) -> torch.Tensor:
    """Logits [vocab] after `ids` on a fresh card."""
    mesh = FakeMesh((1, 1), 0, has_dynamic_traces=True)
    fresh = Transformer(mesh, batch=1, max_seq_len=_CONTEXT, blocks=32, block_size=32)
    return fresh.prefill(torch.tensor(ids), torch.arange(32, dtype=torch.int32))


def expected(
    installed: Installation,
    messages: tuple[ChatMessage, ...] = FIRST,
    count: int = 24,
    sampling: Callable[[int], SamplingParams] = lambda place: GREEDY,
    so_far: Sequence[int] = (),
) -> list[int]:
    """A reply by a card that prefills the whole text for each token, and by the host's own sampler.

    Args:
        sampling: parameters of the token at this place of the reply; greedy ones.
        so_far: how the reply begins.
    """
    params = tuple(sampling(place) for place in range(count))
    return list(_expected(tuple(prompt_ids(installed, messages)), params, tuple(so_far)))


@functools.cache  # Each generation is asked the same.
def _expected(
    prompt: tuple[int, ...], params: tuple[SamplingParams, ...], so_far: tuple[int, ...]
) -> list[int]:
    said = list(so_far)
    sampler = Sampler(VOCAB, 0, prompt)
    for token in said:
        sampler.history.add(token)
    for each in params[len(said) :]:
        said.append(sampler.sample(anew([*prompt, *said]).numpy(), each).token_id)
    return said
