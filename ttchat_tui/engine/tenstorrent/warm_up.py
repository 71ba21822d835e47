"""Warm-up of a model on the card: compile what short prompts need, then record the trace.

A trace may overwrite what is compiled after it was recorded, so a model records it anew after each prompt that compiles
something (`families.GeneratorModel`). What is compiled here spares the first replies that."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.tenstorrent import kv_prefix
from ttchat_tui.engine.tenstorrent.adapter import IDLE, CardModel
from ttchat_tui.engine.tenstorrent.card_sampling import GREEDY, SAMPLER_PROGRAMS, DrawParameters
from ttchat_tui.engine.tenstorrent.errors import explain
from ttchat_tui.engine.tenstorrent.progress import NativeProgress
from ttchat_tui.engine.tenstorrent.stepper import CardStepper

log = logging.getLogger(__name__)


class SamplerFailed(Exception):
    """The card's sampler failed at its first use. `str()` is a sentence for the user."""


def warm_up(
    model: CardModel,
    lengths: Sequence[int],
    progress: NativeProgress,
    report: ProgressReporter,
    *,
    traced: Sequence[int] = (),
    starts_behind: bool = False,
) -> None:
    """Compile prefill, the sampler and the decode step, then record the step.

    Args:
        lengths: of prompts to run, ascending; the last one is no longer than a row.
        traced: lengths of prompts whose prefill is to be recorded too.
        starts_behind: compile prefill behind a cached prefix too.
    Raises:
        SamplerFailed: nothing is recorded yet; the model still works with host sampling.
    """
    shapes = [(length, 0) for length in lengths]
    if starts_behind:
        shapes += [(length, kv_prefix.start_for_bucket(length)) for length in lengths]
    total = len(shapes) + 1
    for done, (length, start) in enumerate(shapes):
        detail = f"prefill {length:,}" + (f" behind {start}" if start else "")
        report(LoadProgress(phase="compile", done=done, total=total, unit="steps", detail=detail))
        model.prefill([[0] * min(length + start, lengths[-1])], first_row=0, start=start, is_traced=False)
        progress.check()
    report(LoadProgress(phase="compile", done=len(shapes), total=total, unit="steps", detail="decode"))
    if model.draws is not None:
        _try_drawing(model, lengths[0])
        progress.check()
    _prefill_traced(model, traced, progress)  # compiles while it records
    for index in range(3):  # One compiles while it records, one records what is compiled, one replays.
        _step(model, lengths[0] + index, GREEDY, is_first=index == 0, is_traced=True)
        progress.check()
    _prefill_traced(model, traced, progress)


def _prefill_traced(model: CardModel, lengths: Sequence[int], progress: NativeProgress) -> None:
    for length in lengths:
        model.prefill([[0] * length], first_row=0)
        progress.check()


def _try_drawing(model: CardModel, position: int) -> None:
    try:
        for sampling in SAMPLER_PROGRAMS:
            _step(model, position, sampling, is_first=True, is_traced=False)
    except Exception as error:
        raise SamplerFailed(str(explain(error))) from error


def _step(
    model: CardModel, position: int, sampling: SamplingParams, *, is_first: bool, is_traced: bool
) -> None:
    """One step of row 0, at `position`."""
    idle = model.batch - 1
    tokens, positions = [0] * model.batch, [position, *[IDLE] * idle]
    if model.draws is None:
        model.decode(tokens, positions, is_first=is_first)
        return
    draws = DrawParameters(
        sampling=(sampling, *[GREEDY] * idle),
        seeds=(0,) * model.batch,
        has_changed=is_first,
        prompt=[0],
        replies=[[0], *[[]] * idle],
    )
    model.draw(tokens, positions, draws, is_first=is_first, is_traced=is_traced)


def verify_prefix(stepper: CardStepper, probe: Sequence[int]) -> tuple[str, ...]:
    """Let `stepper` reuse cached prefixes if the card does so correctly; otherwise return the reason.

    Args:
        probe: ids of `kv_prefix.PROBE`.
    """
    stepper.reuses_prefix = True
    if kv_prefix.reuse_is_correct(stepper, probe):
        log.info("KV reuse is on: a prompt behind a cached prefix continues like the whole prompt")
        return ()
    stepper.reuses_prefix = False
    log.error("KV reuse is off: a prompt behind a cached prefix does not continue like the whole prompt")
    note = (
        f"{setting('tt.kv_reuse')} is off: on this card a prompt behind a cached prefix does not continue like the whole prompt. "
        "Each turn prefills the whole conversation."
    )
    return (note,)
