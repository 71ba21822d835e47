"""One user's chat with one engine: user actions and engine events in, stored rows and updates out. No Textual."""

from ttchat_tui.session.chat import ChatSession
from ttchat_tui.session.context import Context
from ttchat_tui.session.conversation import first_words, name_of
from ttchat_tui.session.marks import Mark
from ttchat_tui.session.notices import left_out, with_served_name
from ttchat_tui.session.past_prompts import PastPrompts
from ttchat_tui.session.running_reply import CHECKPOINT_S
from ttchat_tui.session.sampler_preview import DRAWS, PreviewedToken
from ttchat_tui.session.summary import Summary
from ttchat_tui.storage.listing import ReadList
from ttchat_tui.storage.message_path import MessagePath
from ttchat_tui.storage.titles import plain_words

__all__ = [
    "CHECKPOINT_S",
    "DRAWS",
    "ChatSession",
    "Context",
    "Mark",
    "MessagePath",
    "PastPrompts",
    "PreviewedToken",
    "ReadList",
    "Summary",
    "first_words",
    "left_out",
    "name_of",
    "plain_words",
    "with_served_name",
]
