"""The sampling that applies before a model is loaded, and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fakes import EventRecorder, ScriptedEngine, prepare_scripted
from tests.session.test_chat import Chat
from ttchat_tui.cli.chat import _expected_sampling
from ttchat_tui.config.schema import SamplingDefaults
from ttchat_tui.domain.events import EngineLoaded
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.choice import DEFAULT
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.opening import open_scratch_store

CAUTIOUS = SamplingParams(temperature=0.1, top_k=7)


@pytest.fixture
def host() -> Iterator[EngineHost]:
    host = EngineHost(ScriptedEngine(), prepare_scripted)
    host.start()
    yield host
    host.shutdown()


def session_on(host: EngineHost, config: SamplingDefaults | None = None) -> ChatSession:
    return ChatSession(
        open_scratch_store(),
        host,
        model="cautious",
        default_sampling=(config or SamplingDefaults()).over,
        expected_sampling={"cautious": CAUTIOUS}.get,
    )


def test_a_models_recommendation_applies_before_it_is_loaded(host: EngineHost) -> None:
    session = session_on(host)
    assert session.sampling == CAUTIOUS
    session.model = "unheard of"
    assert session.sampling == SamplingParams()


def test_config_wins_over_what_a_model_recommends(host: EngineHost) -> None:
    assert session_on(host, SamplingDefaults(top_k=3)).sampling == SamplingParams(temperature=0.1, top_k=3)


def test_the_loaded_models_own_defaults_replace_the_expected_ones(host: EngineHost) -> None:
    session = session_on(host)
    host.load("cautious")
    EventRecorder(host).until(EngineLoaded)
    assert host.info is not None
    assert session.sampling == (host.info.recommended or SamplingParams()) != CAUTIOUS


def test_the_catalog_knows_what_the_default_model_recommends() -> None:
    entry = catalog().find(DEFAULT)
    assert entry is not None
    assert _expected_sampling(DEFAULT) == _expected_sampling(f"cpu:{DEFAULT}") == entry.recommended
    assert entry.recommended is not None
    assert _expected_sampling("/models/of/mine") is None


def test_a_running_reply_keeps_what_its_template_got(host: EngineHost) -> None:
    session = session_on(host)
    session.submit("Hello")
    assert session.running is not None
    session.set_sampling(SamplingParams(temperature=1.5, thinking="low", keep_thoughts="never"))
    assert session.running.control.sampling == SamplingParams(temperature=1.5)
    assert session.sampling.thinking == "low", "for the next one"
    session.close()


def test_two_windows_change_what_their_users_change(start: Callable[..., Chat]) -> None:
    here = start()
    here.ask("one")
    there = start()
    conversation = here.session.conversation
    assert conversation is not None
    there.session.open(conversation.id)
    here.session.set_system_prompt("Be brief.")
    there.session.set_sampling(SamplingParams(temperature=0.1))
    stored = here.store.conversation(conversation.id)
    assert (stored.system_prompt, stored.sampling) == ("Be brief.", SamplingParams(temperature=0.1))
