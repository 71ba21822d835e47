"""Notifications through the terminal, which shows them on the user's own desktop, also over ssh: OSC 9, OSC 777, OSC 99 or
the bell. No terminal confirms them, and one that does not know a sequence ignores it.

Sources: https://iterm2.com/documentation-escape-codes.html (9), https://codeberg.org/dnkl/foot (777),
https://sw.kovidgoyal.net/kitty/desktop-notifications/ (99).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from ttchat_tui.config.schema import NoticeWay
from ttchat_tui.domain.text import one_line
from ttchat_tui.ui.passthrough import passed_through

BELL: Final = "\x07"

TITLE_LENGTH: Final = 50
TEXT_LENGTH: Final = 120

_PROGRAMS: Final[dict[str, NoticeWay]] = {
    "iTerm.app": "osc9",
    "iTerm2": "osc9",
    "WarpTerminal": "osc9",
    "WezTerm": "osc777",
    "ghostty": "osc777",
}
"""By TERM_PROGRAM, or by LC_TERMINAL, which ssh passes on."""
_TERMS: Final[dict[str, NoticeWay]] = {
    "xterm-kitty": "osc99",
    "xterm-ghostty": "osc777",
    "wezterm": "osc777",
    "foot": "osc777",
    "foot-extra": "osc777",
    "rxvt-unicode-256color": "osc777",
}


def notice(title: str, text: str, way: NoticeWay, environment: Mapping[str, str]) -> str:
    """The control sequence for a notification. `title` and `text` may be anything: they are cut to one short line each."""
    if way == "auto":
        way = _way_of(environment)
    title, text = _line(title, TITLE_LENGTH), _line(text, TEXT_LENGTH)
    match way:
        case "osc9":
            # A digit and a semicolon at the beginning would be one of ConEmu's commands, such as a progress bar.
            sequence = f"\x1b]9;ttchat: {title}: {text}{BELL}"
        case "osc777":
            sequence = f"\x1b]777;notify;{title};{text}{BELL}"
        case "osc99":
            sequence = f"\x1b]99;i=ttchat:e=1:d=0;{_encoded(title)}\x1b\\\x1b]99;i=ttchat:e=1:p=body;{_encoded(text)}\x1b\\"
        case _:
            return BELL
    return passed_through(sequence, environment)


def _way_of(environment: Mapping[str, str]) -> NoticeWay:
    """Inside tmux and screen the bell: they pass other sequences on only if they are set up for it."""
    if environment.get("TMUX") or environment.get("STY"):
        return "bell"
    term = environment.get("TERM", "")
    programs = (environment.get("TERM_PROGRAM", ""), environment.get("LC_TERMINAL", ""))
    known: list[NoticeWay | None] = [_TERMS.get(term), *(_PROGRAMS.get(each) for each in programs)]
    for way in known:
        if way is not None:
            return way
    return "bell"


def _line(text: str, length: int) -> str:
    """Without tabs, which end the sequence in some terminals, and semicolons, which separate the fields of OSC 777."""
    line = one_line(text[: 4 * length]).replace(";", ",")
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()
