"""Mounting that draws what is new.

Replaces `AwaitMount.__await__` of Textual 8.2.8. There, the parent is drawn again with everything in it, as if it had changed
itself: a dialog with the whole screen behind it, a transcript for one more message. The layout draws what has come and what
has moved. There is also a task for each widget, twice.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

from textual.dom import NoScreen
from textual.widget import AwaitMount


def _await(self: AwaitMount) -> Generator[None, None, None]:
    async def wait() -> None:
        parent = self._parent
        for widget in self._widgets:
            await widget._mounted_event.wait()
        if self._widgets:
            parent.clear_cached_dimensions()
            parent.refresh(repaint=False, layout=True)
            with suppress(NoScreen):
                parent.app._update_mouse_over(parent.screen)

    return wait().__await__()


AwaitMount.__await__ = _await
