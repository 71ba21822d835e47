"""The chat screen as a person uses it, on a scripted engine: one key press to one stored row, and back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from ttchat_tui.config.schema import Config, SamplingDefaults, UiSettings
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.sampling import MODEL_DEFAULT, SamplingParams
from ttchat_tui.storage.opening import open_store
from ttchat_tui.ui.screens.help import HelpScreen
from ttchat_tui.ui.services import Resume
from ttchat_tui.ui.widgets.history.panel import HistoryPanel
from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel
from ttchat_tui.ui.widgets.sampling.preset_select import PresetField, PresetMenu
from ttchat_tui.ui.widgets.sampling.slider import Slider

CONTEXT = re.compile(r"\d+ / \d+(?= )")


def shown(chat: ChatApp) -> str:
    """The text on the screen."""
    return "\n".join(strip.text for strip in chat.screen._compositor.render_strips())


async def test_enter_sends_and_the_reply_streams_to_the_end(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hello **you**.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        user, reply = chat.session.path
        assert (user.content, reply.content) == ("hi", "Hello **you**.")
        assert chat.screen.transcript.source_of(reply.id) == "Hello **you**."
        assert chat.screen.prompt.text == ""
        assert chat.store.message(reply.id).status == "complete"


async def test_typing_is_possible_while_the_model_loads_and_the_message_waits_for_it(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("Ready.",), stepped_load=True), gate)
    chat.host.start()
    chat.host.load("scripted")
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*"early", "enter")
        assert chat.host.state == "loading"
        assert chat.session.is_busy
        gate.open()
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].content == "Ready."
        assert chat.session.path[-1].reply is not None
        assert chat.session.path[-1].reply.engine == "scripted"
    chat.host.shutdown()
    chat.store.close()


async def test_escape_stops_the_reply_and_keeps_reply_and_draft(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat) as pilot:
        await pilot.press(*"go", "enter")
        gate.release()
        await until(pilot, lambda: chat.session.running is not None and chat.session.running.text == "one")
        await pilot.press(*"next", "escape")
        await reply_ended(pilot, chat)
        assert (chat.session.path[-1].content, chat.session.path[-1].status) == ("one", "interrupted")
        assert chat.screen.prompt.text == "next"


async def test_a_parameter_that_a_server_rejects_is_disabled_and_reported_once(tmp_path: Path) -> None:
    taken = Capabilities(sampling=frozenset({"top_p", "stop"}))
    chat = ChatApp(tmp_path, Script(replies=("one",), refuses=("lab takes no temperature.", taken)))
    async with running(chat, size=(120, 40)) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        assert not any(row.disabled for row in panel.query(Slider))
        await pilot.press(*"go", "enter")
        await reply_ended(pilot, chat)
        disabled = {row.name: row.disabled for row in panel.query(Slider)}
        assert (disabled["temperature"], disabled["top_p"]) == (True, False)
        assert chat.toasts() == ["lab takes no temperature."]
        assert chat.session.info is not None
        assert chat.session.info.capabilities == taken, "another conversation shows it too"


async def test_a_busy_server_is_shown_until_the_first_token(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True, busy="lab is busy (429)"), gate)
    async with running(chat, size=(120, 40)) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "● waiting: lab is busy (429): try 2 of 4 in 5 s" in shown(chat))
        assert chat.screen.metrics.sample().phase == "prefill"
        gate.release()
        await until(pilot, lambda: "busy" not in shown(chat))
        assert "● generating" in shown(chat)
        assert chat.screen.metrics.sample().phase == "generating"
        gate.open()
        await reply_ended(pilot, chat)


async def test_a_page_key_where_there_is_nothing_to_scroll_does_nothing(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        await pilot.press("pageup", "pagedown")
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        await pilot.press("pageup", "pagedown")
        await pilot.pause()
        assert chat.app.crash is None
        assert chat.app.is_running


async def test_esc_stops_the_reply_before_it_closes_an_overlay(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat, size=(70, 24)) as pilot:
        await pilot.press(*"go", "enter", "f4")
        assert chat.screen.overlay == "right"
        await pilot.press("escape")
        await reply_ended(pilot, chat)
        assert chat.screen.overlay == "right"
        await pilot.press("escape")
        assert chat.screen.overlay == ""


async def test_a_command_costs_no_tokens_also_while_it_is_typed(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        for draft in ("/cont", "/continue", "/model some-name", "/nonsense"):
            chat.screen.prompt.set_draft(draft)
            chat.screen.count()
            await until(pilot, lambda: chat.session.context._asked is None)
            await settle(pilot, chat)
            assert not chat.screen.prompt.border_subtitle, draft
        chat.screen.prompt.set_draft("//cont is text")
        chat.screen.count()
        await until(pilot, lambda: " tok" in str(chat.screen.prompt.border_subtitle or ""))


async def test_messages_that_no_longer_fit_are_named_without_a_draft_too(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(context_length=40, replies=(" ".join(["word"] * 20),)))
    async with running(chat) as pilot:
        for message in ("one", "two"):
            assert not chat.screen.prompt.border_subtitle, "everything fits so far"
            await pilot.press(*message, "enter")
            await reply_ended(pilot, chat)
        await until(pilot, lambda: "will not be sent" in str(chat.screen.prompt.border_subtitle or ""))


async def test_the_token_hint_of_a_sent_draft_disappears(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(stepped=True), gate)
    async with running(chat) as pilot:
        await pilot.press(*"hello")
        await until(pilot, lambda: " tok" in str(chat.screen.prompt.border_subtitle or ""))
        await pilot.press("enter")
        await settle(pilot, chat)
        assert not chat.screen.prompt.border_subtitle


async def test_a_slider_moved_while_a_reply_streams_acts_on_the_next_token(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat) as pilot:
        await pilot.press(*"go", "enter")
        gate.release()
        await until(pilot, lambda: chat.session.running is not None and chat.session.running.text == "one")
        chat.screen.query_one(SamplingPanel).query(Slider).first().focus()
        await pilot.press("end")
        await pilot.pause()
        assert chat.session.sampling.temperature == 2.0
        gate.open()
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].content == "one TWO THREE"


async def test_settings_are_those_of_the_conversation_on_screen(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"first", "enter")
        await reply_ended(pilot, chat)
        panel = chat.screen.query_one(SamplingPanel)
        panel.query(Slider).first().focus()
        await pilot.press("home")
        await pilot.pause()
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert panel.params.temperature == 0.6, "the model's recommendation again"
        chat.screen.open_conversation(1)
        await pilot.pause()
        assert panel.params.temperature == 0.0


async def test_ctrl_r_answers_again_and_shows_which_of_how_many(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Same.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        await pilot.press("ctrl+r")
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].sibling_count == 2
        assert len(chat.session.path) == 2


async def test_the_draft_comes_back_after_a_restart(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"half a th")
        chat.screen.prompt.paste(pasted := "a line\n" * 30)
        await until(pilot, lambda: chat.store.drafts.of(None).text == f"half a th{pasted}")
        folded = chat.screen.prompt.document.text
    again = ChatApp(tmp_path)
    async with running(again):
        assert again.screen.prompt.text == f"half a th{pasted}"
        assert again.screen.prompt.document.text == folded


async def test_dash_c_opens_the_latest_conversation(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"remember me", "enter")
        await reply_ended(pilot, chat)
    again = ChatApp(tmp_path, resume=Resume({}))
    async with running(again):
        assert again.session.path[0].content == "remember me"
        assert again.screen.transcript.source_of(again.session.path[0].id) == "remember me"


async def test_a_deleted_conversation_comes_back_by_undo(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"keep", "enter")
        await reply_ended(pilot, chat)
        chat.screen.action_delete()
        await pilot.pause()
        assert chat.session.conversation is None
        await pilot.press(*"/undo", "enter")
        await pilot.pause()
        assert chat.session.path[0].content == "keep"


async def test_an_unknown_slash_command_is_reported_and_stays_in_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"/sve", "enter")
        await pilot.pause()
        assert chat.screen.prompt.text == "/sve"
        assert any("/save" in toast for toast in chat.toasts())
        assert chat.session.path == []


async def test_save_writes_the_file_it_names(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hello.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        chat.screen.prompt.set_draft(f"/save {tmp_path}/out.md")
        await pilot.press("enter")
        await pilot.pause()
        assert "Hello." in (tmp_path / "out.md").read_text()


async def test_sidebars_hide_where_there_is_no_room(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (60, 20)) as pilot:
        for width, left, right in (
            (60, False, False),
            (100, True, False),
            (120, True, True),
            (60, False, False),
        ):
            await pilot.resize_terminal(width, 20)
            await pilot.pause()
            assert chat.screen.query_one(HistoryPanel).display is left, width
            assert chat.screen.query_one("#side").display is right, width
            assert chat.screen.transcript.size.width >= 30, width


async def test_at_80_columns_the_chat_has_most_of_the_screen(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)):
        assert chat.screen.query_one(HistoryPanel).outer_size.width == 24
        assert "context" in shown(chat).splitlines()[0]


async def test_a_hidden_sidebar_comes_as_an_overlay_and_escape_closes_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (60, 20)) as pilot:
        await pilot.press("f4")
        await pilot.pause()
        assert chat.screen.query_one("#side").display
        await pilot.press("escape")
        await pilot.pause()
        assert not chat.screen.query_one("#side").display
        assert chat.screen.prompt.has_focus


async def test_a_toggled_sidebar_is_remembered(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press("f3")
        await pilot.pause()
        assert not chat.screen.query_one(HistoryPanel).display
        assert chat.kept[-1].show_conversations is False
    again = ChatApp(tmp_path, ui_state=UiState(show_conversations=False))
    async with running(again):
        assert not again.screen.query_one(HistoryPanel).display


async def test_what_an_engine_cannot_do_is_reported_and_disabled(tmp_path: Path) -> None:
    script = Script(notes=("No min-p on this [card].",), honours=frozenset({"temperature", "max_tokens"}))
    async with running(chat := ChatApp(tmp_path, script)):
        assert chat.toasts() == ["No min-p on this [card]."]
        panel = chat.screen.sampling_panel
        assert panel is not None
        greyed = {name for name, row in panel._rows().items() if row.disabled}
        assert {"min_p", "top_k", "seed"} <= greyed
        assert "temperature" not in greyed


async def test_the_longest_reply_is_bounded_by_the_model_that_is_loaded(tmp_path: Path) -> None:
    async with running(chat := ChatApp(tmp_path, Script(context_length=512))) as pilot:
        await pilot.press("f5", *["down"] * 7, "end")
        await pilot.pause()
        assert chat.session.sampling.max_tokens == 512


async def test_an_engine_failure_is_reported_and_the_next_load_works(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("fine",), fault="raise", fault_at=0))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].status == "error"
        chat.engine.script = Script(replies=("fine",))
        await pilot.press(*"/reload", "enter")
        await until(pilot, lambda: chat.host.state == "ready")
        await pilot.press("ctrl+r")
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].content == "fine"


async def test_a_load_error_is_shown_until_another_model_is_loaded(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.engine.script = Script(fault="raise", fault_at="load")
        await pilot.press(*"/model qwen3-0.6b", "enter")
        await until(pilot, lambda: chat.host.state == "failed")
        await settle(pilot, chat)
        assert "The script says so." in shown(chat)
        await pilot.press(*"kept", "enter")
        await pilot.pause()
        assert chat.screen.prompt.text == "kept", "nothing is sent to no model"
        assert chat.session.path == []
        chat.engine.script = Script()
        chat.screen.prompt.set_draft("/model smollm2-360m-instruct")
        await pilot.press("enter")
        await until(pilot, lambda: chat.host.state == "ready")
        await settle(pilot, chat)
        assert chat.session.info is not None
        assert chat.session.info.model == "smollm2-360m-instruct"
        assert "The script says so." not in shown(chat)
        assert chat.kept[-1].last_model == "smollm2-360m-instruct"


async def test_a_mistyped_name_does_not_unload_the_model(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"/model qwen3-0.5b", "enter")
        await pilot.pause()
        assert any("No model is called" in toast for toast in chat.toasts())
        assert chat.host.state == "ready"
        assert chat.engine.calls.count("load") == 1


async def test_a_draft_stays_with_its_conversation(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"first", "enter")
        await reply_ended(pilot, chat)
        await pilot.press(*"half", "ctrl+n")
        await pilot.pause()
        assert chat.screen.prompt.text == ""
        await pilot.press(*"new", "alt+down")
        await pilot.pause()
        assert chat.screen.prompt.text == "half"
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert chat.screen.prompt.text == "new"


async def test_a_refused_message_is_put_before_what_was_typed_since(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(context_length=16, stepped_load=True), gate)
    chat.host.start()
    chat.host.load("scripted")
    async with chat.app.run_test(size=(120, 40)) as pilot:
        chat.screen.prompt.set_draft("much too long " * 9)
        await pilot.press("enter", *"next")
        gate.open()
        await reply_ended(pilot, chat)
        assert chat.screen.prompt.text == "much too long " * 9 + "\n\nnext"
        assert chat.store.drafts.of(None).text or chat.store.conversation(1).draft
    chat.host.shutdown()
    chat.store.close()


async def test_a_conversation_deleted_in_another_window_costs_a_toast(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"first", "enter")
        await reply_ended(pilot, chat)
        other = open_store(chat.paths.database)
        other.delete(1)
        other.close()
        await pilot.press("f2")
        await pilot.pause()
        assert any("no longer exists" in toast for toast in chat.toasts())


async def test_odd_arguments_of_commands_are_reported(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("```\ncode\n```",)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        for command, said in (
            ("/code ²", "1 code block."),
            ("/code x", "1 code block."),
            ("/save ~nosuchuser/x.md", "no home folder"),
        ):
            chat.app.clear_notifications()
            chat.screen.prompt.set_draft(command)
            await pilot.press("enter")
            await pilot.pause()
            assert [said in toast for toast in chat.toasts()] == [True]


async def test_each_request_that_a_running_reply_prevents_has_its_own_message(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(stepped=True), gate)
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: chat.session.is_busy)
        for draft, key, cure in (
            ("", "ctrl+r", "then try again"),
            ("/continue", "enter", "Use /continue when it has ended"),
        ):
            chat.app.clear_notifications()
            chat.screen.prompt.set_draft(draft)
            await pilot.press(key)
            await pilot.pause()
            (said,) = chat.toasts()
            assert cure in said
        chat.session.stop()
        gate.open()
        await reply_ended(pilot, chat)


async def test_copying_code_before_a_reply_has_its_own_message(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        for command in ("/code", "/code 2", "/copy", "/copy-reply"):
            chat.app.clear_notifications()
            chat.screen.prompt.set_draft(command)
            await pilot.press("enter")
            await pilot.pause()
            (said,) = chat.toasts()
            assert said.startswith("There is no reply"), command


async def test_escape_withdraws_a_waiting_message_and_then_cancels_the_load(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(stepped_load=True), gate)
    chat.host.start()
    chat.host.load("scripted")
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*"early", "enter")
        await until(pilot, lambda: chat.host.state == "loading")
        await pilot.press("escape")
        await pilot.pause()
        assert not chat.session.is_busy
        await pilot.press("escape", "escape")
        await until(pilot, lambda: chat.host.state == "empty")
    chat.host.shutdown()
    chat.store.close()


async def test_one_escape_during_a_load_only_says_what_a_second_one_does(tmp_path: Path) -> None:
    ignored = threading.Event()

    class Deaf(Gate):
        """A step of a load that notices a cancel late, as the import of a library does."""

        def wait(self, asking: Callable[[], None]) -> None:
            ignored.wait(60)
            super().wait(asking)

    chat = ChatApp(tmp_path, Script(stepped_load=True), Deaf())
    chat.host.start()
    chat.host.load("scripted")
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: chat.host.state == "loading" and chat.screen.is_whole)
        await settle(pilot, chat)
        await pilot.press("escape")
        assert chat.toasts() == ["The model is still loading.\nPress Esc again to cancel the load."]
        assert chat.host.is_loading
        await pilot.press("escape")
        await pilot.pause()
        assert "● cancelling" in shown(chat)
        ignored.set()
        await until(pilot, lambda: chat.host.state == "empty")
        await settle(pilot, chat)
        assert "○ no model" in shown(chat)
    chat.host.shutdown()
    chat.store.close()


async def test_brackets_in_any_text_are_shown_as_they_are(tmp_path: Path) -> None:
    hostile = "[bold]no[/bold] [/] [link=x]y \x1b[31mred"
    chat = ChatApp(tmp_path, Script(replies=(hostile,)))
    async with running(chat) as pilot:
        chat.screen.prompt.set_draft(hostile)
        await pilot.press("enter")
        await reply_ended(pilot, chat)
        screen = shown(chat)
        assert "[bold]no[/bold]" in screen
        assert "\x1b" not in screen


async def test_f1_opens_the_help(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(chat.app.screen, HelpScreen)


async def test_keys_from_the_config_are_the_keys(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, config=Config(keys={"new": "f12"}, ui=UiSettings(submit_keys=("f6",))))
    async with running(chat) as pilot:
        await pilot.press(*"a", "enter", *"b", "f6")
        await reply_ended(pilot, chat)
        assert chat.session.path[0].content == "a\nb"
        await pilot.press("f12")
        await pilot.pause()
        assert chat.session.conversation is None


async def test_config_sampling_lies_over_the_models_recommendation(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat):
        assert chat.session.sampling == SamplingParams(temperature=0.6)
        assert chat.screen.query_one(SamplingPanel).params == SamplingParams(temperature=0.6)


async def test_the_models_default_is_not_what_config_or_a_flag_puts_over_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, config=Config(sampling=SamplingDefaults(temperature=1.0)))
    async with running(chat) as pilot:
        panel = chat.screen.query_one(SamplingPanel)
        row = next(slider for slider in panel.query(Slider) if slider.name == "temperature")
        assert row.value == 1.0
        assert panel.query_one(PresetMenu).selection != MODEL_DEFAULT
        panel.post_message(PresetField.Chosen(panel.query_one(PresetField), MODEL_DEFAULT))
        await pilot.pause()
        assert chat.session.sampling.temperature == chat.session.recommended_sampling.temperature != 1.0
        row.focus()
        await pilot.press("delete")
        await pilot.pause()
        assert chat.session.sampling.temperature == 1.0, "a row resets to what a new conversation begins with"


async def test_up_recalls_prompts_of_all_conversations(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"first", "enter")
        await reply_ended(pilot, chat)
        await pilot.press("ctrl+n", "up")
        await pilot.pause()
        assert chat.screen.prompt.text == "first"


async def test_the_log_can_be_read_in_the_app(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    chat.paths.engine_log_file.parent.mkdir(parents=True, exist_ok=True)
    chat.paths.engine_log_file.write_text("a native line \x1b[31m[red]\n")
    async with running(chat) as pilot:
        await pilot.press(*"/log", "enter")
        await until(pilot, lambda: "a native line" in _shown(chat) and "[red]" in _shown(chat))


async def test_lines_of_the_log_are_whole_at_every_width(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    words = [f"word{number}" for number in range(60)]
    chat.paths.engine_log_file.parent.mkdir(parents=True, exist_ok=True)
    chat.paths.engine_log_file.write_text(" ".join(words))
    async with running(chat, (60, 30)) as pilot:
        await pilot.press(*"/log", "enter")
        for width in (60, 80, 120, 61):
            await pilot.resize_terminal(width, 30)
            await until(pilot, lambda: not set(words).difference(_shown(chat).split()))


def _shown(chat: ChatApp) -> str:
    return "\n".join(strip.text for strip in chat.app.screen._compositor.render_strips())


async def test_ctrl_q_leaves_from_a_dialog_too_and_keeps_the_draft(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press(*"not yet", "f1", "ctrl+q")
        await pilot.pause()
        assert chat.store.drafts.of(None).text == "not yet"
        assert chat.app.return_code == 0


async def test_page_up_in_the_prompt_scrolls_the_transcript(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("\n\n".join(f"Line {n}." for n in range(80)),)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        assert chat.screen.transcript.is_following
        await pilot.press("pageup")
        await pilot.pause()
        assert not chat.screen.transcript.is_following


async def test_keys_of_one_app_do_not_reach_the_next(tmp_path: Path) -> None:
    first = ChatApp(tmp_path, config=Config(keys={"new": "f24"}))
    second = ChatApp(tmp_path)
    async with running(second):
        assert "f24" not in second.screen._bindings.key_to_bindings
    first.store.close()


async def test_the_selected_message_is_copied_as_markdown_without_its_figures(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("**first** reply", "second reply")))
    async with running(chat) as pilot:
        copied: list[str] = []
        chat.screen.copy = copied.append  # type: ignore[method-assign]
        for word in ("one", "two"):
            await pilot.press(*word, "enter")
            await reply_ended(pilot, chat)
        await pilot.press("f8")
        await pilot.press("ctrl+up", "ctrl+up", "ctrl+up", "f8")
        await pilot.press("ctrl+up", "f8")
        assert copied == ["second reply", "**first** reply", "one"]
        await pilot.press("escape", "f8")
        assert copied[-1] == "second reply"


async def test_thoughts_are_copied_only_where_they_are_open(tmp_path: Path) -> None:
    thought = "<think>\nHm.\n</think>\n\n"
    chat = ChatApp(tmp_path, Script(replies=(f"{thought}Yes.",)))
    async with running(chat) as pilot:
        copied: list[str] = []
        chat.screen.copy = copied.append  # type: ignore[method-assign]
        await pilot.press(*"one", "enter")
        await reply_ended(pilot, chat)
        for keys in (("f8",), ("ctrl+up", "f8"), ("ctrl+shift+up", "f8"), ("escape", "alt+o", "f8")):
            await pilot.press(*keys)
        heading = "## You\n\none\n\n## Assistant (scripted)\n\nYes.\n"
        assert copied == ["Yes.", "Yes.", heading, f"{thought}Yes."]


async def test_the_status_line_and_the_metrics_show_the_same_context(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("one two three",)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        for draft in ("", "a longer draft"):
            chat.screen.prompt.insert(draft)
            await until(pilot, lambda: chat.screen.prompt.text == "" or not chat.session.is_busy)
            chat.screen.count()
            await settle(pilot, chat)
            await settle(pilot, chat)
            figures = [
                word
                for line in shown(chat).splitlines()
                if "context" in line
                for word in CONTEXT.findall(line)
            ]
            assert len(figures) == 2, figures
            assert figures[0] == figures[1]


async def test_before_a_reply_no_tokens_are_counted_and_after_it_all_are(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("one two three",)))
    async with running(chat) as pilot:
        before = chat.screen.metrics.sample()
        assert (before.prompt_tokens, before.cached_tokens, before.completion_tokens) == (None, None, None)
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        after = chat.screen.metrics.sample()
        assert after.prompt_tokens
        assert after.cached_tokens == 0
        assert after.completion_tokens
