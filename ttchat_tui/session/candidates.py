"""Several replies to one message, side by side: as one batch where the engine can, otherwise one after the other.

All are siblings in the tree from the beginning. What the engine cannot take at once waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from ttchat_tui.domain.candidates import DEFAULT, CandidateOrder, Variant, rows_of, variants
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    NOTE,
    BranchShown,
    ConversationsChanged,
    DraftReturned,
    MessageAdded,
    MessageChanged,
    Notice,
    Update,
)
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.candidate_rows import draw_rows, fresh_seed, why_alike
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.drafts import Drafts
from ttchat_tui.session.lane import Lane, version_label
from ttchat_tui.session.notices import NO_MODEL, others_deleted
from ttchat_tui.session.reply_runner import ReplyRunner
from ttchat_tui.session.second_lanes import SecondLanes
from ttchat_tui.session.stored_lanes import stored_lanes
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession

NO_QUESTION: Final = ErrorInfo(
    kind="nothing_to_do", message="There is no message to answer yet.", cure="Write one first."
)
NOT_ENDED: Final = ErrorInfo(kind=NOTE, message="Some replies have not ended yet.", cure="S stops all.")


class Candidates:
    """Part of a `ChatSession`: the lanes of one question, the last that was asked."""

    def __init__(
        self,
        session: ChatSession,
        host: EngineHost,
        store: ConversationStore,
        runner: ReplyRunner,
        home: Callable[[], OpenConversation],
        why_not: Callable[[str], ErrorInfo | None],
        drafts: Drafts,
    ) -> None:
        """`home`: the conversation on screen. `why_not`: why no reply can start in it; its argument is the cure if one runs
        there."""
        self._session = session
        self._host = host
        self._store = store
        self._runner = runner
        self._shown_home = home
        self._why_not = why_not
        self._drafts = drafts
        self.lanes: list[Lane] = []
        self.second = SecondLanes(session, host, lambda: self.lanes)
        self._home = home()
        self._question_id = 0
        self._asked: Message | None = None
        """The question, until its first reply has begun: withdrawn with it if the engine refuses the prompt."""
        self._kept: Lane | None = None
        """All others go once it has ended."""
        self._loaded_for = ""
        """The model that was loaded last because a lane needs it."""

    @property
    def is_on_screen(self) -> bool:
        """The lanes belong to the end of the conversation on screen."""
        ids = self._shown_home().path.ids
        if not self.lanes or self._shown_home() is not self._home or not ids:
            return False
        own = {lane.message.id for lane in self.lanes if lane.message is not None}
        return ids[-1] == self._question_id or (ids[-1] in own and ids[-2] == self._question_id)

    @property
    def is_running(self) -> bool:
        return any(lane.state != "ended" for lane in self.lanes)

    @property
    def is_awaiting_load(self) -> bool:
        """Of those in the conversation on screen some wait, and none has begun."""
        return (
            self._is_home_shown
            and bool(self._waiting)
            and all(each.state != "running" for each in self.lanes)
        )

    @property
    def is_keeping(self) -> bool:
        """One is kept, and the others are deleted once all have ended."""
        return self._kept is not None

    @property
    def why_waiting(self) -> str:
        """Why some have not begun, in a sentence; empty: all have."""
        info = self._session.info
        if all(lane.state != "waiting" for lane in self.lanes):
            return ""
        if words := self.second.why_waiting:
            return words
        if model := self._missing_model:
            label, why = self.second.label_of(model), self.second.why_one_by_one(model)
            follows = "is being loaded" if self._runner.running is None else "follows"
            return f"{label} {follows}. {why}"
        if info is None:
            return "The model is being loaded."
        most = max(info.capabilities.batch_sizes)
        if most >= len(self.lanes):
            return "It follows when the others have ended."
        at_once = f"{most} replies" if most > 1 else "one reply"
        return f"{info.label} makes {at_once} at a time: the others follow."

    def reopen(self) -> None:
        """Take the last message's replies as lanes: those that were asked for last, otherwise those that are stored, if they
        are several and none is being written, here or in another window. Raises StorageError."""
        is_written = self.is_running or self._session.is_answering
        is_written = is_written or self._shown_home().id in self._session.other_windows.answered()
        if not is_written and not (self.is_on_screen and len(self.lanes) > 1):
            self._home, self._asked, self._kept = self._shown_home(), None, None
            self.lanes, self._question_id = stored_lanes(self._store, self._home.path, self.lanes)

    # --- beginnings

    def wanted(self, order: CandidateOrder, preset: Callable[[str], Preset]) -> list[Variant] | ErrorInfo:
        """What was typed, with the settings of the conversation on screen. `preset`: one by its name; what it raises passes
        through."""
        session, info = self._session, self._session.info
        if not order.count and order.name == "seed":
            most = max(info.capabilities.batch_sizes) if info is not None else DEFAULT
            order = msgspec.structs.replace(order, count=0 if order.value else max(2, min(DEFAULT, most)))
        return variants(order, session.sampling, session.default_sampling, preset, draw_rows)

    def ask(self, wanted: Sequence[Variant], text: str = "") -> list[Update]:
        """Answer `text`, or the last message of the user again. A text that cannot be sent returns in a `DraftReturned`.

        Raises:
            StorageError: nothing has changed.
        """
        why = self._why_not("Press Esc to stop it, then ask again.")
        why = why or why_alike(wanted, self._session.sampling, self._session.info)
        if why is not None:
            return [DraftReturned(text, why) if text else Notice(why)]
        home, updates, asked = self._shown_home(), list[Update](), None
        if text:
            is_new = home.id is None
            updates += home.follow()
            asked = home.add_user_message(text, self._session.model)
            updates += [MessageAdded(asked), ConversationsChanged()]
            if is_new:
                with suppress(StorageError):  # a later call stores it
                    self._drafts.keep(None, "")
            question_id = asked.id
        else:
            path = home.path
            found = next((path.ids[at] for at in reversed(range(len(path))) if path[at].role == "user"), None)
            if found is None:
                return [Notice(NO_QUESTION)]
            question_id = found
        self._home, self._question_id, self._asked, self._kept = home, question_id, asked, None
        self.second.reset()
        self.lanes = [Lane(each) for each in wanted]
        if not wanted[0].model:
            self._session.load_if_none()
        return updates + self.begin_next()

    @property
    def _waiting(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.wish is not None]

    @property
    def _own_waiting(self) -> list[Lane]:
        """Those that wait for the session's own host; first those whose model is loaded."""
        beside, loaded = self.second.waiting, self._session.loaded_model
        waiting = [lane for lane in self._waiting if lane not in beside]
        return sorted(waiting, key=lambda lane: lane.variant.model not in ("", loaded))

    @property
    def _missing_model(self) -> str:
        """The model of the next lane, if another one is loaded."""
        wanted = next((lane.variant.model for lane in self._own_waiting), "")
        is_there = wanted == self._session.loaded_model and self._session.info is not None
        return "" if is_there else wanted

    def begin_next(self) -> list[Update]:
        """Begin what waits, where no reply runs and its model is loaded; otherwise load that."""
        updates, session = self._settle(), self._session
        if self._is_load_unwanted:
            self._host.cancel_load()
        while self._runner.running is None and (waiting := self._own_waiting):
            if self.second.is_awaited:
                break
            if model := self._missing_model:
                is_coming = self._host.is_loading and session.model == model
                if session.second.running is None and not is_coming:
                    session.model = self._loaded_for = model
                    self._host.load(model)
                break
            if session.info is None:
                if not self._host.is_loading:  # the engine has died
                    self.give_up(NO_MODEL.message)
                break
            if waiting[0].wish == "continue":
                updates += self._continue(waiting[0])
            else:
                most, model = max(session.info.capabilities.batch_sizes), waiting[0].variant.model
                alike = [lane for lane in waiting if lane.wish == "answer" and lane.variant.model == model]
                updates += self._answer(alike[:most])
        updates += self.second.begin_next(self._home, self._question_id)
        return [*updates, *self._recount()]

    @property
    def _is_load_unwanted(self) -> bool:
        """A model is being loaded for a lane that waits no longer."""
        is_for_lane = self._host.is_loading and self._session.model == self._loaded_for
        wanted = {lane.variant.model for lane in self._waiting}
        return is_for_lane and self._loaded_for not in wanted and self._runner.running is None

    def _recount(self) -> list[Update]:
        """The shown reply has the second model's beside it, which were added without it."""
        path = self._home.path
        if self._session.second.home is not self._home or not path or path[-1].role != "assistant":
            return []
        known, running = path[-1], self._runner.running
        fresh = self._store.message(known.id)
        if fresh.sibling_count == known.sibling_count:
            return []
        counts = {"sibling_index": fresh.sibling_index, "sibling_count": fresh.sibling_count}
        if running is not None:
            running.message = msgspec.structs.replace(running.message, **counts)
        counted_again = msgspec.structs.replace(known, **counts)
        self._home.replace(counted_again)
        return [MessageChanged(counted_again)] if self._is_home_shown and running is None else []

    def _answer(self, lanes: list[Lane]) -> list[Update]:
        """One batch."""
        at = self._home.path.place_of(self._question_id)
        if at is None:
            return self.give_up("The message is not on this branch any more.")
        before = self._home.path
        replaced = before[at + 1 :]
        self._home.path = before[: at + 1]
        asked, self._asked = self._asked, None
        wanted, sampling = [lane.variant for lane in lanes], self._sampling
        began = self._runner.begin(
            self._home,
            sampling,
            self._session.model,
            asked=asked,
            replaced=replaced,
            settings=wanted[0].settings,
            rows=rows_of(wanted, sampling),
        )
        if self._runner.running is None:
            self._home.path = before
            return [*began, *self.give_up("It could not be stored.")]
        for row, lane in enumerate(lanes):
            lane.begin(self._runner.running, row, self._runner.meter)
        shown = [BranchShown(at + 1, ())] if replaced and self._is_home_shown else []
        return [*shown, *began, ConversationsChanged()]

    @property
    def _sampling(self) -> SamplingParams:
        """Of the conversation."""
        return self._home.sampling or self._session.default_sampling

    def _continue(self, lane: Lane) -> list[Update]:
        message, at = lane.message, self._home.path.place_of(self._question_id)
        if message is None or message.reply is None or at is None:
            return self.give_up("The reply is not there any more.")
        self._home.path = self._home.path[: at + 1]
        self._home.path.append(message)
        shown = [BranchShown(at + 1, (message,))] if self._is_home_shown else []
        began = self._runner.continue_reply(self._home, self._sampling, settings=lane.variant.settings)
        if self._runner.running is None:
            lane.wish = None
        else:
            lane.begin(self._runner.running, 0, self._runner.meter)
        return [*shown, *began, ConversationsChanged()]

    def give_up(self, why: str, *, are_named: bool = False) -> list[Update]:
        """Begin no more, for this reason. `are_named`: only those that wait for a certain model."""
        for lane in self._waiting:
            if lane.variant.model or not are_named:
                lane.give_up(lane.note or why)
        return []

    def free_second(self, why: str, *, are_named: bool = False) -> list[Update]:
        """Begin no more, as `give_up`, and free the second model. What ran there ends with the text it has."""
        self.give_up(why, are_named=are_named)
        return self._session.second.free()

    def miss(self, model: str, error: ErrorInfo, *, is_lost: bool) -> list[Update]:
        """A load of `model` has failed. Those that need it are not begun; if no model is left (`is_lost`), neither are those
        that need none in particular."""
        for lane in self._waiting:
            if lane.variant.model == model or (is_lost and not lane.variant.model):
                lane.give_up(error.line)
        return self.begin_next()

    @property
    def _is_home_shown(self) -> bool:
        return self._home is self._shown_home()

    # --- what the user does with one

    def stop(self, *lanes: Lane) -> list[Update]:
        """End these, or let them wait no longer. What waited for them begins; a load that only they waited for is cancelled."""
        for lane in lanes:
            if lane.state != "ended":
                lane.stop()
        return self.begin_next()

    def regenerate(self, lane: Lane) -> list[Update]:
        """Another reply in the place of this one, which stays a sibling. It waits until the others have ended."""
        if (why := self._why_not_again(lane)) is not None:
            return [Notice(why)]
        label, seed = lane.label_made_by(self._session.info), fresh_seed()
        if label in (f"seed {lane.variant.seed}", lane.message and version_label(lane.message)):
            label = f"seed {seed}"
        lane.ask_again(msgspec.structs.replace(lane.variant, label=label, seed=seed))
        return self.begin_next()

    def continue_reply(self, lane: Lane) -> list[Update]:
        """More of a reply that was stopped or cut off. It waits until the others have ended."""
        if (why := self._why_not_again(lane)) is not None:
            return [Notice(why)]
        lane.wish = "continue" if lane.has_reply else "answer"
        return self.begin_next()

    def _why_not_again(self, lane: Lane) -> ErrorInfo | None:
        if lane.state != "ended":
            return ErrorInfo(kind="usage", message="It has not ended yet.", cure="Stop it first: s.")
        if not self.is_on_screen or self._kept is not None:
            return ErrorInfo(kind="usage", message="The conversation continues from another reply.")
        return None if self.is_running else self._why_not("Press Esc to stop it, then try again.")

    def show(self, lane: Lane) -> list[Update]:
        """Show this one in the conversation; all stay. Raises StorageError."""
        message = lane.message
        if self.is_running:
            return [Notice(NOT_ENDED)]
        if message is None:
            return []
        return self._session.branching.show_version(message)

    def keep(self, lane: Lane) -> list[Update]:
        """Keep this one alone: the others are stopped, and deleted once all have ended."""
        if lane.state == "ended" and not lane.has_reply:
            return []
        self._kept = lane
        return self.stop(*(each for each in self.lanes if each is not lane))

    def _settle(self) -> list[Update]:
        """Take in what has ended."""
        for lane in self.lanes:
            if not any(map(lane.is_in, self._session.running_replies)):
                lane.settle()
        if self._question_id and self._home.path.place_of(self._question_id) is None and not self.is_running:
            self.lanes = []  # the engine refused the prompt, and the message went back to the user
        if self._kept is None or self.is_running or self._session.is_busy:
            return []
        try:
            return self._let_others_go()
        except StorageError as error:  # all stay
            return [Notice(error.info)]

    def _let_others_go(self) -> list[Update]:
        """Delete all but the one that is kept. `undo` brings them back together."""
        kept, self._kept = self._kept, None
        if kept is None or kept.message is None or not self.is_on_screen:
            return []
        beside = [each.message for each in self.lanes if each is not kept and each.message is not None]
        others = [each for each in beside if not self._store.children(each.id, each.conversation_id)]
        shown = self._session.branching.show_version(kept.message)
        if others:
            self._store.branches.cut(others, kept.message.id)
        self._session.organising.forget_archiving()
        self.lanes = [kept]
        kept.message = self._store.message(kept.message.id)  # with its siblings counted
        self._home.replace(kept.message)
        said = others_deleted(len(others), len(beside) - len(others))
        notes = [Notice(ErrorInfo(kind=NOTE, message=said))] if said else []
        return [*shown, MessageChanged(kept.message), *notes, ConversationsChanged()]
