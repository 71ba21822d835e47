"""Lazy imports: modules that the first frame does not need. Each is imported on first use, and all soon after.

This is the only place for lazy imports in `ui`. `deferred.help.HelpScreen` is the class itself, also for type checkers and
import contracts. Modules that the first frame needs must not be listed here. tests/ui/test_first_frame.py checks which
modules are loaded before it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ttchat_tui.config import prompt_files as prompt_files
    from ttchat_tui.config import prompt_library as prompt_library
    from ttchat_tui.models import background as background
    from ttchat_tui.models import library as library
    from ttchat_tui.models import local as local
    from ttchat_tui.models import machine as machine
    from ttchat_tui.models import offer as offer
    from ttchat_tui.session import attachments as attachments
    from ttchat_tui.session import file_finder as file_finder
    from ttchat_tui.session import fuzzy as fuzzy
    from ttchat_tui.storage import export as export
    from ttchat_tui.storage.imports import importing as importing
    from ttchat_tui.ui import clipboard as clipboard
    from ttchat_tui.ui import file_watch as file_watch
    from ttchat_tui.ui import model_rows as model_rows
    from ttchat_tui.ui import setting_choices as setting_choices
    from ttchat_tui.ui.markdown import fenced_code as fenced_code
    from ttchat_tui.ui.screens import candidates as candidates
    from ttchat_tui.ui.screens import edit_queued as edit_queued
    from ttchat_tui.ui.screens import edited_reply as edited_reply
    from ttchat_tui.ui.screens import help as help
    from ttchat_tui.ui.screens import import_files as import_files
    from ttchat_tui.ui.screens import inspector as inspector
    from ttchat_tui.ui.screens import ledger as ledger
    from ttchat_tui.ui.screens import log as log
    from ttchat_tui.ui.screens import model_picker as model_picker
    from ttchat_tui.ui.screens import prompt_picker as prompt_picker
    from ttchat_tui.ui.screens import rename as rename
    from ttchat_tui.ui.screens import save as save
    from ttchat_tui.ui.screens import save_prompt as save_prompt
    from ttchat_tui.ui.screens import save_several as save_several
    from ttchat_tui.ui.screens import search as search
    from ttchat_tui.ui.screens import tags as tags
    from ttchat_tui.ui.screens import template_form as template_form
    from ttchat_tui.ui.screens import theme_picker as theme_picker
    from ttchat_tui.ui.screens import timeline as timeline
    from ttchat_tui.ui.screens import tree as tree
    from ttchat_tui.ui.widgets import edit_bar as edit_bar
    from ttchat_tui.ui.widgets import find_bar as find_bar
    from ttchat_tui.ui.widgets import prompt_search as prompt_search
    from ttchat_tui.ui.widgets import queue_panel as queue_panel
    from ttchat_tui.ui.widgets.history import panel as history_panel  # noqa: F401
    from ttchat_tui.ui.widgets.metrics import panel as metrics_panel  # noqa: F401
    from ttchat_tui.ui.widgets.prompt import completion_list as completion_list
    from ttchat_tui.ui.widgets.sampling import panel as sampling_panel  # noqa: F401
    from ttchat_tui.ui.widgets.transcript import message as message_widget  # noqa: F401

MODULES: Final[dict[str, str]] = {
    "history_panel": "ttchat_tui.ui.widgets.history.panel",
    "sampling_panel": "ttchat_tui.ui.widgets.sampling.panel",
    "metrics_panel": "ttchat_tui.ui.widgets.metrics.panel",
    "message_widget": "ttchat_tui.ui.widgets.transcript.message",
    "fenced_code": "ttchat_tui.ui.markdown.fenced_code",
    "completion_list": "ttchat_tui.ui.widgets.prompt.completion_list",
    "fuzzy": "ttchat_tui.session.fuzzy",
    "file_finder": "ttchat_tui.session.file_finder",
    "attachments": "ttchat_tui.session.attachments",
    "clipboard": "ttchat_tui.ui.clipboard",
    "help": "ttchat_tui.ui.screens.help",
    "model_picker": "ttchat_tui.ui.screens.model_picker",
    "background": "ttchat_tui.models.background",
    "library": "ttchat_tui.models.library",
    "model_rows": "ttchat_tui.ui.model_rows",
    "local": "ttchat_tui.models.local",
    "machine": "ttchat_tui.models.machine",
    "offer": "ttchat_tui.models.offer",
    "save": "ttchat_tui.ui.screens.save",
    "export": "ttchat_tui.storage.export",
    "queue_panel": "ttchat_tui.ui.widgets.queue_panel",
    "prompt_search": "ttchat_tui.ui.widgets.prompt_search",
    "edit_queued": "ttchat_tui.ui.screens.edit_queued",
    "rename": "ttchat_tui.ui.screens.rename",
    "tags": "ttchat_tui.ui.screens.tags",
    "save_several": "ttchat_tui.ui.screens.save_several",
    "find_bar": "ttchat_tui.ui.widgets.find_bar",
    "search": "ttchat_tui.ui.screens.search",
    "setting_choices": "ttchat_tui.ui.setting_choices",
    "edit_bar": "ttchat_tui.ui.widgets.edit_bar",
    "edited_reply": "ttchat_tui.ui.screens.edited_reply",
    "tree": "ttchat_tui.ui.screens.tree",
    "ledger": "ttchat_tui.ui.screens.ledger",
    "inspector": "ttchat_tui.ui.screens.inspector",
    "timeline": "ttchat_tui.ui.screens.timeline",
    "candidates": "ttchat_tui.ui.screens.candidates",
    "import_files": "ttchat_tui.ui.screens.import_files",
    "importing": "ttchat_tui.storage.imports.importing",
    "prompt_files": "ttchat_tui.config.prompt_files",
    "prompt_library": "ttchat_tui.config.prompt_library",
    "prompt_picker": "ttchat_tui.ui.screens.prompt_picker",
    "template_form": "ttchat_tui.ui.screens.template_form",
    "save_prompt": "ttchat_tui.ui.screens.save_prompt",
    "file_watch": "ttchat_tui.ui.file_watch",
    "theme_picker": "ttchat_tui.ui.screens.theme_picker",
    "log": "ttchat_tui.ui.screens.log",
}
"""Attribute → module, in the order in which a user is likely to need them."""

PAUSE_S: Final = 0.02
"""Pause between two background imports, in seconds: enough for a frame with the keys typed meanwhile."""

if not TYPE_CHECKING:  # with it, type checkers would accept any attribute

    def __getattr__(name: str) -> ModuleType:
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = globals()[name] = importlib.import_module(MODULES[name])
        return module


async def import_all() -> None:
    """Import the remaining modules, with a pause after each in which keys are echoed.

    Not only on use: dialogs then open at once, and come from the version that was started even if the package is replaced
    while the app runs.
    """
    for name in MODULES.values():
        if name not in sys.modules:
            importlib.import_module(name)
            await asyncio.sleep(PAUSE_S)
