"""Wrong settings are reported before ttnn is imported: that takes seconds, and may fail by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.tenstorrent.fake_system import FakeSystem
from tests.engine.tenstorrent.fakes.installation import Installation
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.tenstorrent import card_access, environment
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation("s5", tmp_path) as installed:
        yield installed


def load_error(installation: Installation, mesh_device: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        TenstorrentEngine().load(installation.spec(mesh_device=mesh_device), lambda _progress: None)
    assert "ttnn" not in sys.modules
    return caught.value


def test_an_unknown_mesh_is_reported(installation: Installation) -> None:
    error = load_error(installation, "N151")
    assert isinstance(error, ModelLoadError)
    assert "N151" in str(error)


def test_an_unknown_mesh_is_reported_also_where_ttnn_is_missing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "is_importable", lambda *_names: False)
    assert "N151" in str(load_error(installation, "N151"))


@pytest.mark.parametrize(
    ("cards", "mesh_device"),
    [
        (["n150"], "N300"),
        (["n150"], "1x2"),
        (["n300"], "T3K"),
        (["p150a"] * 2, "P150x4"),
        (["n300"] * 2, "TG"),
    ],
)
def test_a_mesh_of_more_chips_than_the_driver_knows_is_reported(
    installation: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cards: list[str],
    mesh_device: str,
) -> None:
    machine = FakeSystem(tmp_path / "root")
    for number, card_type in enumerate(cards):
        machine.add_card(number, {"tt_card_type": card_type}, {})
    monkeypatch.setenv(SYSTEM_ROOT, str(machine.root))
    assert "chips" in str(load_error(installation, mesh_device))


def test_cards_that_are_hidden_do_not_count(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeSystem(tmp_path / "root")
    machine.add_n150()
    machine.add_n150(1)
    monkeypatch.setenv(SYSTEM_ROOT, str(machine.root))
    monkeypatch.setenv("TT_VISIBLE_DEVICES", "1")
    assert "needs 2 chips, 1 can be used" in str(load_error(installation, "1x2"))


@pytest.mark.parametrize("card_type", ["", "p300a", "galaxy-wormhole"])
def test_a_card_whose_chips_are_not_known_is_left_to_ttnn(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card_type: str
) -> None:
    machine = FakeSystem(tmp_path / "root")
    machine.add_card(0, {"tt_card_type": card_type}, {})
    monkeypatch.setenv(SYSTEM_ROOT, str(machine.root))
    with pytest.raises(EngineError, match="chips"):  # by the fake ttnn's own count
        TenstorrentEngine().load(installation.spec(mesh_device="T3K"), lambda _progress: None)
    assert "ttnn" in sys.modules


def test_a_card_that_this_user_may_not_open_is_reported(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ttnn itself would find no chips."""
    machine = FakeSystem(tmp_path / "root")
    machine.add_n150()
    monkeypatch.setenv(SYSTEM_ROOT, str(machine.root))
    monkeypatch.setattr(card_access.os, "access", lambda _path, _mode: False)
    error = load_error(installation, "N150")
    assert error.info.kind == "permission_denied"
    assert "may not open /dev/tenstorrent/0" in str(error)


def closed_0_and_held_1(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards: this user may not open the first, and another process has the second."""
    machine = FakeSystem(root)
    machine.add_n150()
    machine.add_n150(1)
    machine.hold(1, (4242, "python3"))
    monkeypatch.setenv(SYSTEM_ROOT, str(machine.root))
    monkeypatch.setattr(card_access.os, "access", lambda path, _mode: not str(path).endswith("/0"))


def test_one_card_that_can_be_opened_is_enough(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_0_and_held_1(tmp_path / "root", monkeypatch)
    assert "card 1 is open in process 4242" in str(load_error(installation, "1x2")), "the next check"


def test_a_hidden_card_that_can_be_opened_is_not_enough(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_0_and_held_1(tmp_path / "root", monkeypatch)
    monkeypatch.setenv("TT_VISIBLE_DEVICES", "0")
    assert "may not open /dev/tenstorrent/0" in str(load_error(installation, "N150"))
