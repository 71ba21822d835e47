"""`ttchat-tui replay`: on the engine that wrote a reply, on another one, and what cannot be replayed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.fakes import Script, ScriptedEngine
from tests.session.test_chat import Chat
from tests.storage.examples import STARTED, HandClock, ask
from ttchat_tui.cli import chat
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.main import app
from ttchat_tui.cli.replay.command import _settings_of
from ttchat_tui.cli.replay.comparison import replay
from ttchat_tui.cli.replay.listing import write_replies
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.events import (
    EngineLoaded,
    GenerationEvent,
    GenerationFinished,
    ProgressReporter,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, Given
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.domain.recording import RecordedToken, Recording, RecordLevel
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.factory import ENGINES
from ttchat_tui.models.errors import ModelNameError
from ttchat_tui.session.stored_requests import StoredReply, StoredRequest, stored_reply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_in_memory

KNOWN = Script(replies=("One two three \x1b[31m four.",), logprobs=True, context_length=4096)
Run = Callable[..., tuple[int, str, str]]


class Another(ScriptedEngine):
    """An engine with another name than the one that wrote the reply."""

    def load(self, spec: ModelSpec, report: object) -> EngineInfo:
        info = super().load(spec, report)  # pyright: ignore[reportArgumentType]
        return msgspec.structs.replace(info, label="cpu f16")


class Named(ScriptedEngine):
    """Whatever it loads has this name, as a file has the last part of its path."""

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        return msgspec.structs.replace(super().load(spec, report), model="scripted")


@pytest.fixture
def run(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Asks one question on a scripted engine, and gives a function that runs the command on an engine that knows its words."""
    asked = Chat(own_folders / "data" / "conversations.db", KNOWN)
    asked.ask("Count.")
    asked.close()

    def command(
        *arguments: str, engine: ScriptedEngine | None = None, model: str = "scripted"
    ) -> tuple[int, str, str]:
        used = engine or asked.engine
        used._words, used._asked = asked.engine._words, asked.engine._asked

        def alone(invocation: Invocation):
            assert invocation.flags["model.name"] == model
            return used, lambda _report: ModelSpec(name="scripted")

        monkeypatch.setattr(chat, "engine_alone", alone)
        result = CliRunner().invoke(app, ["replay", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return 2, result.stdout, str(result.exception)
        return result.exit_code, result.stdout, result.stderr

    return command


def test_the_engine_that_wrote_a_reply_writes_it_again(run: Run) -> None:
    code, output, _ = run("last")
    assert code == 0
    assert "replayed by      scripted · scripted" in output
    assert "result           the same: all 5 tokens" in output
    assert run("2")[:2] == (code, output)
    code, output, _ = run("last", "--output", "json")
    found = json.loads(output)
    assert (code, found["is_same"], found["first_difference"], found["agreement"]) == (0, True, None, None)
    assert (found["message_id"], found["has_recorded_prompt"], found["completion_tokens"]) == (2, True, 5)


def test_an_empty_reply_ends_at_once_again(own_folders: Path, run: Run) -> None:
    script = msgspec.structs.replace(KNOWN, replies=("",))
    asked = Chat(own_folders / "data" / "conversations.db", script)
    asked.ask("Say nothing.")
    asked.close()
    code, output, _ = run("last", engine=ScriptedEngine(script))
    assert (code, "result           the same: it ends at once" in output) == (0, True)


def test_a_replay_that_differs_names_both_tokens_and_fails(run: Run) -> None:
    other = ScriptedEngine(msgspec.structs.replace(KNOWN, replies=("One two TWO",)))
    code, output, _ = run("last", engine=other)
    assert code == 1
    assert "another reply: 2 of 5 tokens are the same" in output
    assert "first difference token 3\n" in output
    assert "  stored         “␣three” 25.0%, id" in output
    assert "  now            “␣TWO” 25.0%, id" in output
    found = json.loads(run("last", "--output", "json", engine=other)[1])
    assert found["first_difference"]["number"] == 3
    assert found["first_difference"]["stored"]["token"] == " three"
    assert found["first_difference"]["replayed"]["token"] == " TWO"
    ended = ScriptedEngine(msgspec.structs.replace(KNOWN, replies=("One two",)))
    assert "  now            the end of the reply\n" in run("last", engine=ended)[1]
    longer = ScriptedEngine(msgspec.structs.replace(KNOWN, replies=(KNOWN.replies[0] + " five",)))
    assert "  stored         the end of the reply\n" in run("last", engine=longer)[1]


def test_another_engine_follows_the_reply(run: Run) -> None:
    other = Another(msgspec.structs.replace(KNOWN, replies=("Something else.",)))
    code, output, _ = run("last", engine=other)
    assert code == 0
    assert "compared with    scripted · cpu f16" in output
    assert "agreement        5 of 5 tokens (100.0 %): both find the same one most probable" in output
    assert re.search(r"KL +at least \S+ nats on average, \S+ at token \d", output)
    found = json.loads(run("last", "--output", "json", engine=other)[1])
    assert found["agreement"]["kl_tokens"] == found["agreement"]["agreed"] == len(found["tokens"]) == 5
    assert found["tokens"][1]["token"] == " two"


def test_an_engine_without_probabilities_says_what_to_use(run: Run) -> None:
    code, _, error = run("last", engine=Another(msgspec.structs.replace(KNOWN, logprobs=False)))
    assert code == 2
    assert "cpu f16 does not give the probabilities of a given text" in error


def test_the_replies_are_listed_with_their_numbers(run: Run) -> None:
    code, output, _ = run("--list")
    head, row = output.splitlines()
    assert head.split("\t") == ["number", "written", "model", "engine", "tokens", "begins", "last"]
    assert row.split("\t")[0] == "2"
    assert row.split("\t")[2:5] == ["scripted", "scripted", "5"]
    assert row.split("\t")[6] == "last"
    assert code == 0
    assert "\x1b" not in output


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=8))
def test_the_newest_reply_is_listed_first_whatever_its_conversation(written: list[tuple[int, int]]) -> None:
    """Replies to one of three conversations each, at these times: those of an import come in any order."""
    clock = HandClock()
    store = ConversationStore(open_in_memory(Path("listed")), clock=clock, mode="read-write")
    homes = [ask(store, title) for title in ("one", "two", "three")]
    times: dict[int, float] = {}
    for home, at in written:
        clock.now = float(at)
        reply = store.begin_reply(homes[home].conversation_id, homes[home].id, STARTED)
        times[reply.id] = reply.created_at
    lines: list[str] = []
    with mock.patch("ttchat_tui.cli.tables.write_line", lines.append):
        write_replies(store, "text")
    ids = [int(line.split("\t")[0]) for line in lines[1:]]
    assert ids == sorted(times, key=lambda each: (times[each], each), reverse=True)
    store.close()


@pytest.mark.parametrize(
    ("message_id", "why"),
    [
        ("99", "There is no message 99."),
        ("9" * 30, f"There is no message {'9' * 30}."),
        ("9" * 5_000, f"{'9' * 5_000} is not the number of a reply."),
        ("1", "Message 1 is not a reply."),
        ("x", "x is not the number of a reply."),
    ],
)
def test_a_number_that_is_no_reply_says_how_to_find_one(run: Run, message_id: str, why: str) -> None:
    assert why in run(message_id)[2]


class Rounding(ScriptedEngine):
    """Writes another second token until something was followed: as if that were in its cache then."""

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.requests.append(request)
        is_warm = any(each.given.ids for each in self.requests)
        for place, token_id in enumerate(request.given.ids or ((1, 2, 3) if is_warm else (1, 9, 3))):
            yield TokenEvent(request.id, (token_id,), "x", (0.1 * place,))
        yield GenerationFinished(request.id, "length")


def test_a_replay_that_differs_is_tried_again_with_the_cache_as_it_was() -> None:
    request = GenerationRequest(id=1, messages=(), sampling=SamplingParams(), seed=1)
    before = Given(prompt_ids=(5,), ids=(6, 7))
    tokens = [RecordedToken(each, 0.0) for each in (1, 2, 3)]
    record = ReplyRecord(model="m", engine="e")
    message = Message(id=1, conversation_id=1, parent_id=None, role="assistant", content="", created_at=0.0)
    stored = StoredRequest(first=0, tokens=tokens, request=request, row=0, before=(before,))
    reply = StoredReply(
        message=message, record=record, recording=Recording(tokens), requests=(stored,), has_prompts=True
    )
    engine = Rounding()
    result, _ = replay(engine, reply, lambda _count: None)
    assert (result.difference, result.same, result.is_rebuilt) == (None, 3, True)
    assert [each.given for each in engine.requests] == [Given(), before, Given()]
    cold = msgspec.structs.replace(reply, requests=(msgspec.structs.replace(stored, before=()),))
    result, _ = replay(Rounding(), cold, lambda _count: None)
    assert result.difference is not None
    assert (result.difference.number, result.same, result.is_rebuilt) == (2, 1, False)


LABELS = ("cpu q4_1 native", "cpu int8 native kv-q8", "cpu fp32", "cpu f16", "cpu int8 prefill-bf16", "cpu int4", "cpu transformers fp32",
          "tt S5 accuracy device sampling", "tt S6 performance", "remote vllm @ lab")  # fmt: skip


@given(
    st.one_of(
        st.sampled_from(LABELS), st.lists(st.sampled_from(" ".join(LABELS).split())).map(" ".join), st.text()
    )
)
def test_every_label_names_options_that_its_engine_takes(label: str) -> None:
    for engine in ENGINES.values():
        msgspec.convert(dict(engine.options_in(label)), engine.options)


@pytest.mark.parametrize(
    ("flags", "loaded"),
    [
        ((), {"cpu.precision": "int8", "cpu.kv_cache": "q8", "model.engine": "cpu"}),
        (("--threads", "1"), {"cpu.precision": "int8", "cpu.kv_cache": "q8", "cpu.threads": 1}),
        (("--precision", "fp32"), {"cpu.precision": "fp32", "cpu.kv_cache": None}),
        (("--kv-cache", "f16"), {"cpu.precision": None, "cpu.kv_cache": "f16"}),
        (("--engine", "tt"), {"cpu.precision": None, "cpu.kv_cache": None, "model.engine": "tt"}),
        (("-m", "other"), {"cpu.precision": None, "cpu.kv_cache": None, "model.name": "other"}),
    ],
)
def test_a_reply_is_computed_as_its_label_says_unless_a_flag_asks_for_another_computation(
    flags: tuple[str, ...], loaded: dict[str, object], own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Labelled(ScriptedEngine):
        def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
            return msgspec.structs.replace(super().load(spec, report), label="cpu int8 native kv-q8")

    asked = Chat(own_folders / "data" / "conversations.db", engine=Labelled(KNOWN))
    asked.ask("Count.")
    asked.close()
    seen: list[Invocation] = []

    def alone(invocation: Invocation):
        seen.append(invocation)
        raise ConfigError("--engine", "is not asked for here")

    monkeypatch.setattr(chat, "engine_alone", alone)
    CliRunner().invoke(app, ["replay", "last", *flags])
    assert {name: seen[0].flags.get(name) for name in loaded} == loaded


PLACES = ("/models/m/scripted", "cpu:/models/scripted", "/models/scripted/")


def _with_model(own_folders: Path, place: str, record: RecordLevel = "full") -> Chat:
    """A chat whose model was loaded by this argument, and is recorded as `scripted`."""
    asked = Chat(own_folders / "data" / "conversations.db", engine=Named(KNOWN), record=record)
    asked.session.load(place)
    asked.until(EngineLoaded)
    return asked


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("record", ["full", "off"])
def test_a_model_that_is_named_by_its_path_is_found_there_again(
    own_folders: Path, place: str, record: RecordLevel
) -> None:
    asked = _with_model(own_folders, place, record)
    asked.ask("Count.")
    reply = stored_reply(asked.store, 2)
    found = _settings_of(asked.store, reply)
    asked.close()
    assert reply.record.model == "scripted"
    assert found["model.name"].rstrip("/") == place.rstrip("/")


@pytest.mark.parametrize(
    ("place", "loaded"),
    [
        ("remote:lab/scripted", "remote:lab/scripted"),
        ("remote:scripted", "remote:scripted"),
        ("remote:", "scripted"),
        ("remote:lab/", "scripted"),
    ],
)
def test_a_server_is_asked_for_the_model_that_it_had_then_not_for_its_first(
    own_folders: Path, place: str, loaded: str
) -> None:
    class Served(Named):
        def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
            return msgspec.structs.replace(super().load(spec, report), label="remote vllm @ lab")

    asked = Chat(own_folders / "data" / "conversations.db", engine=Served(KNOWN))
    asked.session.load(place)
    asked.until(EngineLoaded)
    asked.ask("Count.")
    asked.session.load("elsewhere")
    asked.until(EngineLoaded)
    asked.ask("And now?")
    found = _settings_of(asked.store, stored_reply(asked.store, 2))
    asked.close()
    assert found == {"model.name": loaded, "model.engine": "remote"}


@pytest.mark.parametrize("place", PLACES)
def test_a_model_is_found_where_it_was_though_another_one_has_answered_since(
    own_folders: Path, place: str
) -> None:
    asked = _with_model(own_folders, place)
    asked.ask("Count.")
    asked.session.load("elsewhere")
    asked.until(EngineLoaded)
    asked.ask("And now?")
    replies = [stored_reply(asked.store, number) for number in (2, 4)]
    found = [_settings_of(asked.store, each)["model.name"].rstrip("/") for each in replies]
    asked.close()
    assert found == [place.rstrip("/"), "elsewhere"]


def test_the_reply_s_own_model_makes_it_again_also_by_its_path_and_another_file_of_that_name_is_compared(
    own_folders: Path, tmp_path: Path, run: Run
) -> None:
    own, other = tmp_path / "own" / "scripted", tmp_path / "other" / "scripted"
    for file in (own, other):
        file.parent.mkdir()
        file.write_text(file.parent.name)
    asked = _with_model(own_folders, str(own))
    asked.ask("Count.")
    asked.close()
    link = tmp_path / "linked"
    link.symlink_to(own.parent)
    for place, words in (
        (str(own), "replayed by"),
        (f"cpu:{own}", "replayed by"),
        (str(link / "scripted"), "replayed by"),
        (str(other), "compared with"),
        (str(tmp_path / "missing" / "scripted"), "replayed by"),
    ):
        output = run("last", "--model", place, model=place)[1]
        assert words in output, place


def test_a_model_that_is_not_where_it_was_is_named_with_the_reply(own_folders: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "scripted.gguf")
    asked = _with_model(own_folders, place)
    asked.ask("Count.")
    asked.close()
    found = CliRunner().invoke(app, ["replay", "2"])
    assert isinstance(found.exception, ModelNameError)
    assert str(found.exception.info.message) == f"The model of reply 2: {place} does not exist."
    assert found.exception.info.cure == "If it is somewhere else now, give its place: --model PLACE."
    given = CliRunner().invoke(app, ["replay", "2", "--model", place])
    assert isinstance(given.exception, ModelNameError)
    assert given.exception.info.message == f"--model: {place} does not exist."
