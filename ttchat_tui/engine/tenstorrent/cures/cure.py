"""An entry of the tables: a pattern of a native text, its meaning, and a cure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ttchat_tui.domain.errors import ErrorKind
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.installation import install_command


class _NamedSettings:
    """Names settings in a text that `str.format` fills in."""

    def __getitem__(self, written: str) -> str:
        """The name of `tt.trace` or, with a value, of `tt.trace = false`."""
        path, _, value = written.partition(" = ")
        return setting(path, value)


class Cure(msgspec.Struct, frozen=True):
    part: str
    """A regular expression to search for in `TypeName: native text`. Its named groups may be used in the other texts. With a group
    `module`, so may `install` and `upgrade`: the commands that do so. `{setting[tt.trace = false]}` names a setting."""
    kind: ErrorKind
    meaning: str
    cure: str

    def about(self, text: str) -> Cure | None:
        """This entry with the named groups of its pattern filled in from `text`; None if it does not match."""
        match = re.search(self.part, text, re.DOTALL)
        if match is None:
            return None
        named: dict[str, Any] = match.groupdict()
        module = named.get("module", "")
        named |= {
            "install": install_command(module),
            "upgrade": install_command("--upgrade", module),
            "setting": _NamedSettings(),
        }
        return msgspec.structs.replace(
            self, meaning=self.meaning.format(**named), cure=self.cure.format(**named)
        )


RESET: Final = "Quit, run `tt-smi -r` (Galaxy: `tt-smi -glx_reset`), and start again."
ONE_CHIP: Final = 'Run on one chip: {setting[tt.mesh_device = "N150"]} (Blackhole: P150), and TT_VISIBLE_DEVICES=0 if that is not enough.'
"""For chips that do not join. The variable hides the other cards: tt-metal before 2025-12 maps all that it sees, also for
one chip (tt-metal#32990)."""
