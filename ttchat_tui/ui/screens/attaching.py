"""Files in the draft: their tokens are counted before sending, they are read on sending, and a pasted path is asked about."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from ttchat_tui.domain.attachments import AttachmentError, find_mentions, mention_of, with_blocks_of
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui import deferred
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.completing import Completing
from ttchat_tui.ui.slash import PlainText, parse_submission
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.prompt.typed import Offer

READING_S: Final = 5.0
"""How long a message waits for its files, in seconds. A network that is gone may never answer."""
ASKING_S: Final = 0.5
"""How long keys wait until a pasted text has turned out to be a path or not."""

TOO_SLOW: Final = ErrorInfo(
    kind="system",
    message=f"The attached files could not be read within {READING_S:.0f} s.",
    cure="Check whether their disk or network answers.",
)


class Attaching(Completing):
    """`attached` is the message that a draft becomes."""

    async def attached(self, draft: str, sent: str = "") -> str | None:
        """`draft` with the files that it mentions; None if one cannot be attached, which is reported. Of the message `sent`,
        whose draft was changed, files stay as they were read.

        Keys wait meanwhile for a second or two, so that they reach the draft in the order typed.
        """
        self.workers.cancel_group(self, "count")  # its hint is about a draft that is gone then
        draft = with_blocks_of(sent, draft)
        if not find_mentions(draft):
            return draft
        reading = in_daemon_thread(deferred.attachments.attach_mentioned, draft)
        try:
            return (await asyncio.wait_for(reading, READING_S)).text
        except AttachmentError as error:
            self.show_error(error.info)
        except asyncio.TimeoutError:
            self.show_error(TOO_SLOW)
        return None

    # --- before sending

    def count_draft(self, draft: str) -> None:
        """Count the tokens of the conversation with `draft` and the files that it mentions, and say which cannot be attached.
        Nothing is counted while a reply streams: its tokens are not in a message yet."""
        self.workers.cancel_group(self, "count")
        if find_mentions(draft):
            self.run_worker(partial(self._count_attached, draft), group="count")
        else:
            self.prompt.set_attachments("")
            self._count_text(draft)

    def _count_text(self, text: str) -> None:
        if not self.session.is_answering:
            self.show_updates(self.session.context.count(text))

    async def _count_attached(self, draft: str) -> None:
        try:
            attached = await in_daemon_thread(deferred.attachments.attach_mentioned, draft)
        except AttachmentError as error:
            self.prompt.set_attachments("" if self._is_naming_file else error.info.message)
            self._count_text(draft)
            return
        count = len(attached.names)
        files = f"{count} file{'s' * (count != 1)}" if count else ""
        unknown = "" if self._is_naming_file else ", ".join(map(visible_line, attached.unknown))
        self.prompt.set_attachments(files, f"{unknown}: no such file, sent as text" if unknown else "")
        self._count_text(attached.text)

    @property
    def _is_naming_file(self) -> bool:
        """A name is typed that may still become that of a file."""
        return self.is_completing and self._typed is not None and self._typed.kind == "file"

    # --- pasted paths

    async def on_prompt_path_pasted(self, event: Prompt.PathPasted) -> None:
        looking = in_daemon_thread(deferred.attachments.pasted_path, event.typed.text)
        try:
            path = await asyncio.wait_for(looking, ASKING_S)
        except asyncio.TimeoutError:
            path = None
        is_command = not isinstance(parse_submission(self.prompt.parted(self.prompt.text)[1]), PlainText)
        if path is None or is_command:  # `/import` and a dropped file
            await self.complete(None)
            return
        what, goes = ("folder", "names go") if path.endswith("/") else ("file", "text goes")
        offers = [
            Offer(f"{mention_of(path)} ", f"Attach the {what}", f"Its {goes} with the message."),
            Offer(event.typed.text, "Keep as text", "Only the path is sent."),
        ]
        await self.offer_for(event.typed, offers, enter_takes=True)
