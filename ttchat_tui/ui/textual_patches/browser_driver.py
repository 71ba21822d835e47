"""Textual's driver for a browser's page. Apart from the app's own imports: no terminal waits for it."""

from __future__ import annotations

from textual import events
from textual.drivers.web_driver import WebDriver


class BrowserDriver(WebDriver):
    """The page's focus comes by the door of its keys, and so not before there is a screen."""

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        match packet_type:
            case "focus":
                self.send_message(events.AppFocus())
            case "blur":
                self.send_message(events.AppBlur())
            case _:
                super().on_meta(packet_type, payload)
