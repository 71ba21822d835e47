"""Commands of the plain chat: what the screen shows and offers, as lines."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.headless.scripted_chat import scripted_session
from tests.cli.headless.test_repl import chat
from tests.fakes import UNFOLLOWED, Script, ScriptedEngine
from tests.size import sized
from tests.storage.imports.conversations import SAMPLING
from ttchat_tui.cli.headless.commands import COMMANDS, help_text
from ttchat_tui.cli.headless.listing import UsageError
from ttchat_tui.cli.headless.sampling_words import changed, described
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.domain.reply_settings import command_near
from ttchat_tui.domain.sampling import SamplingDefaults, SamplingParams
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.ui.commands import TABLE
from ttchat_tui.ui.slash import SlashError, parse_submission


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said after the model was loaded, without figures."""
    out = capsys.readouterr().out.partition("/help lists the commands.\n")[2]
    assert not set(out) & set("\x1b\r│─╭▌·")
    return [line for line in out.rstrip().splitlines() if not line.startswith("[")]


def test_versions_are_made_listed_and_shown(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(
        Script(replies=("<think>\nHm.\n</think>\n\n**One.**", "Two.")), store=store
    ) as session:
        chat(
            session,
            *("Hello", "/retry heat=1", "/retry temperature=1", "/branch", "/branch 1"),
            *("And?", "/branch 2 2", "/branch 9", "/show 1"),
        )
        assert len(session.path) == 2
        assert session.sampling.temperature != 1, "it is a setting of one reply"
    one = ["<think>", "Hm.", "</think>", "", "**One.**"]
    assert lines_of(capsys) == [
        *one,
        *one,
        "version 1, scripted, temperature 0.6: One.",
        "version 2, scripted, temperature 1, shown: One.",
        *("2, reply, version 1 of 2:", *one),
        "Two.",
        *("2, reply, version 2 of 2:", *one),
        "The message has 2 versions. Usage: /branch [message] [n]",
        *("2, reply, version 2 of 2:", *one),
    ]


def test_the_context_is_listed_message_by_message(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_session(Script(replies=("one two three",), context_length=20), store=store) as session:
        chat(session, "/context", "a b", "c d", "e f", "/context")
    said = lines_of(capsys)
    assert said[0] == "Not counted: no model is loaded, or the conversation is empty."
    at = next(at for at, line in enumerate(said) if line.startswith("The next prompt has "))
    assert "of 20 tokens before your message" in said[at]
    assert said[at + 1 :][:2] == [
        "1, you, falls out, 2 tokens: a b",
        "2, reply, falls out, 3 tokens: one two three",
    ]
    assert said[-1] == "6, reply, sent, 3 tokens: one two three"


def test_conversations_are_found_opened_renamed_deleted_and_brought_back(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("A pendulum swings.", "Crust."))
    with scripted_session(script, store=store, has_search=True) as session:
        chat(
            session,
            *("Clocks?", "And?", "/new", "Bread?", "/rename Baking \x1b[31m", "/find", "/find CLOCK"),
            *(
                "/search crust",
                "/open 1.4",
                "/find-here CRUST",
                "/open 7",
                "/open",
                "/open baking",
                "/open clocks",
            ),
            *("/delete", "/find", "/undo", "/search"),
        )
    said = lines_of(capsys)
    assert "2: “Baking ␛[31m”, 2 messages, open" in said
    assert said.count("1: “Clocks?”, 4 messages") == 2
    assert "1.4: “Clocks?”, reply: Crust." in said
    assert "“Clocks?”, 4 messages. /show reads them." in said
    assert "4, reply: Crust." in said
    assert "Give a title, or a number that /find or /search shows. Usage: /open title" in said
    assert said[-5:] == [
        "Deleted. /undo brings it back.",
        "2: “Baking ␛[31m”, 2 messages",
        "1 conversation.",
        "“Clocks?” is back.",
        "Give words. Usage: /search words",
    ]


def test_a_title_that_several_conversations_match_opens_none(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    titles = ("Talk 10 about X", *(f"Talk {number}" for number in range(100, 110)), "Notes", "Notes", "notes")
    numbers = {store.create_conversation(title=title).id: title for title in titles}
    for number in numbers:
        store.add_user_message(number, None, "Hi")
    with scripted_session(store=store) as session:
        chat(session, "/open Talk 10", "/open Notes", "/open nothing-like-this", "/open  ")
        assert session.conversation is None
        several, same, none = capsys.readouterr().err.splitlines()[-3:]
        assert (
            "11 conversations match “Talk 10”: 11: “Talk 109”, 10: “Talk 108”, 9: “Talk 107” and 8 more."
            in several
        )
        assert several.endswith("/open NUMBER opens one of them, and /find lists them all.")
        assert "2 conversations match “Notes”: 13: “Notes”, 12: “Notes”." in same
        assert "No conversation has the title “nothing-like-this”. /find lists the titles" in none
    for typed, title in [
        ("talk 105", "Talk 105"),
        ("10 about", "Talk 10 about X"),
        ("notes", "notes"),
        ("12", "Notes"),
    ]:
        with scripted_session(store=store) as session:
            chat(session, f"/open {typed}")
            assert session.conversation is not None
            assert session.conversation.title == title


def test_settings_belong_to_the_conversation_and_several_replies_are_read_in_turn(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("One.", "Two."), batch_sizes=(1, 2))
    with scripted_session(script, store=store) as session:
        chat(
            session,
            *(
                "/set temperature=0.2 'stop=the end'",
                "/set temperature=9",
                "/set warmth=1",
                "/set model=other",
                "/system Be brief.",
                '/ban " the"',
                "/boost so 3",
                "/boost so 300",
                "/unban nothing",
                "/unban so",
                "/set logit-bias=x",
            ),
            *("/candidates 2", "/candidates 40", "/candidates 3 top-k=10..30 Hello", "/continue"),
        )
        assert (session.sampling.temperature, session.sampling.stop) == (0.2, ("the end",))
        assert session.system_prompt == "Be brief."
        assert session.sampling.logit_bias == {" the": -100.0}
        assert session.path[-1].sibling_count == 3
    shown = capsys.readouterr()
    assert "temperature: give a number from 0 to 2. Usage: /set [settings]" in shown.out
    assert "/set takes no model. /retry model=NAME loads one. Usage: /set [settings]" in shown.out
    assert 'ban "␣the", boost "so" 3\n' in shown.out
    assert "'300' is no number from -100 to 100. Usage: /boost [text] [amount]" in shown.out
    assert "logit-bias: give TEXT=AMOUNT. Usage: /set" in shown.out
    assert "'warmth=1' is no setting. The settings are model, temperature," in shown.out
    assert "Candidate 2, top-k 20:\nOne.\n[1 token" in shown.out
    assert "Candidate 3, top-k 30:\nOne.\n[1 token" in shown.out, "two at a time, in turn"
    assert "There is no message to answer yet." in shown.err
    assert "There can be 1 to 32 candidates." in shown.err


def test_presets_and_templates_are_listed_and_used(
    store: ConversationStore, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = own_folders / "config" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "ask.md").write_text("+++\ndescription = 'Asks.'\n[variables.what]\n+++\nWhat is {{what}}?\n")
    with scripted_session(Script(replies=("A wheel.",)), store=store) as session:
        chat(
            session,
            *(
                "/preset",
                "/new precise",
                "/preset none",
                "/template",
                "/template ask",
                "/template ask 'what=a gear'",
            ),
        )
        assert session.sampling.temperature == 0
        assert session.path[0].content.strip() == "What is a gear?"
    shown = capsys.readouterr()
    assert "precise: " in shown.out
    assert "ask what=: Asks." in shown.out
    assert shown.err.count("none") == 1
    assert "what" in shown.err


def test_a_command_that_the_screen_has_too_is_called_as_there() -> None:
    on_screen = {action.slash.removeprefix("/"): action for action in TABLE if action.slash}
    shared = [name for name in COMMANDS if name in on_screen]
    assert len(shared) >= 18
    for name in shared:
        assert on_screen[name].argument in COMMANDS[name].argument, name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sett", "Did you mean /set?"),
        ("temperqture", "Did you mean /set temperature=VALUE?"),
        ("bogus", ""),
        ("cleer", ""),
    ],
)
def test_a_command_that_is_not_there_is_answered_as_on_the_screen(
    typed: str, meant: str, store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    on_screen = parse_submission(f"/{typed}")
    assert isinstance(on_screen, SlashError)
    with scripted_session(store=store) as session:
        chat(session, f"/{typed}")
    (line,) = lines_of(capsys)
    assert line.partition("/help")[0].strip() == f"There is no command /{typed}. {meant}".strip()
    assert on_screen.sentence.startswith(f"There is no command /{typed}. {meant or 'F1'}")


@given(st.data())
def test_a_command_with_one_letter_too_few_too_many_or_wrong_is_understood(data: st.DataObject) -> None:
    names = [action.slash.removeprefix("/") for action in TABLE if len(action.slash) > 4]
    name = data.draw(st.sampled_from(names))
    at = data.draw(st.integers(1, len(name) - 1))
    other = data.draw(st.sampled_from(["", name[at] * 2, "q"]))
    assert command_near(name[:at] + other + name[at + 1 :], names)


@settings(max_examples=sized(40, 4000), deadline=None)
@given(
    st.text(max_size=40) | st.sampled_from(["seed=1e99", "stop=", "=", "preset=", "top_k='", "stop=a stop=b"])
)
def test_any_words_change_the_sampling_or_say_what_is_wrong(words: str) -> None:
    try:
        found = changed(SamplingParams(), words)
    except UsageError:
        return
    assert msgspec.convert(msgspec.to_builtins(found), SamplingParams) == found


@settings(max_examples=sized(40, 4000), deadline=None)
@given(SAMPLING, st.sampled_from([name for name in SamplingParams.__struct_fields__ if name != "constraint"]))
def test_every_parameter_can_be_set(params: SamplingParams, name: str) -> None:
    value = getattr(params, name)
    given_words = [f"{name}={value}"]
    if name == "stop":
        given_words = [f"stop={each}" for each in value] or ["stop=none"]
    if name == "logit_bias":
        typed = [(text.replace("\\", "\\\\"), amount) for text, amount in value.items()]
        given_words = [f'logit_bias="{text}"={amount!r}' for text, amount in typed] or ["logit_bias=none"]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in given_words)
    expected = msgspec.structs.replace(SamplingParams(), **{name: value})
    if name != "stop" or not {"none", "random"} & set(value):
        assert changed(SamplingParams(), quoted.replace("seed=None", "seed=none")) == expected


def test_a_constraint_is_set_and_taken_out() -> None:
    set_by_words = changed(SamplingParams(), "'constraint=regex [0-9]+ x'")
    assert set_by_words.constraint == Constraint("regex", "[0-9]+ x")
    assert changed(set_by_words, "constraint=none").constraint is None
    assert "constraint: regex [0-9]+ x" in described(set_by_words)
    with pytest.raises(UsageError, match=r"constraint: /missing cannot be read"):
        changed(SamplingParams(), "'constraint=json-schema /missing'")


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_the_help_breaks_between_words_at_the_width_of_the_terminal(columns: int) -> None:
    rows = help_text(columns).split("\n")
    assert max(map(len, rows)) <= columns
    words = " ".join(" ".join(rows).split())
    assert all(
        " ".join((f"/{name}", each.argument, each.help)).replace("  ", " ") in words
        for name, each in COMMANDS.items()
    )


def test_a_constraint_that_the_model_cannot_follow_is_refused_when_it_is_set(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("yes",), honours=Capabilities().sampling | {"constraint"})
    with scripted_session(script, store=store) as session:
        good, bad = "constraint='regex yes|no'", f"constraint='regex {UNFOLLOWED}'"
        chat(
            session,
            '/constrain choices "a, b",c',
            f"/set {good}",
            f"/set {bad}",
            f"/constrain regex {UNFOLLOWED}",
            "Well?",
        )
        assert session.sampling.constraint == Constraint("regex", "yes|no")
        assert [message.content for message in session.path] == ["Well?", "yes"]
    shown = capsys.readouterr()
    assert shown.err.count("The regex cannot be used. Correct it. regex yes|no stays.") == 2
    assert UNFOLLOWED not in shown.out
    assert 'Constraint: choices "a, b", c.' in shown.out


def test_the_constraint_of_a_preset_is_a_matter_of_the_presets_model(
    store: ConversationStore,
    own_folders: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    presets = own_folders / "config" / "presets"
    presets.mkdir(parents=True)
    constraint = f"[sampling.constraint]\nkind = 'regex'\ntext = '{UNFOLLOWED}'\n"
    (presets / "able.toml").write_text(f"model = 'able'\n{constraint}")
    load = ScriptedEngine.load

    def loaded(engine: ScriptedEngine, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        monkeypatch.setattr("tests.fakes.UNFOLLOWED", "nothing" if spec.name == "able" else UNFOLLOWED)
        return load(engine, spec, report)

    monkeypatch.setattr(ScriptedEngine, "load", loaded)
    script = Script(replies=("yes",), honours=Capabilities().sampling | {"constraint"})
    with scripted_session(script, store=store) as session:
        chat(session, "/preset able", "Well?")
        assert session.sampling.constraint == Constraint("regex", UNFOLLOWED)
        assert [message.content for message in session.path] == ["Well?", "yes"]
    assert "cannot be used" not in capsys.readouterr().err


def test_a_constraint_of_the_settings_that_the_model_cannot_follow_is_reported_once(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(replies=("yes",), honours=Capabilities().sampling | {"constraint"})
    with scripted_session(script, store=store) as session:
        default = SamplingDefaults(constraint=Constraint("regex", UNFOLLOWED))
        session.constraining._defaults = default.over
        chat(session, "Well?", "And?")
        assert [message.content for message in session.path] == ["Well?", "yes", "And?", "yes"]
    assert capsys.readouterr().err.count("cannot be used. Correct it. Replies have any form.") == 1
