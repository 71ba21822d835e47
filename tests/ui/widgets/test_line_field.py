"""The limit of a line."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.events import Paste

from ttchat_tui.ui.widgets.line_field import LineField


class FieldApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LineField("0123456789ab", max_length=10, select_on_focus=False)


async def test_a_full_field_says_why_it_takes_no_more_and_can_be_shortened() -> None:
    app = FieldApp()
    async with app.run_test() as pilot:
        field = app.query_one(LineField)

        def said() -> list[str]:
            return [toast.message for toast in app._notifications]

        await pilot.press("backspace")
        assert (field.value, said()) == ("0123456789a", [])
        await pilot.press("x", "y")
        assert (field.value, said()) == ("0123456789a", ["At most 10 characters fit here."])
        await pilot.press("backspace", "backspace", "x", "home", "delete")
        assert field.value == "12345678x"
        field.post_message(Paste("pasted"))
        await pilot.pause()
        assert field.value == "p12345678x"
        assert len(said()) == 2
        await pilot.press("shift+end", "z")
        assert field.value == "pz"
