"""The action of the chat screen that constrains the form of replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ttchat_tui.domain.constraint import CONSTRAINT_FORMS, ConstraintError, typed_constraint
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.updates import ConstraintChecked
from ttchat_tui.session.constraining import unsupported
from ttchat_tui.ui.screens.chat_actions import ChatActions

_FORMS: Final = f"/constrain takes {CONSTRAINT_FORMS}."


class ConstraintActions(ChatActions):
    """`/constrain` and `/constrain regex [0-9]+`."""

    _refresh_settings: Callable[[], None]
    return_command: Callable[..., None]

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
        info, now = self.session.info, self.session.sampling
        if constraint and info and (error := unsupported(info, constraint)):
            self.show_error(error)
            return
        self.attempt(lambda: self.session.set_sampling(replace(now, constraint=constraint)))
        self.show_updates(self.session.constraining.checked())
        self.count()

    def show_constraint(self, checked: ConstraintChecked) -> None:
        """Say which constraint applies from now on, and why another one does not."""
        self._refresh_settings()
        form = f"Constraint: {checked.constraint.summary}" if checked.constraint else "Constraint: off"
        if (error := checked.error) is not None:
            self.return_command("constrain")
            applies = checked.what_applies
            if checked.is_said:
                self.notify(applies, severity="warning", markup=False)
            else:
                self.show_error(replace(error, cure=f"{error.cure} {applies}".strip()))
        elif checked.is_awaited:
            is_busy = self.session.engine_state == "generating"
            when = "the engine is free" if is_busy else "a model is loaded"
            self.notify(f"{form}. It is checked when {when}.", markup=False)
        else:
            self.notify(f"{form}{', from the next reply on' if checked.constraint else ''}.", markup=False)

    def choices_constrain(self) -> list[tuple[str, str]]:
        """For the completion."""
        info = self.session.info
        kinds = info.capabilities.constraints if info is not None else Capabilities().constraints
        listed = [
            ("choices ", "the whole reply is one of these texts; then yes,no"),
            ("json-schema ", "replies are JSON that is valid against a schema; then the file"),
            ("regex ", "the whole reply matches an expression"),
            ("grammar ", "replies are in the language of a Lark grammar; then the file"),
            ("off", "replies have any form"),
        ]
        return [each for each in listed if each[0] == "off" or each[0].strip() in kinds]
