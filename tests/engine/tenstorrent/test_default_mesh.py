"""The mesh where none is named, on machines of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.tenstorrent.fake_system import FakeSystem
from tests.engine.tenstorrent.fakes import native
from tests.engine.tenstorrent.fakes.card import EVENTS, misuses
from tests.engine.tenstorrent.fakes.installation import Installation
from tests.engine.tenstorrent.talk import expected, load, reply
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.default_mesh import MeshChoice, choose_mesh
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.engine.tenstorrent.visible_cards import VISIBLE_VARIABLES

ONE = dict.fromkeys(VISIBLE_VARIABLES, "0")


def machine(folder: Path, *types: str) -> System:
    fake = FakeSystem(folder)
    for number, kind in enumerate(types):
        fake.add_card(number, {"tt_card_type": kind}, {})
    return System(folder)


@pytest.mark.parametrize(
    ("types", "name"),
    [
        ([], ""),
        (["n150"], "N150"),
        (["n300"], "N300"),
        (["p100a"], "P100"),
        (["p150b"], "P150"),
        (["p300c", "p300c"], "P300"),
        ([""], ""),
        (["p300c"], ""),
        (["galaxy-wormhole"] * 32, "8x4"),
        ([""] * 32, "8x4"),
        (["a gateway of a TG"] * 4, ""),
    ],
)
def test_one_board_or_a_galaxy_is_used_whole(tmp_path: Path, types: list[str], name: str) -> None:
    assert choose_mesh("", machine(tmp_path, *types), {}) == MeshChoice(name=name, is_default=True)


@pytest.mark.parametrize(
    ("types", "name", "joined"),
    [
        (["p150a"] * 2, "P150", "P150x2"),
        (["p150a"] * 3, "P150", ""),
        (["p150a"] * 4, "P150", "P150x4"),
        (["p300c"] * 4, "P150", "P300x2"),
        (["n300"] * 4, "N150", "T3K"),
        (["n300"] * 2, "N150", "N150x4"),
        (["n150", "p150a"], "N150", ""),
        (["", ""], "1x1", ""),
    ],
)
def test_of_several_cards_the_first_is_used_and_the_note_says_how_to_use_more(
    tmp_path: Path, types: list[str], name: str, joined: str
) -> None:
    choice = choose_mesh("", machine(tmp_path, *types), {})
    assert (choice.name, choice.variables) == (name, ONE)
    unit = "chips" if joined == "P300x2" else "cards"  # two chips on each
    assert choice.note.startswith(f"{len(types)} {unit} were found")
    assert "[tt] mesh_device" in choice.note
    assert (f'"{joined}"' in choice.note) == bool(joined)


def test_a_named_single_chip_has_the_other_cards_hidden_and_no_note(tmp_path: Path) -> None:
    choice = choose_mesh("N150", machine(tmp_path, "n150", "n150"), {})
    assert choice == MeshChoice(name="N150", is_default=False, variables=ONE)


@pytest.mark.parametrize("name", ["T3K", "1x2", "n300", "BH-Galaxy"])
def test_a_named_mesh_of_several_chips_is_left_alone(tmp_path: Path, name: str) -> None:
    types = ["p150a"] * 4
    assert choose_mesh(name, machine(tmp_path, *types), {}) == MeshChoice(name=name, is_default=False)


@pytest.mark.parametrize("variable", VISIBLE_VARIABLES)
def test_cards_that_the_user_hides_do_not_count(tmp_path: Path, variable: str) -> None:
    system = machine(tmp_path, "n150", "n300", "n150")
    assert choose_mesh("", system, {variable: "1"}).name == "N300"
    assert choose_mesh("", system, {variable: "1,2"}).variables == dict.fromkeys(VISIBLE_VARIABLES, "1")
    assert choose_mesh("", system, {variable: "0000:01:00.0"}) == MeshChoice(name="", is_default=True)


# -- the whole load


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    variables = {
        "MESH_DEVICE": "",
        SYSTEM_ROOT: str(tmp_path / "system"),
        **dict.fromkeys(VISIBLE_VARIABLES, ""),
    }
    with Installation("s5", tmp_path, variables) as installation:
        yield installation


@pytest.fixture
def engine() -> Iterator[TenstorrentEngine]:
    engine = TenstorrentEngine()
    yield engine
    engine.close()


def shape(engine: TenstorrentEngine) -> tuple[int, int]:
    assert engine._loaded is not None
    return engine._loaded.card.mesh.shape


def test_two_cards_start_on_one_chip_with_the_other_hidden_while_it_loads(
    engine: TenstorrentEngine, installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path / "system", "p150a", "p150a")
    seen: list[str] = []
    native_open = native.open_mesh_device
    monkeypatch.setattr(
        native,
        "open_mesh_device",
        lambda **given: (seen.append(os.environ[VISIBLE_VARIABLES[0]]), native_open(**given))[1],
    )
    info = load(engine, installed, mesh_device="")
    assert seen == ["0"]
    assert os.environ[VISIBLE_VARIABLES[0]] == ""
    assert [note for note in info.notes if "2 cards were found" in note]
    assert shape(engine) == (1, 1)
    assert "fabric" not in EVENTS
    assert reply(engine)[0] == expected(installed)


@pytest.mark.parametrize("chips", [2, 3, 4, 8, 16])
def test_chips_of_an_unknown_machine_start_on_one_and_the_note_says_so(
    engine: TenstorrentEngine, installed: Installation, monkeypatch: pytest.MonkeyPatch, chips: int
) -> None:
    monkeypatch.setenv(native.CHIPS, str(chips))
    monkeypatch.setenv(native.UNJOINED, "1")
    info = load(engine, installed, mesh_device="")
    assert [note for note in info.notes if f"{chips} chips were found" in note]
    assert shape(engine) == (1, 1)


def test_a_board_whose_chips_do_not_join_starts_on_one_with_the_reason(
    engine: TenstorrentEngine, installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path / "system", "n300")
    monkeypatch.setenv(native.CHIPS, "2")
    monkeypatch.setenv(native.UNJOINED, "1")
    info = load(engine, installed, mesh_device="")
    (note,) = info.notes
    assert "2 chips do not open together" in note
    assert "connected" in note
    assert shape(engine) == (1, 1)
    assert EVENTS[:3] == ["fabric", "no fabric", "open"]
    assert reply(engine)[0] == expected(installed)
    assert not misuses()


def test_a_board_and_a_galaxy_are_opened_whole(
    engine: TenstorrentEngine, installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(native.CHIPS, "32")
    assert load(engine, installed, mesh_device="").notes == ()
    assert shape(engine) == (8, 4)
    engine.unload()
    machine(tmp_path / "system", "n300")
    monkeypatch.setenv(native.CHIPS, "2")
    assert load(engine, installed, mesh_device="").notes == ()
    assert shape(engine) == (1, 2)


def test_a_mesh_that_the_user_named_is_not_replaced(
    engine: TenstorrentEngine, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(native.CHIPS, "2")
    monkeypatch.setenv(native.UNJOINED, "1")
    with pytest.raises(EngineError) as caught:
        load(engine, installed, mesh_device="1x2")
    assert caught.value.info.kind == "fabric"


def test_a_context_that_is_rounded_has_a_note(engine: TenstorrentEngine, installed: Installation) -> None:
    for requested, context in ((1500, 1024), (100, 1024)):
        info = engine.load(installed.spec(requested), lambda progress: None)
        assert info.context_length == context
        assert [note for note in info.notes if f"{context:,} tokens, not {requested:,}" in note]
    assert not engine.load(installed.spec(1024), lambda progress: None).notes
    assert not engine.load(installed.spec(0), lambda progress: None).notes
