"""The limit of a line, and marks of what is out of view."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.events import Paste

from tests.size import sized
from ttchat_tui.ui.widgets.cells import cut_at_start
from ttchat_tui.ui.widgets.line_field import LineField

PATH = "/home/ann/notes/2026/write-a-haiku-about-clocks.md"


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


class NarrowApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LineField(PATH, compact=True, select_on_focus=False)


def shown(field: LineField) -> str:
    return field.render_line(0).crop(0, field.content_size.width).text


async def test_a_text_that_goes_on_out_of_view_has_a_mark_there() -> None:
    app = NarrowApp()
    async with app.run_test(size=(24, 4)) as pilot:
        field = app.query_one(LineField)
        width = field.content_size.width
        await pilot.press("home", "end")
        assert shown(field) == f"…{PATH[-width + 2 :]} ", "the cursor is behind the last letter"
        await pilot.press("home")
        assert shown(field) == f"{PATH[: width - 1]}…"
        field.value = "short"
        await pilot.pause()
        assert shown(field).strip() == "short"


async def test_wherever_the_cursor_is_it_covers_no_mark_and_marks_are_where_the_text_goes_on() -> None:
    app = NarrowApp()
    async with app.run_test(size=(24, 4)) as pilot:
        field = app.query_one(LineField)
        width = field.content_size.width
        for text in (PATH, "漢字" * 20, "aé漢" * 15):
            field.value = text
            for place in (*range(len(text) + 1), *reversed(range(len(text)))):
                field.cursor_position = place
                await pilot.pause()
                first = field.scroll_offset.x
                cursor = cell_len(text[:place]) - first
                row = shown(field)
                assert cell_len(row) == width
                assert row.startswith("…") == (first > 0 and cursor != 0)
                is_longer = cell_len(text) - first > width
                assert row.endswith("…") == (is_longer and cursor != width - 1)


@settings(max_examples=sized(60, 2_000))
@given(st.text("ab/ é漢", max_size=40), st.integers(0, 30))
def test_a_value_that_is_cut_at_its_start_keeps_its_end_and_says_so(text: str, width: int) -> None:
    cut = cut_at_start(text, width)
    assert cell_len(cut) <= width
    if cell_len(text) <= width:
        assert cut == text
    elif width:
        assert cut[0] == "…"
        assert text.endswith(cut[1:])
