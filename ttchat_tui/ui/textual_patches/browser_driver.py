"""Textual's driver for a web page (8.2.8). Imported only in a browser.

Overrides `WebDriver.on_meta` (public). Textual posts focus events to the app directly: they would overtake the keys in the
key gate, and may arrive before there is a screen. When its page is closed, Textual ends the app at once: what was typed last
is not stored.
"""

from __future__ import annotations

from typing import Protocol, cast

from textual import events
from textual.drivers.web_driver import WebDriver


class EndsWithItsPage(Protocol):
    """An app that ends when its page is closed."""

    def handle_closed_page(self) -> None:
        """Called in the event loop, once the input from before has taken effect."""


class BrowserDriver(WebDriver):
    """The driver of an app that `EndsWithItsPage`. Sends focus events and the end the way of keys, through the key gate."""

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        match packet_type:
            case "focus":
                self.send_message(events.AppFocus())
            case "blur":
                self.send_message(events.AppBlur())
            case "quit":
                app = cast("EndsWithItsPage", self._app)
                self.send_message(events.Callback(callback=app.handle_closed_page))
            case _:
                super().on_meta(packet_type, payload)
