"""A better model than the default: the offer of the first start, and a download beside the chat."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.text import visible_line
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.models.errors import ModelError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.textual_patches.privates import add_bindings, remove_bindings
from ttchat_tui.ui.widgets.status_line import StatusLine
from ttchat_tui.ui.widgets.transcript.message_format import welcome

if TYPE_CHECKING:
    from ttchat_tui.models.background import BackgroundPull
    from ttchat_tui.models.offer import OfferedModel

LOOK_EVERY_S: Final = 0.5
CANCEL: Final = "cancel"


class DownloadLine(Static):
    """One line below the status line while a model comes."""

    DEFAULT_CSS = "DownloadLine { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }"


class Getting(ChatActions):
    """`action_get_model` and what leads to it."""

    _offers: tuple[OfferedModel, ...] = ()
    _pull: BackgroundPull | None = None

    def offer_models(self) -> None:
        """The first time that the default model is ready because nothing else was chosen: offer better ones. Never again."""
        if self.services.offers_models and not self.services.ui_state.has_offered_models:
            self.keep_ui_state(has_offered_models=True)
            self.run_worker(self._offer())

    def welcome_text(self) -> Content:
        """The text in an empty transcript."""
        return _offer_text(self._offers) if self._offers else welcome()

    async def _offer(self) -> None:
        paths = self.services.paths
        offers = await asyncio.to_thread(
            deferred.offer.best_for_this_machine, paths.models_dir, paths.cache_dir, os.environ
        )
        if not offers:
            return
        self._offers = offers
        add_bindings(self, [Binding(f"alt+{n}", f"get_offered({n})", show=False) for n in self._numbers()])
        if self.session.path:
            best = ", ".join(
                f"{number} {model.name}" for number, model in zip(self._numbers(), offers, strict=True)
            )
            self.notify(
                f"The default model is tiny and there to try the app. /get {best}", timeout=15, markup=False
            )
        else:
            self.transcript.set_placeholder(self.welcome_text())

    def action_get_offered(self, number: int) -> None:
        self.command_get_model(str(number))

    def action_get_model(self) -> None:
        """Without a name: the offered models, or the download that runs, as choices of the command."""
        self.prompt.set_draft("/get ")

    def choices_get_model(self) -> list[tuple[str, str]]:
        if self._pull is not None:
            return [(CANCEL, f"the download of {self._pull.name}")]
        rows = [row for row in self.offered_models() if not row.is_here and not row.endpoint]
        return [(row.name, deferred.library.format_size(row.size_bytes)) for row in rows]

    def command_get_model(self, name: str) -> None:
        """Download a model while the chat continues, and load it then. `name`: a number of the offer, or a model's name."""
        if name.lower() == CANCEL:
            if self._pull is not None:
                self._pull.cancel()
            else:
                self.show_error(
                    ErrorInfo(kind="usage", message="No download is running.", cure="/get lists the models.")
                )
            return
        if name.isdecimal() and 1 <= int(name) <= len(self._offers):
            name = self._offers[int(name) - 1].name
        try:
            found = deferred.local.resolve(name, self.services.paths.models_dir, os.environ)
        except ModelError as error:
            self.show_error(error.info)
            return
        if found.path is not None or found.entry is None or not self._is_quantised_wanted():
            self._take(name)
            return
        if self._pull is not None:
            coming = f"{self._pull.name} is still coming."
            self.show_error(ErrorInfo(kind=NOTE, message=coming, cure="/get cancel stops it."))
            return
        self._pull = deferred.background.BackgroundPull(
            found.entry, self.services.paths.models_dir, os.environ
        )
        self.mount(DownloadLine(self._line(self._pull), markup=False), after=self.query_one(StatusLine))
        self.set_timer(LOOK_EVERY_S, self._look)

    def choose_model(self, name: str) -> None:
        """What was chosen in the picker: a model that is not here comes beside the present one, if there is one."""
        is_local = self.services.config.without_kind(name) == name
        if is_local and self.session.info is not None and self.model_fault(name) is None:
            self.command_get_model(name)
        else:
            self.command_model(name)

    def _is_quantised_wanted(self) -> bool:
        """Whether the CPU loads the model as it comes. Else the load itself downloads what the engine wants: a card and a
        chosen precision take another source."""
        config, info = self.services.config, self.session.info
        has_card = self.services.read_cards is not None and config.model.engine == "auto"
        is_cpus = info is not None and info.engine == "cpu" and config.model.engine in ("auto", "cpu")
        return is_cpus and not has_card and config.cpu.precision == "auto"

    def _look(self) -> None:
        """Draw the progress. At the end of the download load the model, once no reply runs."""
        pull = self._pull
        if pull is None:
            return
        if pull.is_running or (pull.is_complete and self.session.is_busy):
            self.query_one(DownloadLine).update(self._line(pull))
            self.set_timer(LOOK_EVERY_S, self._look)
            return
        self._pull = None
        self.query_one(DownloadLine).remove()
        if pull.is_complete:
            self.notify(f"{pull.name} is here.", markup=False)
            self._take(pull.name)
        elif pull.error is not None:
            self.show_error(pull.error)
        else:
            self.notify(f"Cancelled. /get {pull.name} resumes the download.", markup=False)

    def _line(self, pull: BackgroundPull) -> str:
        if not pull.is_running:
            return f"↓ {pull.name} is here and is loaded after this reply"
        progress = pull.progress
        verb = "verifying " if progress.phase == "verify" else ""
        amounts = ""
        if progress.total:
            share = progress.done / progress.total
            amounts = f"  {share:.0%}  {progress.done / 1e6:,.0f} / {progress.total / 1e6:,.0f} MB"
        return visible_line(f"↓ {verb}{pull.name}{amounts}   /get cancel")

    def _take(self, name: str) -> None:
        """Load a model that is here. The offer is answered: its keys are free again, and an empty transcript is as always."""
        self.command_model(name)
        remove_bindings(self, [f"alt+{number}" for number in self._numbers()])
        self._offers = ()
        if not self.session.path:
            self.transcript.set_placeholder(self.welcome_text())

    def _numbers(self) -> range:
        return range(1, len(self._offers) + 1)


def _offer_text(offers: Sequence[OfferedModel]) -> Content:
    """The text in an empty transcript of the first start, in lines of at most 48 cells."""
    width = max(len(each.name) for each in offers)
    lines = [
        Content.assemble(
            (f"alt+{number} ", "bold $primary"),
            each.name.ljust(width),
            (
                f" {'here' if each.is_here else deferred.library.format_size(each.size_bytes):>7}",
                "$text-muted",
            ),
            (f" {f'~{each.tokens_per_s:,.0f}':>3} tok/s" if each.tokens_per_s else "", "$text-muted"),
        )
        for number, each in enumerate(offers, 1)
    ]
    return Content.assemble(
        welcome(),
        (
            "\n\nThis model is tiny, and there to try the app.\nBetter ones that fit this machine:\n",
            "$text-muted",
        ),
        Content("\n").join(lines),
        ("\nOne downloads while you chat, then takes over.\nctrl+o lists all models.", "$text-muted"),
    )
