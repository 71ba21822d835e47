"""Long pastes in the prompt: one label each, which is edited as a whole and sent as the text."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from textual import events

from tests.size import sized
from tests.ui.shell_app import ShellApp
from ttchat_tui.config.schema import UiSettings
from ttchat_tui.ui.textual_patches import undo_of_long_text  # noqa: F401
from ttchat_tui.ui.widgets.prompt.folded_pastes import FoldedPastes
from ttchat_tui.ui.widgets.prompt.prompt import Prompt

LINES = "\n".join(f"line {number}" for number in range(500))
LABEL = "[pasted 1: 500 lines, 4.4 kB]"


async def test_a_long_paste_is_one_label_and_is_sent_as_it_is() -> None:
    prompt = Prompt()
    app = ShellApp(prompt)

    def shown() -> str:
        return prompt.document.text

    async with app.run_test(size=(60, 20)) as pilot:
        prompt.focus()
        await pilot.press(*"see")
        prompt.post_message(events.Paste(LINES))
        await pilot.press("!")
        assert (shown(), prompt.text) == (f"see{LABEL}!", f"see{LINES}!")
        assert str(prompt.border_subtitle) == "tab or a click unfolds"
        await pilot.press("enter")
        assert [message.text for message in app.of(Prompt.Submitted)] == [f"see{LINES}!"]

        prompt.set_draft(f"see{LINES}!")
        assert shown() == f"see{LABEL}!", "a draft comes back folded"
        await pilot.press("left", "left", "x")
        assert shown() == f"see{LABEL}x!", "a letter inside the label comes behind it"
        await pilot.press("left", "backspace")
        assert shown() == "seex!", "the label goes as a whole"
        await pilot.press("ctrl+z")
        assert prompt.text == f"see{LINES}x!"
        prompt.move_cursor((0, 5))
        await pilot.press("ctrl+k")
        assert shown() == "see"
        await pilot.press("ctrl+z")
        prompt.select_all()
        assert prompt.selected_text == f"see{LINES}x!", "what is copied"

        prompt.move_cursor((0, 10))
        await pilot.press("tab")
        assert shown() == f"see{LINES}x!"
        assert prompt.has_focus
        await pilot.press("ctrl+z")
        await pilot.click(prompt, offset=(8, 1))
        assert shown() == f"see{LINES}x!"
        assert prompt.border_subtitle is None

        prompt.set_draft("x" * 5000 + "\nshort")
        assert shown() == "[pasted 2: 1 line, 5.0 kB]\nshort", "a long line of any origin delays no key"


async def test_every_key_that_deletes_may_be_pressed_in_an_empty_last_line() -> None:
    prompt = Prompt()
    bindings = [each for found in prompt._bindings.key_to_bindings.values() for each in found]
    deleting = {each.key for each in bindings if each.action.startswith("delete")}
    assert {"ctrl+k", "ctrl+u", "delete"} <= deleting
    async with ShellApp(prompt).run_test(size=(60, 20)) as pilot:
        prompt.focus()
        for key in sorted(deleting):
            prompt.set_draft("one\n")
            await pilot.press(key)
            assert prompt.text in ("one\n", "one"), key


async def test_where_the_border_is_short_it_does_not_say_how_to_unfold() -> None:
    prompt = Prompt()
    async with ShellApp(prompt).run_test(size=(60, 20)) as pilot:
        prompt.paste(LINES)
        prompt.set_token_hint(short := "9 tok")
        await pilot.pause()
        assert str(prompt.border_subtitle) == f"tab or a click unfolds · {short}"
        prompt.set_token_hint(warning := "7,480 / 8,192 tok · 2,956 messages will not be sent")
        assert str(prompt.border_subtitle) == warning
        await pilot.resize_terminal(100, 20)
        await pilot.pause()
        assert str(prompt.border_subtitle) == f"tab or a click unfolds · {warning}"


async def test_vi_deletes_a_label_as_a_whole() -> None:
    prompt = Prompt(UiSettings(editing="vi"))
    async with ShellApp(prompt).run_test(size=(60, 20)) as pilot:
        prompt.focus()
        prompt.post_message(events.Paste(LINES))
        await pilot.press("a", "escape", "0", "w", "x", "i", "b")
        assert prompt.document.text == "ba"


@settings(max_examples=sized(30, 1000), deadline=None)
@given(st.lists(st.text("ab\n[]1:", max_size=6), max_size=5), st.integers(0, 3))
@example(["[pasted 1: 21 lines, 62 bytes]"], 1)
def test_what_is_folded_unfolds_to_the_same(parts: list[str], count: int) -> None:
    pastes = FoldedPastes()
    texts = [f"{number}a\n" * 21 for number in range(count)]
    labels = [pastes.label(text) for text in texts]
    assert [pastes.label(text) for text in texts] == labels
    draft = "".join(part + text for part, text in zip(parts, [*texts, *"...."], strict=False))
    folded = pastes.folded(draft)
    if "[pasted " not in "".join(parts):
        assert pastes.unfolded(folded) == draft
        spans = pastes.spans_in(folded)
        assert [draft[start:end] for start, end in spans] == texts[: len(spans)]
        assert len(spans) == min(count, len(parts))
    line = folded.replace("\n", " ")
    assert all(line[start:end] in labels for start, end in pastes.spans(line))
