"""The cards' rows in the metrics panel: telemetry, read only while they are shown."""

from __future__ import annotations

from pathlib import Path

from tests.engine.tenstorrent.fake_system import FakeSystem
from tests.ui.widgets.controls_app import ControlsApp, row_text
from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.ui.widgets.metrics.card_rows import CardRows
from ttchat_tui.ui.widgets.metrics.panel import MetricsPanel


class CountingReader:
    def __init__(self, read: System) -> None:
        self._system = read
        self.calls = 0

    def __call__(self) -> tuple[CardReading, ...]:
        self.calls += 1
        return self._system.read_cards()


def rows(panel: MetricsPanel) -> list[str]:
    table = panel.query_one(CardRows)
    return [row_text(table, y).rstrip() for y in range(table.size.height)]


async def test_each_card_has_its_rows_and_what_it_lacks_is_a_dash(tmp_path: Path) -> None:
    fake = FakeSystem(tmp_path)
    fake.add_n150(0)
    fake.hold(0, (4242, "python3"))
    fake.add_p150(1)
    fake.add_card(2, {}, {})
    panel = MetricsPanel(System(tmp_path).read_cards)
    async with ControlsApp(panel).run_test(size=(34, 60)) as pilot:
        await panel.query_one(CardRows).poll()
        await pilot.pause()
        assert rows(panel) == [
            "card 0      n150 · fw 18.7.0.0",
            "heat          47.2 °C · 21.0 W",
            "clock       1,000 MHz · 28.0 A",
            "held by           4242 python3",
            "card 1     p150a · fw 19.8.1.0",
            "heat          51.5 °C · 44.5 W",
            "clock       1,350 MHz · 61.0 A",
            "fan                  2,310 rpm",
            "card 2                       –",
            "heat                – °C · – W",
            "clock              – MHz · – A",
        ]


async def test_a_new_reading_is_painted_and_a_new_holder_gets_a_row(tmp_path: Path) -> None:
    fake = FakeSystem(tmp_path)
    fake.add_n150()
    panel = MetricsPanel(System(tmp_path).read_cards)
    async with ControlsApp(panel).run_test(size=(40, 60)) as pilot:
        table = panel.query_one(CardRows)
        await table.poll()
        await pilot.pause()
        assert len(rows(panel)) == 3
        fake.hold(0, (77, "demo"))
        fake.write("sys/class/hwmon/hwmon7/temp1_input", 61_000)
        await table.poll()
        await pilot.pause()
        assert len(rows(panel)) == 4
        assert "61.0 °C" in rows(panel)[1]


async def test_nothing_is_read_while_the_panel_is_hidden(tmp_path: Path) -> None:
    FakeSystem(tmp_path).add_n150()
    read = CountingReader(System(tmp_path))
    panel = MetricsPanel(read)
    async with ControlsApp(panel).run_test(size=(40, 60)) as pilot:
        timer = panel.query_one(CardRows)._timer
        assert timer is not None
        assert timer._active.is_set()
        panel.display = False
        await pilot.pause()
        assert not timer._active.is_set()
        calls = read.calls
        panel.display = True
        await pilot.pause()
        assert timer._active.is_set()
        while read.calls == calls:  # cards are read in a thread
            await pilot.pause()


async def test_without_cards_there_are_no_rows_and_no_timer() -> None:
    panel = MetricsPanel()
    async with ControlsApp(panel).run_test(size=(40, 60)):
        assert not panel.query(CardRows)
