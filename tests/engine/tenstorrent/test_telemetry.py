"""Cards are read from a tree like the driver's; what is missing or broken in it is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engine.tenstorrent.fake_system import FakeSystem
from ttchat_tui.domain.telemetry import SYSTEM_ROOT, CardReading, Holder
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.holders import require_free
from ttchat_tui.engine.tenstorrent.telemetry import System


@pytest.fixture
def fake(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path)


def test_an_n150_is_read_in_plain_units(fake: FakeSystem) -> None:
    fake.add_n150()
    fake.hold(0, (4242, "python3"))
    assert System(fake.root).read_cards() == (
        CardReading(
            index=0,
            card_type="n150",
            firmware="18.7.0.0",
            clock_mhz=1000,
            temperature_c=47.25,
            current_a=28,
            power_w=21,
            holders=(Holder(4242, "python3"),),
        ),
    )


def test_a_p150_has_a_fan(fake: FakeSystem) -> None:
    fake.add_p150()
    (card,) = System(fake.root).read_cards()
    assert (card.card_type, card.fan_rpm) == ("p150a", 2310)


def test_two_cards_keep_their_own_sensors_though_hwmon_counts_otherwise(fake: FakeSystem) -> None:
    fake.add_n150(0)
    fake.add_p150(1)
    first, second = System(fake.root).read_cards()
    assert (first.index, first.temperature_c) == (0, 47.25)
    assert (second.index, second.temperature_c) == (1, 51.5)


def test_a_machine_without_the_driver_has_no_cards(tmp_path: Path) -> None:
    assert System(tmp_path).read_cards() == ()
    assert System(tmp_path).driver_version() == ""


def test_a_container_that_shows_only_the_device_file_has_a_card_without_figures(fake: FakeSystem) -> None:
    fake.write("dev/tenstorrent/0", "")
    (card,) = System(fake.root).read_cards()
    assert card == CardReading(index=0)


def test_an_old_driver_without_sensors_and_types_is_read_as_far_as_possible(fake: FakeSystem) -> None:
    fake.add_card(0, {"tt_aiclk": 500}, {})
    (card,) = System(fake.root).read_cards()
    assert card == CardReading(index=0, clock_mhz=500)


def test_a_broken_attribute_leaves_out_only_itself(fake: FakeSystem) -> None:
    fake.add_card(0, {"tt_card_type": "n150", "tt_aiclk": ""}, {"temp1_input": "garbled", "power1_input": 1})
    (card,) = System(fake.root).read_cards()
    assert (card.card_type, card.clock_mhz, card.temperature_c, card.power_w) == ("n150", None, None, 1e-6)


def test_an_attribute_that_cannot_be_read_is_no_error(
    fake: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_n150()
    read = Path.read_text

    def failing(self: Path, *args: object, **kwargs: object) -> str:
        if self.name in ("temp1_input", "tt_aiclk", "pids"):
            raise OSError(5, "Input/output error", str(self))
        return read(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Path, "read_text", failing)
    (card,) = System(fake.root).read_cards()
    assert (card.temperature_c, card.clock_mhz, card.holders) == (None, None, ())
    assert card.power_w == 21


def test_the_root_comes_from_the_environment_for_tests_only(tmp_path: Path) -> None:
    assert System.of({}).root == Path("/")
    assert System.of({SYSTEM_ROOT: str(tmp_path)}).root == tmp_path


def test_a_card_that_another_process_has_open_is_refused_by_name(fake: FakeSystem) -> None:
    fake.add_n150()
    fake.hold(0, (4242, "python3"))
    with pytest.raises(EngineError, match=r"card 0 is open in process 4242 \(python3\)") as raised:
        require_free({SYSTEM_ROOT: str(fake.root)})
    assert raised.value.info.kind == "card_in_use"
    assert "kill 4242" in raised.value.info.cure


def test_a_card_that_only_this_process_has_open_is_free(fake: FakeSystem) -> None:
    fake.add_n150()
    fake.hold(0, (os.getpid(), "ttchat-tui"))
    require_free({SYSTEM_ROOT: str(fake.root)})


def test_only_visible_cards_are_looked_at(fake: FakeSystem) -> None:
    fake.add_n150(0)
    fake.add_n150(1)
    fake.hold(1, (4242, ""))
    place = {SYSTEM_ROOT: str(fake.root)}
    require_free({**place, "TT_VISIBLE_DEVICES": "0"})
    with pytest.raises(EngineError, match="card 1 is open in process 4242"):
        require_free({**place, "TT_METAL_VISIBLE_DEVICES": "0, 1"})
    with pytest.raises(EngineError):
        require_free({**place, "TT_VISIBLE_DEVICES": "0000:01:00.0"})


def test_a_mock_cluster_opens_no_card_that_could_be_held(fake: FakeSystem) -> None:
    fake.add_n150()
    fake.hold(0, (4242, ""))
    require_free({SYSTEM_ROOT: str(fake.root), "TT_METAL_MOCK_CLUSTER_DESC_PATH": "n150.yaml"})
