"""The whole engine over real ttnn and the Generator of the checkout, in its child process, on a mock N150 and P150.

The card has no numerics: every token is id 0, "!". What is seen here is that all calls, shapes, orders and ends are
such as ttnn and tt_transformers take them; test_numbers.py sees the text.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.tt.conftest import CARDS, mock_card
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, TenstorrentOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.runtime.child import Timeouts
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.timeouts import with_minimum
from ttchat_tui.engine.tenstorrent.declaration import TENSTORRENT

CONTEXT: Final = 1024
_IDS: Final = itertools.count(1)
pytestmark = pytest.mark.timeout(200)


class LoadedEngine(msgspec.Struct):
    engine: IsolatedEngine
    spec: ModelSpec
    info: EngineInfo
    phases: list[str]
    log: Path


@pytest.fixture(scope="module", params=CARDS)
def card(
    request: pytest.FixtureRequest,
    checkout: Path,
    model_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LoadedEngine]:
    """The engine in its process with the model on a mock card; two rows, no trace."""
    folder = tmp_path_factory.mktemp(request.param)
    log = folder / "engine.log"
    engine = IsolatedEngine(
        log,
        timeouts=with_minimum(Timeouts(), TENSTORRENT.min_timeouts),
        environment={**mock_card(request.param), "TT_METAL_HOME": str(checkout)},
    )
    spec = ModelSpec(
        engine="tt",
        name="tiny",
        path=str(model_folder),
        context_length=CONTEXT,
        options=TenstorrentOptions(trace=False, max_batch_size=2, cache_dir=str(folder / "cache")),
    )
    phases: list[str] = []
    info = engine.load(spec, lambda progress: phases.append(progress.phase))
    yield LoadedEngine(engine, spec, info, phases, log)
    engine.close()
    assert "the card is closed" in log.read_text(errors="replace")


def request_for(*messages: ChatMessage, tokens: int = 4, rows: int = 1) -> GenerationRequest:
    return GenerationRequest(
        id=next(_IDS),
        messages=messages or (ChatMessage("user", "Hello"),),
        sampling=SamplingParams(temperature=0.0, max_tokens=tokens),
        seed=1,
        candidates=tuple(Candidate(seed=2 + row) for row in range(rows - 1)),
    )


def reply(
    engine: IsolatedEngine, request: GenerationRequest, cancel_after: int = 0
) -> tuple[list[GenerationEvent], GenerationFinished]:
    control = GenerationControl(request.sampling)
    events: list[GenerationEvent] = []
    for event in engine.generate(request, control):
        events.append(event)
        if cancel_after and text(events).count("!") >= cancel_after:
            control.cancel()
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    return events, last


def text(events: list[GenerationEvent], row: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, TokenEvent) and event.row == row)


def test_a_load_reports_its_phases_and_its_generation(card: LoadedEngine) -> None:
    assert {"start", "read", "convert", "compile"} <= set(card.phases)
    assert card.info.label.startswith("tt S5")
    assert card.info.context_length == CONTEXT
    assert card.info.capabilities.batch_sizes == (1, 2)


def test_two_turns_are_answered_in_one_load(card: LoadedEngine) -> None:
    events, first = reply(card.engine, request_for())
    assert (text(events), first.reason) == ("!!!!", "length")

    events, second = reply(
        card.engine,
        request_for(
            ChatMessage("user", "Hello"), ChatMessage("assistant", "!!!!"), ChatMessage("user", "More")
        ),
    )

    assert (text(events), second.reason) == ("!!!!", "length")
    assert second.stats.prompt_tokens > first.stats.prompt_tokens
    started = events[0]
    assert isinstance(started, GenerationStarted)
    assert started.cached_tokens == 0


def test_a_prompt_of_another_bucket_is_answered_as_well(card: LoadedEngine) -> None:
    events, last = reply(card.engine, request_for(ChatMessage("user", "word " * 60)))
    assert last.stats.prompt_tokens > 128
    assert text(events) == "!!!!"


def test_a_cancel_in_mid_reply_keeps_the_text_and_the_card_continues(card: LoadedEngine) -> None:
    events, last = reply(card.engine, request_for(tokens=500), cancel_after=3)
    assert last.reason == "cancelled"
    assert 3 <= text(events).count("!") < 500

    events, last = reply(card.engine, request_for())
    assert (text(events), last.reason) == ("!!!!", "length")


def test_two_candidates_are_decoded_as_one_batch(card: LoadedEngine) -> None:
    events, last = reply(card.engine, request_for(rows=2))
    assert [text(events, row) for row in (0, 1)] == ["!!!!", "!!!!"]
    assert sorted(event.row for event in events if isinstance(event, RowFinished)) == [0, 1]
    assert last.error is None


def test_a_reply_ends_where_the_context_does(card: LoadedEngine) -> None:
    filler = "x" * (CONTEXT - 60)
    events, last = reply(card.engine, request_for(ChatMessage("user", filler), tokens=500))
    assert last.reason == "context"
    assert last.stats.prompt_tokens + last.stats.completion_tokens <= CONTEXT
    assert text(events).count("!") == last.stats.completion_tokens


def test_a_constraint_is_kept_or_says_what_is_missing(card: LoadedEngine) -> None:
    asked = request_for(tokens=8)
    constraint = Constraint("regex", "[ab]{3}")
    sampling = msgspec.structs.replace(asked.sampling, constraint=constraint)
    is_there = importlib.util.find_spec("llguidance") is not None
    assert ("constraint" in card.info.capabilities.sampling) == is_there

    events, last = reply(card.engine, msgspec.structs.replace(asked, sampling=sampling))

    if is_there:
        assert (text(events), last.reason) == ("aaa", "stop")
    else:
        assert last.error is not None
        assert "ttchat-tui[constrain]" in last.error.cure
    events, last = reply(card.engine, request_for())
    assert (text(events), last.reason) == ("!!!!", "length")


def test_if_the_cards_sampler_fails_the_host_samples_and_says_so(card: LoadedEngine) -> None:
    """S5's sources are four months older than this ttnn, whose top-k refuses what they hand it: they are asked to draw,
    and the load goes on without. A pair that fits draws, and says so."""
    options = msgspec.structs.replace(card.spec.options, sampling="device")
    info = card.engine.load(msgspec.structs.replace(card.spec, options=options), lambda progress: None)
    (note,) = info.notes
    assert "host samples" in note or "card samples" in note
    assert info.capabilities.logprobs == ("host samples" in note)
    events, last = reply(card.engine, request_for())
    assert (len(text(events)), last.reason) == (4, "length")


def test_a_load_that_is_cancelled_closes_the_card_and_the_next_one_opens_it(card: LoadedEngine) -> None:
    """Reload, in the same process: what ttnn holds of the model before is gone."""
    pid = card.engine.pid
    wish = threading.Event()

    def report(progress: LoadProgress) -> None:
        if progress.phase == "compile":
            wish.set()
        if wish.is_set():
            raise LoadCancelled("enough")

    with pytest.raises(LoadCancelled):
        card.engine.load(card.spec, report)
    assert card.log.read_text(errors="replace").count("the card is closed") >= 2

    card.engine.load(card.spec, lambda progress: None)

    assert card.engine.pid == pid
    events, _ = reply(card.engine, request_for())
    assert text(events) == "!!!!"


def test_a_second_model_of_the_same_shape_and_name_has_converted_weights_of_its_own(
    card: LoadedEngine, tmp_path: Path
) -> None:
    """tt_transformers caches by tensor name, ttnn loads what has the name: in one folder the first model's weights
    would be the second's."""
    from tests.tt.tiny_llama import write_model  # torch is not in every venv that collects this file

    cache = Path(card.spec.options.cache_dir)
    first = tensors_in(cache)
    card.engine.load(
        msgspec.structs.replace(card.spec, path=str(write_model(tmp_path, seed=1))), lambda progress: None
    )
    both = tensors_in(cache)
    assert len(first) == 1
    assert len(both) == 2
    assert first.items() <= both.items()  # What the first wrote is as it was.
    one, other = both.values()
    assert one.keys() == other.keys()
    weights = [name for name in one if "attention.wo" in name or "feed_forward" in name]
    assert weights
    assert all(one[name] != other[name] for name in weights)

    card.engine.load(card.spec, lambda progress: None)

    assert tensors_in(cache) == both


def test_a_checkpoint_without_some_weights_is_refused_by_name(card: LoadedEngine, tmp_path: Path) -> None:
    """tt_transformers reads it through transformers, which would fill them with random numbers."""
    from safetensors.torch import load_file, save_file

    from tests.tt.tiny_llama import write_model

    folder = write_model(tmp_path, seed=2)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.0.mlp.down_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    broken = msgspec.structs.replace(card.spec, path=str(folder))
    with pytest.raises(EngineError, match=r"has no weights model\.layers\.0\.mlp\.down_proj\.weight\."):
        card.engine.load(broken, lambda progress: None)

    card.engine.load(card.spec, lambda progress: None)
    events, _ = reply(card.engine, request_for())
    assert text(events) == "!!!!"


def tensors_in(cache: Path) -> dict[str, dict[str, str]]:
    """Each model's folder → its cached tensors by name, and what is in them."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(cache.rglob("*.tensorbin")):
        model, *rest = file.relative_to(cache).parts
        found.setdefault(model, {})["/".join(rest)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found
