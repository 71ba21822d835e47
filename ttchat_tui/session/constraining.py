"""Constraints on trial: one that is set stays if the engine can follow it; otherwise the one before returns.

The engine answers when it counts the next prompt: at once, after a load, or after the reply that runs. Until then the
constraint applies, so that a message which is sent in between is not answered in another form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import ConstraintChecked, Notice, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.storage.errors import StorageError


class _Trial(NamedTuple):
    home: OpenConversation
    constraint: Constraint
    before: Constraint | None
    set_over_default: SamplingParams | None
    """What the conversation got, if it had the defaults before and nothing but the constraint was changed."""

    def is_of(self, home: OpenConversation) -> bool:
        """The same conversation, perhaps read again."""
        return self.home is home or (home.id is not None and home.id == self.home.id)


class Constraining:
    """Part of a session."""

    def __init__(
        self,
        host: EngineHost,
        home: Callable[[], OpenConversation],
        defaults: Callable[[SamplingParams], SamplingParams],
        default_sampling: Callable[[], SamplingParams],
    ) -> None:
        """`home`: the conversation on screen. `defaults`: config and flags over a model's recommendation; `default_sampling`:
        over that of the loaded model."""
        self._host, self._home = host, home
        self._defaults, self._default_sampling = defaults, default_sampling
        self._trials: list[_Trial] = []
        self._followed: Constraint | None = None
        """The default that an engine could follow."""
        self._unusable: Constraint | None = None
        """The default that the loaded model cannot follow."""
        self._reported: ErrorInfo | None = None
        """The last problem that was reported of a constraint that stays."""
        self._refusal: ErrorInfo | None = None
        """Of the last request, until the constraint is decided."""

    def defaults(self, recommended: SamplingParams) -> SamplingParams:
        """The defaults over what a model recommends, without a constraint that could not be followed when it was tried."""
        found = self._defaults(recommended)
        is_unusable = found.constraint is not None and found.constraint == self._unusable
        return replace(found, constraint=None) if is_unusable else found

    def note_load(self) -> None:
        """Another model is loaded: it may follow what the one before could not."""
        self._unusable = self._reported = None

    def note_refusal(self, error: ErrorInfo) -> None:
        """A request was refused, which is on screen."""
        self._reported = self._refusal = error

    @property
    def sampling(self) -> SamplingParams:
        """Of the conversation on screen: its own, or the defaults."""
        return self._home().sampling or self._default_sampling()

    def begin_trial(self, sampling: SamplingParams) -> None:
        """The conversation on screen gets these parameters."""
        home, now, constraint = self._home(), self.sampling, sampling.constraint
        if constraint == now.constraint:
            return
        earlier = self._trial_of(home)
        before = earlier.before if earlier is not None else now.constraint
        had_defaults = home.sampling is None or (earlier and earlier.set_over_default == home.sampling)
        is_alone = had_defaults and replace(now, constraint=constraint) == sampling
        self._trials = [each for each in self._trials if not each.is_of(home)]
        if constraint is not None and constraint != before:
            self._trials.append(_Trial(home, constraint, before, sampling if is_alone else None))

    @property
    def is_on_trial(self) -> bool:
        """Whether the constraint of the conversation on screen has not been checked yet."""
        return self._trial_of(self._home()) is not None

    def checked(self) -> list[Update]:
        """What is to be said of the constraint that was just set; nothing while the engine is checking it."""
        if not self.is_on_trial:
            return [ConstraintChecked(self._now)]
        is_checked_now = self._host.state == "ready" and not self._host.is_loading
        return [] if is_checked_now else [ConstraintChecked(self._now, is_awaited=True)]

    def decide(
        self, home: OpenConversation, constraint: Constraint | None, problem: ErrorInfo | None
    ) -> list[Update]:
        """The engine has checked the constraint of a conversation: it stays, or the one before returns. One that was followed
        before, by another model or in an earlier session, stays, and requests are refused."""
        if home is not self._home() or constraint != self._now or self._host.is_loading:
            return []  # it has been changed since, or another model is to be asked
        info = self._host.info
        if constraint is not None and info is not None:
            problem = unsupported(info, constraint) or problem
        trial = self._trial_of(home)
        if problem is None:
            self._trials = [each for each in self._trials if each is not trial]
            self._followed = constraint if home.sampling is None else self._followed
            self._reported = None
            return [ConstraintChecked(constraint)] if trial is not None else []
        is_reported, self._reported = problem == self._reported, problem
        is_said, self._refusal = problem == self._refusal, None
        if trial is not None:
            self._trials.remove(trial)
            failed = self._take_back(trial)
            return [*failed, ConstraintChecked(self._now, problem, is_said=is_said)]
        if home.sampling is None and constraint != self._followed:
            self._unusable = constraint
            return [ConstraintChecked(self._now, problem, is_said=is_said)]
        cure = f"{problem.cure} /constrain off takes it out.".strip()
        return [] if is_reported else [Notice(replace(problem, cure=cure))]

    def _take_back(self, trial: _Trial) -> list[Update]:
        home, default = self._home(), trial.set_over_default
        before = None if home.sampling == default else replace(self.sampling, constraint=trial.before)
        try:
            home.set_sampling(before)
        except StorageError as error:  # it applies to this session
            return [Notice(error.info)]
        return []

    @property
    def _now(self) -> Constraint | None:
        return self.sampling.constraint

    def _trial_of(self, home: OpenConversation) -> _Trial | None:
        return next(
            (each for each in self._trials if each.is_of(home) and each.constraint == self._now), None
        )


def unsupported(info: EngineInfo, constraint: Constraint) -> ErrorInfo | None:
    """Why the loaded model follows no constraint of this kind, or None."""
    can = info.capabilities
    if "constraint" not in can.sampling:
        return ErrorInfo(
            kind="constraint", message=f"{info.label} cannot constrain replies.", cure=can.constraint_cure
        )
    if constraint.kind not in can.constraints:
        kinds = " or ".join(sorted(can.constraints))
        return ErrorInfo(
            kind="constraint",
            message=f"{info.label} cannot constrain a reply by {constraint.named}.",
            cure=f"It takes {kinds}; in-process engines take all.",
        )
    return None
