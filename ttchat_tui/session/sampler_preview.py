"""The token that the sampler's preview shows: the newest one of the reply on screen, or one that the inspector is at."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import StepScores
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.recording import Recording, alternatives_and_itself, alternatives_of
from ttchat_tui.domain.sampler_view import Rest, SamplerView, ShownToken
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import PreviewChanged, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.recordings import RecordedReplies
from ttchat_tui.session.running_reply import RunningReply

if TYPE_CHECKING:
    from ttchat_tui.engine.decoding.step_preview import StepPreview

_RULES: Final = "ttchat_tui.engine.decoding.step_preview"
"""The sampler's own code. It is imported when the preview opens, since it loads numpy into the app's process."""

DRAWS: Final = 20
_NO_REPLY: Final = "The last token of the next reply appears here."
_NOT_RECORDED: Final = "Nothing is known of the last token. The next one appears here."
_NO_NUMPY: Final = "The preview needs numpy: pip install 'ttchat-tui[cpu]'."


class PreviewedToken:
    """One token of a reply, under any settings."""

    def __init__(
        self,
        token_id: int,
        number: int,
        pieces: Mapping[int, bytes],
        step: StepPreview | None,
        listed: Sequence[ShownToken] = (),
        *,
        is_whole: bool = False,
        constraint: Constraint | None = None,
    ) -> None:
        """`step`: None for a token of a server, which says only what is `listed`. `constraint`: of its reply, which no later
        setting changes."""
        self.token_id = token_id
        self.number = number
        """Its place in the reply, from 1."""
        self.pieces = pieces
        """The bytes of tokens; of some, only the id is known."""
        self.is_whole = is_whole
        """The scores of the whole vocabulary are known, not those of the recorded alternatives only."""
        self.constraint = constraint
        self._step = step
        self._listed = listed

    @property
    def is_listed(self) -> bool:
        """A server has listed its probabilities, and does not say how it samples: settings change nothing here."""
        return self._step is None

    def under(self, params: SamplingParams, lines: int) -> SamplerView:
        """What the sampler does with these settings, in at most `lines` tokens and rests. Raises AppError: nothing is
        left to draw."""
        if self._step is not None:
            return self._step.under(params, lines)
        shown = self._listed[: lines - 1]
        share = sum(each.share for each in shown)
        rest = Rest("unknown", 0, max(0.0, 1 - share))
        return SamplerView(shown, [rest], len(shown), share, len(self._listed))

    def draws(self, params: SamplingParams, uniforms: Sequence[float]) -> dict[int, int]:
        """How often each token is drawn with these numbers (0 ≤ each < 1), the most frequent first; none from a server's.
        Raises AppError."""
        return self._step.draws(params, uniforms) if self._step is not None else {}


class _Place(NamedTuple):
    """A recorded token."""

    message_id: int
    recording: Recording
    at: int
    """In `recording.tokens`."""

    @property
    def key(self) -> tuple[int, int]:
        """Its message and its number."""
        return self.message_id, self.recording.first + self.at + 1


class SamplerPreview:
    """While it is open, the engine sends the scores of its newest step. Nothing is generated for it."""

    def __init__(
        self,
        host: EngineHost,
        recordings: RecordedReplies,
        running: Callable[[], RunningReply | None],
        last_reply: Callable[[], Message | None],
        on_screen: Callable[[int], Message | None],
    ) -> None:
        """`last_reply`: on screen, also a running one. `on_screen`: a message by its id, if it is there."""
        self._host = host
        self._recordings = recordings
        self._running = running
        self._last_reply = last_reply
        self._on_screen = on_screen
        self._rules: type[StepPreview] | None = None
        self._newest: tuple[int, PreviewedToken] | None = None
        """With its message."""
        self._pieces: dict[int, bytes] = {}
        self._request_id = 0
        """The one that has sent `_pieces`."""
        self._inspected: _Place | None = None
        self._is_pinned = False
        self._stored: _Place | None = None
        """The last token of a reply that was read."""
        self._made: tuple[tuple[int, int], PreviewedToken | None] | None = None
        """The recorded token that was shown last."""
        self._is_loaded = False
        self._fault = ""
        self.is_open = False

    # --- opening

    def load(self) -> None:
        """Load the sampler's rules, which takes a tenth of a second: for another thread."""
        try:
            self._rules = importlib.import_module(_RULES).StepPreview
        except ModuleNotFoundError:  # an installation for servers only
            self._fault = _NO_NUMPY
        self._is_loaded = True

    def set_open(self, is_open: bool) -> None:
        self.is_open = is_open
        self._host.set_previewed(is_open)
        if is_open and self._newest is not None and self._tokens_made > self._newest[1].number:
            self._newest = None  # its reply has grown meanwhile
        elif not is_open:
            self._stored = self._inspected = self._made = None

    @property
    def _tokens_made(self) -> int:
        """Of the reply on screen."""
        running, last = self._running(), self._last_reply()
        if running is not None and running.recorder is not None:
            return running.recorder.end
        return last.reply.tokens if last is not None and last.reply is not None else 0

    # --- what it shows

    @property
    def token(self) -> PreviewedToken | None:
        """The same object as long as it shows the same. None: `why_not` says why."""
        newest, place = self._newest, self._inspected
        if place is None or self._on_screen(place.message_id) is None:
            last = self._last_reply()
            if last is None:
                return None
            if newest is not None and newest[0] == last.id:
                return newest[1]
            place = self._last_place(last.id)
        if place is None or not place.recording.tokens:
            return None
        if newest is not None and (newest[0], newest[1].number) == place.key:
            return newest[1]  # of which more is known
        made = self._made
        if made is None or made[0] != place.key or made[1] is None:  # the rules may be loaded by now
            self._made = made = place.key, self._recorded(place)
        return made[1]

    def _last_place(self, message_id: int) -> _Place | None:
        """The last recorded token of the reply on screen."""
        running = self._running()
        if running is None or running.message.id != message_id:
            is_read = self._stored is not None and self._stored.message_id == message_id
            return self._stored if is_read else None
        self._stored = None  # what was read is not the end any more
        recording = running.recorder.recording if running.recorder is not None else Recording()
        return _Place(message_id, recording, len(recording.tokens) - 1) if recording.tokens else None

    def _recorded(self, place: _Place) -> PreviewedToken | None:
        """None: nothing is known of it, or the rules are not loaded."""
        recording, token = place.recording, place.recording.tokens[place.at]
        number, pieces, alternatives = place.key[1], recording.pieces, alternatives_of(token)
        if alternatives and alternatives[0].cut == "unknown":
            listed = [ShownToken(each.token_id, math.exp(each.logprob), "unknown") for each in alternatives]
            return PreviewedToken(token.token_id, number, pieces, None, listed)
        known = alternatives_and_itself(token)  # a constraint may have cut all the others
        if not known or self._rules is None:
            return None
        before = [each.token_id for each in recording.tokens[: place.at]]
        message, step = self._on_screen(place.message_id), self._rules.of_recorded(known, before)
        begun = message.reply.sampling if message is not None and message.reply is not None else None
        constraint = recording.sampling_at(number - 1, begun or SamplingParams()).constraint
        return PreviewedToken(token.token_id, number, pieces, step, constraint=constraint)

    @property
    def why_not(self) -> str:
        """Why there is no token: a sentence."""
        info = self._host.info
        if self._fault:
            return self._fault
        if info is not None and not info.capabilities.logprobs:
            if info.endpoint:
                asked = setting("remote.logprobs", "true")
                return f"The server lists no probabilities. {asked} asks for them."
            on_host = setting("tt.sampling", '"host"')
            return f"The card draws the tokens: their scores never reach this machine's sampler. {on_host} shows them."
        return _NO_REPLY if self._last_reply() is None else _NOT_RECORDED

    # --- what may be shown next

    def take(self, step: StepScores) -> list[Update]:
        """The newest step of the running reply."""
        running = self._running()
        if running is None or step.request_id != running.request.id or self._rules is None:
            return []
        if step.request_id != self._request_id:
            self._request_id, self._pieces = step.request_id, {}
        self._pieces.update(step.pieces)
        first = running.recorder.first if running.recorder is not None else 0
        number = first + step.at + 1
        token = PreviewedToken(
            step.token_id,
            number,
            self._pieces,
            self._rules.of(step),
            is_whole=True,
            constraint=running.constraint,
        )
        self._newest = running.message.id, token
        if self._is_pinned:
            self.look_at_last()
        return [PreviewChanged()]

    def reader(self) -> Callable[[], None] | None:
        """Reads the last token of the stored reply on screen, on any thread; None: it is known, a reply runs, or the rules are
        not loaded yet. Raises StorageError, also the function."""
        last = self._last_reply()
        if last is None or not self._is_loaded or self._running() is not None or self.token is not None:
            return None
        if self._stored is not None and self._stored.message_id == last.id:
            return None
        read = self._recordings.reader(last.id)

        def keep() -> None:
            recording = read()
            self._stored = _Place(last.id, recording, len(recording.tokens) - 1)

        return keep

    def inspect(self, message_id: int, recording: Recording, index: int) -> None:
        """Show `recording.tokens[index]`, where the inspector's cursor is."""
        self._inspected, self._is_pinned = _Place(message_id, recording, index), False

    def pin(self) -> None:
        """Show the inspected token until the next one comes."""
        self._is_pinned = True

    def look_at_last(self) -> None:
        """Show the last token again."""
        self._inspected, self._is_pinned = None, False
