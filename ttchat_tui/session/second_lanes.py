"""The candidates of a second model: beside those of the session's own where memory allows, else one model after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ttchat_tui.domain.events import EngineFailed, LoadEvent, LoadProgress
from ttchat_tui.domain.updates import Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.lane import Lane

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession


class SecondLanes:
    """Part of `Candidates`. Those of both models begin at the same time, so that their figures can be compared."""

    def __init__(self, session: ChatSession, host: EngineHost, lanes: Callable[[], Sequence[Lane]]) -> None:
        """`host`: of the session's own model. `lanes`: all of the question."""
        self._session = session
        self._host = host
        self._lanes = lanes
        self._refusals: dict[str, str] = {}
        """Models that cannot be loaded beside the first, with the reason."""
        self._progress: LoadProgress | None = None
        self._is_watched = False

    @property
    def own_model(self) -> str:
        """The session's model, loaded or being loaded; empty: there is none."""
        session = self._session
        if self._host.is_loading:
            return session.model
        return session.loaded_model if self._host.info is not None else ""

    @property
    def waiting(self) -> list[Lane]:
        """Those that wait for the second model. Without a reply of the session's own model there is no second one."""
        own, lanes = self.own_model, self._lanes()
        if not self._session.second.is_possible or all(lane.variant.model != own for lane in lanes):
            return []
        return [
            lane
            for lane in lanes
            if lane.wish is not None and lane.variant.model not in (own, "", *self._refusals)
        ]

    @property
    def is_awaited(self) -> bool:
        """The others wait: it is being loaded, or about to be."""
        second = self._session.second
        waiting = self.waiting if second.running is None else []
        return bool(waiting) and (second.info is None or second.model != waiting[0].variant.model)

    def reset(self) -> None:
        """Another question is asked: there may be more memory by now."""
        self._refusals.clear()

    def watch(self, is_on_screen: bool) -> list[Update]:
        """While the candidates are on screen, the second model stays loaded: one of its replies may be made again."""
        self._is_watched = is_on_screen
        is_unused = not is_on_screen and self._session.second.running is None and not self.waiting
        return self._session.second.free() if is_unused else []

    def begin_next(self, home: OpenConversation, question_id: int) -> list[Update]:
        """Begin what waits for the second model if that is loaded, or load it; free it if nobody wants it."""
        second = self._session.second
        if second.running is not None:
            return []
        if not (waiting := self.waiting):
            return [] if self._is_watched and not second.is_loading else second.free()
        model = waiting[0].variant.model
        if second.model != model or (second.info is None and not second.is_loading):
            if not self._host.is_loading:  # both together would need more memory and take longer
                self._progress = None
                second.load(model, home)
            return []
        at = home.path.place_of(question_id)
        if second.info is None or at is None:
            return []
        path, lane = home.path[: at + 1], waiting[0]
        if lane.wish == "continue" and lane.message is not None and lane.message.reply is not None:
            path.append(lane.message)
            began = second.continue_reply(home, path, lane.variant.settings)
            begun = [lane]
        else:
            most = max(second.info.capabilities.batch_sizes)
            begun = [each for each in waiting if each.variant.model == model and each.wish == "answer"][:most]
            began = second.begin(home, path, [each.variant for each in begun])
        for row, each in enumerate(begun):
            if second.running is None:
                each.give_up("It could not be stored.")
            else:
                each.begin(second.running, row, second.meter)
        return began

    def take(self, event: LoadEvent) -> list[Update]:
        """Take note of an event of its load. After one that failed for lack of room, one model follows the other."""
        second = self._session.second
        if isinstance(event, LoadProgress):
            self._progress = event
        if not isinstance(event, EngineFailed):
            return []
        model, error = second.model, event.error
        if error.kind == "out_of_memory":
            self._refusals[model] = error.message
        else:
            for lane in self.waiting:
                if lane.variant.model == model:
                    lane.give_up(error.line)
        return second.free()

    # --- words

    @property
    def why_waiting(self) -> str:
        """Why those of the second model have not begun, in a sentence; empty: none waits for it."""
        second, waiting = self._session.second, self.waiting
        if not waiting:
            return ""
        label, own = waiting[0].label, self.label_of(self.own_model)
        if second.running is not None:
            return f"{label} follows when {self.label_of(second.model)} has ended."
        if self._host.is_loading:
            return f"{own} is being loaded, then {label} beside it."
        done = self._progress
        share = (
            f" ({done.phase} {done.done * 100 // done.total} %)" if done is not None and done.total else ""
        )
        has_others = any(lane.wish is not None and lane not in waiting for lane in self._lanes())
        return f"{label} is being loaded beside {own}{share}{': both begin then' if has_others else ''}."

    def label_of(self, model: str) -> str:
        """The short name of a model, as above its lane."""
        return next((lane.label for lane in self._lanes() if lane.variant.model == model), model)

    def why_one_by_one(self, model: str) -> str:
        """Why `model` is loaded in the place of another one."""
        return self._refusals.get(model) or "One model is held at a time."

    @property
    def sharing(self) -> str:
        """How two models share the processor, in a sentence; empty: they do not."""
        second, own = self._session.second, self._session.info
        if second.models_at_once < 2 or second.running is None or own is None or second.info is None:
            return ""
        each = [max(1, info.threads // second.models_at_once) for info in (own, second.info)]
        words = (
            f"{each[0]} and {each[1]} threads"
            if each[0] != each[1]
            else f"{each[0]} thread{'s' * (each[0] > 1)} each"
        )
        return f"Both models decode on this processor: {words}."
