"""The action of the chat screen that constrains the form of replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ttchat_tui.domain.constraint import Constraint, ConstraintError, typed_constraint
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.chat_actions import ChatActions

_FORMS: Final = "/constrain json-schema FILE | regex EXPRESSION | grammar FILE | off"


class ConstraintActions(ChatActions):
    """`/constrain` and `/constrain regex [0-9]+`."""

    _refresh_settings: Callable[[], None]

    def action_constrain(self) -> None:
        """Say what is set, and what else may be."""
        constraint = self.session.sampling.constraint
        self.notify(f"Constraint: {constraint.summary if constraint else 'off'}. {_FORMS}", markup=False)

    def command_constrain(self, typed: str) -> None:
        try:
            constraint = typed_constraint(typed)
        except ConstraintError as error:
            self.show_error(ErrorInfo(kind="usage", message=f"/constrain: {error}", cure=_FORMS))
            return
        info = self.session.info
        if constraint is not None and info is not None and "constraint" not in info.capabilities.sampling:
            self.show_error(
                ErrorInfo(
                    kind="constraint",
                    message=f"{info.label} cannot constrain replies.",
                    cure="In-process engines can, with pip install 'ttchat-tui[constrain]' and sampling on the host.",
                )
            )
            return
        if (
            constraint is not None
            and info is not None
            and constraint.kind not in info.capabilities.constraints
        ):
            kinds = " or ".join(sorted(info.capabilities.constraints))
            self.show_error(
                ErrorInfo(
                    kind="constraint",
                    message=f"{info.label} cannot constrain a reply by a {constraint.kind}.",
                    cure=f"It takes {kinds}; in-process engines take all.",
                )
            )
            return
        self._constrain(constraint)

    def choices_constrain(self) -> list[tuple[str, str]]:
        """For the completion."""
        info = self.session.info
        kinds = info.capabilities.constraints if info is not None else Capabilities().constraints
        listed = [
            ("json-schema ", "replies are JSON that is valid against a schema; then the file"),
            ("regex ", "the whole reply matches an expression"),
            ("grammar ", "replies are in the language of a Lark grammar; then the file"),
            ("off", "replies have any form"),
        ]
        return [each for each in listed if each[0] == "off" or each[0].strip() in kinds]

    def _constrain(self, constraint: Constraint | None) -> None:
        try:
            self.session.set_sampling(replace(self.session.sampling, constraint=constraint))
        except StorageError as error:
            self.show_error(error.info)
        self._refresh_settings()
        self.count()  # which reports one that cannot be used
        what = f"{constraint.summary}, from the next reply on" if constraint else "off"
        self.notify(f"Constraint: {what}.", markup=False)
