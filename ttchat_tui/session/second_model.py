"""Another model beside the session's own, for candidates of two models that stream at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

from ttchat_tui.domain.candidates import Variant, rows_of
from ttchat_tui.domain.events import EngineEvent, GenerationEvent, LoadEvent, SecondModelEvent
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.reply_settings import ReplySettings
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import DraftReturned, Notice, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.reply_runner import ReplyRunner
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.message_path import MessagePath

_LOAD_EVENTS: tuple[type[LoadEvent], ...] = get_args(LoadEvent)


class SecondModel:
    """Part of a `ChatSession`: an engine host of its own with a runner of its own, from the load of a model until `free`.

    Its replies are siblings of those on the path of `home`, and are stored and checkpointed as all replies are.
    """

    def __init__(
        self,
        make_host: Callable[[], EngineHost] | None,
        first: EngineHost,
        store: ConversationStore,
        make_runner: Callable[[EngineHost], ReplyRunner],
        default_sampling: Callable[[SamplingParams], SamplingParams],
    ) -> None:
        """
        Args:
            make_host: a new host, started; None: one model is held at a time.
            first: the host of the session's own model.
            make_runner: a runner of replies in that host.
            default_sampling: applies the user's config to the model's recommendation.
        """
        self._make_host = make_host
        self._first = first
        self._store = store
        self._make_runner = make_runner
        self._default_sampling = default_sampling
        self._host: EngineHost | None = None
        self._runner: ReplyRunner | None = None
        self._waker: Callable[[], None] | None = None
        self.model = ""
        """The loaded one, or the one that is being loaded, as an argument of `--model`; empty: there is none."""
        self.home: OpenConversation | None = None
        """The conversation that it is loaded for."""

    @property
    def is_possible(self) -> bool:
        return self._make_host is not None

    @property
    def info(self) -> EngineInfo | None:
        return self._host.info if self._host is not None else None

    @property
    def is_loading(self) -> bool:
        return self._host is not None and self._host.is_loading

    @property
    def running(self) -> RunningReply | None:
        return self._runner.running if self._runner is not None else None

    @property
    def meter(self) -> Meter:
        """The figures of its running or its last reply."""
        assert self._runner is not None
        return self._runner.meter

    @property
    def answers(self) -> OpenConversation | None:
        """The conversation in which its reply runs, or waits for its load."""
        return self.home if self.is_loading or self.running is not None else None

    @property
    def models_at_once(self) -> int:
        """How many of the models that are loaded decode on this machine's processor."""
        infos = (self._first.info, self.info)
        return max(1, sum(info is not None and info.threads > 0 for info in infos))

    # --- the host

    def load(self, model: str, home: OpenConversation) -> None:
        """Load `model` in place of the one before, for a reply in `home`."""
        assert self._make_host is not None
        if self._host is None or not self._host.is_alive:
            self._host = self._make_host()
            self._host.set_waker(self._waker)
            self._runner = self._make_runner(self._host)
        self.model, self.home = model, home
        self._host.load(model)

    def stop(self) -> None:
        """End its reply on the engine's side, which reports it; a load is cancelled."""
        if self.running is not None:
            self.running.control.cancel()
        elif self.is_loading:
            self.free()

    def free(self) -> list[Update]:
        """Free its memory, and cancel its load. A running reply ends with the text it has. Nothing waits for the end of the
        process."""
        ended = self.leave()
        if self._host is not None:
            self._host.set_waker(None)
            self._host.shutdown(timeout_s=0)
        self._host = self._runner = self.home = None
        self.model = ""
        return ended

    def set_waker(self, wake: Callable[[], None] | None) -> None:
        """See `EngineHost`."""
        self._waker = wake
        if self._host is not None:
            self._host.set_waker(wake)

    def events(self) -> list[EngineEvent]:
        """What it has reported since the last call; what does not belong to a reply is in a `SecondModelEvent`."""
        if self._host is None:
            return []
        return [
            SecondModelEvent(event) if isinstance(event, _LOAD_EVENTS) else event
            for event in self._host.drain()
        ]

    # --- replies

    def begin(self, home: OpenConversation, path: MessagePath, wanted: Sequence[Variant]) -> list[Update]:
        """Answer the last message of `path` in `home`, whose end stays the head of the conversation."""
        beside, sampling = self._beside(home, path), self._sampling(home)
        assert self._runner is not None
        rows, settings = rows_of(wanted, sampling), wanted[0].settings
        began = self._runner.begin(beside, sampling, self.model, settings=settings, rows=rows)
        return self._begun(home, began)

    def continue_reply(
        self, home: OpenConversation, path: MessagePath, settings: ReplySettings
    ) -> list[Update]:
        """Continue the reply at the end of `path`. `settings`: of this reply alone."""
        assert self._runner is not None
        beside, sampling = self._beside(home, path), self._sampling(home)
        return self._begun(home, self._runner.continue_reply(beside, sampling, settings=settings))

    def _sampling(self, home: OpenConversation) -> SamplingParams:
        """Of the conversation; else the defaults of this model."""
        assert self.info is not None
        return home.sampling or self._default_sampling(self.info.recommended or SamplingParams())

    def _beside(self, home: OpenConversation, path: MessagePath) -> OpenConversation:
        """`home` with another path: the reply is in its tree, and not on its path."""
        assert home.conversation is not None
        beside = OpenConversation(self._store, home.system_prompt)
        beside.show(home.conversation, path)
        beside.sampling, beside.system_prompt = home.sampling, home.system_prompt
        return beside

    def _begun(self, home: OpenConversation, updates: list[Update]) -> list[Update]:
        if home.conversation is not None and home.path and home.path[-1].role == "assistant":
            self._store.set_head(home.conversation.id, home.path.ids[-1])
        return self._seen(updates)

    def apply(self, event: GenerationEvent) -> list[Update]:
        """Apply an event of its reply; those of others are dropped."""
        return self._seen(self._runner.apply(event)) if self._runner is not None else []

    def leave(self) -> list[Update]:
        """End its reply now with the text it has."""
        return self._seen(self._runner.leave()) if self._runner is not None else []

    def _seen(self, updates: Sequence[Update]) -> list[Update]:
        """What concerns the user. The text is not in the transcript, and no draft was sent."""
        seen: list[Update] = []
        for update in updates:
            if isinstance(update, Notice | DraftReturned):
                seen.append(Notice(update.error))
        return seen
