"""However a position of the compiled kernel is reached, its logits have the bits of one prompt: what a replay rests on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.cpu.native_kernel import kernel
from tests.engine.cpu.test_native_step import VOCAB, build, go_on, stepper_of
from tests.engine.cpu.tiny_models import save
from tests.size import sized
from ttchat_tui.engine.cpu.native.library import MAX_ROWS, Library
from ttchat_tui.engine.cpu.native.step import FORMATS
from ttchat_tui.engine.cpu.stepper import CachedStepper

LONGEST = 800
"""Positions: more than three blocks of attention, and a KV cache that has grown once."""
AMOUNTS = st.one_of(
    st.integers(1, 40), st.integers(1, 300), st.sampled_from((31, 32, 33, 255, 256, 257, 511, 512))
)
"""Of ids: few, many, and those at the bounds of tiles and blocks."""


class CheckedStepper:
    """A conversation on one stepper. Each answer is compared with that of another stepper, which computes it anew as one prompt."""

    def __init__(self, library: Library, tested: CachedStepper, straight: CachedStepper) -> None:
        self._library = library
        self._tested = tested
        self._straight = straight
        self._random = np.random.default_rng(0)
        self.held: list[int] = []

    def begin(self, seed: int, chunk: int) -> None:
        self._random = np.random.default_rng(seed)
        self._tested._chunk = chunk  # pyright: ignore[reportPrivateUsage]
        self.held = []

    def act(self, way: str, amount: int, threads: int) -> None:
        """Go on in one way. Another number of threads may run from each on, as when candidates end."""
        self._library.set_threads(threads)
        if len(self.held) > LONGEST:
            self._crop(amount)
        getattr(self, f"_{way}")(amount)

    def _crop(self, amount: int) -> None:
        self.held = self.held[:amount]
        self._tested.crop(amount)

    def _prompt(self, amount: int) -> None:
        """As the next turn does: some of what is held stays, and more follows it."""
        kept = int(self._random.integers(len(self.held) + 1))
        self.held = [*self.held[:kept], *self._ids(amount)]
        self._compare(self._tested.prefill(self.held, go_on), self.held)

    def _steps(self, amount: int) -> None:
        added = self._ids(min(amount, 40))
        logits = [self._tested.step(token_id) for token_id in added][-1]
        self.held.extend(added)
        self._compare(logits, self.held)

    def _drafts(self, amount: int) -> None:
        """As prompt lookup does: some drafted tokens are accepted, the others leave the cache."""
        drafted = self._ids(1 + amount % MAX_ROWS)
        logits = self._tested.step_many(drafted)
        for place in range(len(drafted)):
            self._compare(logits[place], [*self.held, *drafted[: place + 1]])
        self.held.extend(drafted[: 1 + int(self._random.integers(len(drafted)))])
        self._tested.crop(len(self.held))

    def _batch(self, amount: int) -> None:
        """As candidates do: rows that end one by one, of which one is continued."""
        rows = 1 + amount % 5
        tails: list[list[int]] = [[] for _ in range(rows)]
        live = list(range(rows))
        self._tested.fork(rows)
        for _ in range(min(amount, 40)):
            drawn = self._ids(len(live))
            logits = self._tested.step_rows(drawn)
            for row, token_id in zip(live, drawn, strict=True):
                tails[row].append(token_id)
            place = int(self._random.integers(len(live)))
            self._compare(logits[place], [*self.held, *tails[live[place]]])
            if len(live) > 1 and self._random.random() < 0.1:
                self._tested.freeze(live.pop(place))
        self._tested.join()
        tail = tails[int(self._random.integers(rows))]
        self.held = [*self.held, *tail[: int(self._random.integers(len(tail) + 1))], *self._ids(3)]
        self._compare(self._tested.prefill(self.held, go_on), self.held)

    def _ids(self, count: int) -> list[int]:
        drawn: list[int] = self._random.integers(VOCAB, size=count).tolist()
        return drawn

    def _compare(self, logits: NDArray[np.float32], ids: list[int]) -> None:
        found = logits.copy()
        self._straight.reset()
        assert np.array_equal(found, self._straight.prefill(ids, go_on))


@pytest.fixture(scope="module", params=FORMATS)
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CheckedStepper]:
    folder = save(build("qwen2-sliding"), tmp_path_factory.mktemp(request.param))
    library = kernel()
    tested, straight = (stepper_of(folder, library, request.param, chunk) for chunk in (256, 2 * LONGEST))
    yield CheckedStepper(library, tested, straight)
    library.set_threads(1)


@settings(
    deadline=None,
    max_examples=sized(15, 500),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 999),
    chunk=st.sampled_from((7, 32, 100, 256, 1000)),
    first=AMOUNTS,
    ways=st.lists(
        st.tuples(
            st.sampled_from(("prompt", "steps", "drafts", "batch")),
            AMOUNTS,
            st.sampled_from((1, 2, 3)),
        ),
        max_size=8,
    ),
)
def test_every_way_to_a_position_gives_the_same_bits(
    history: CheckedStepper, seed: int, chunk: int, first: int, ways: list[tuple[str, int, int]]
) -> None:
    history.begin(seed, chunk)
    for way, amount, threads in (("prompt", first, 1), *ways):
        history.act(way, amount, threads)
