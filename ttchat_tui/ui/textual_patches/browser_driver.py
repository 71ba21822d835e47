"""Textual's driver for a web page (8.2.8). Imported only in a browser.

Overrides `WebDriver.on_meta` (public). Textual posts focus events to the app directly: they would overtake the keys in
the key gate, and may arrive before there is a screen.
"""

from __future__ import annotations

from textual import events
from textual.drivers.web_driver import WebDriver


class BrowserDriver(WebDriver):
    """Sends focus events the way of keys, through the key gate."""

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        match packet_type:
            case "focus":
                self.send_message(events.AppFocus())
            case "blur":
                self.send_message(events.AppBlur())
            case _:
                super().on_meta(packet_type, payload)
