"""Any sequence of commands anywhere does what vim does with it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import time
from copy import deepcopy
from pathlib import Path

import pytest

from tests.size import sized
from tests.ui.widgets.editing.test_vi import INSERTING, NORMAL, SELECTING, buffer_of, rows
from ttchat_tui.ui.widgets.prompt.editing import Buffer, Vi

VIM = shutil.which("vim")

# A command that fails ends the `normal` that it is in, so each is in one of its own. `undolevels` forgets what was done
# before the case, and begins a step of undo with each command. In cpoptions `%` and `M` count every bracket, as vi does.
SCRIPT = r"""
set nocompatible startofline whichwrap= virtualedit= backspace=indent,eol,start noautoindent cpoptions+=%M
let results = []
for [commands, lines, line, column] in json_decode(join(readfile($CASES), ''))
    let levels = &undolevels
    set undolevels=-1
    silent! %delete _
    call setline(1, lines)
    let &undolevels = levels
    call setreg('"', '')
    call setreg('a', [])
    call setreg('b', [])
    let @/ = ''
    call setcursorcharpos(line, column)
    for command in commands
        let &undolevels = &undolevels
        silent! execute 'normal! ' .. command
    endfor
    call add(results, [getline(1, '$'), getcursorcharpos()[1:2]])
endfor
call writefile([json_encode(results)], $RESULTS)
qall!
"""

Case = tuple[list[str], Buffer]

ESCAPE, REDO, ENTER = "\x1b", "\x12", "\r"
KEYS = {ESCAPE: "escape", REDO: "ctrl+r", ENTER: "enter"}


def by_vim(cases: list[Case], folder: Path) -> list[Buffer]:
    """What vim does with each case: all in one process."""
    (folder / "script.vim").write_text(SCRIPT)
    encoded = [(commands, b.text.split("\n"), *place_of(b.text, b.at)) for commands, b in cases]
    (folder / "cases").write_text(json.dumps(encoded))
    env = {**os.environ, "CASES": str(folder / "cases"), "RESULTS": str(folder / "results")}
    vim = [str(VIM), "-u", "NONE", "-i", "NONE", "-n", "-es", "-S", str(folder / "script.vim")]
    subprocess.run(vim, env=env, timeout=120, check=False)
    found: list[Buffer] = []
    for lines, (line, column) in json.loads((folder / "results").read_text()):
        found.append(Buffer("\n".join(lines), sum(len(each) + 1 for each in lines[: line - 1]) + column - 1))
    return found


def place_of(text: str, at: int) -> tuple[int, int]:
    """Line and column, from 1."""
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def run(vi: Vi, command: str, buffer: Buffer, *, ends: bool = True) -> Buffer:
    """The buffer after the command, and after the escape with which vim's `normal` ends what is unfinished."""
    for each in [*command, *([ESCAPE] if ends else [])]:
        key = KEYS.get(each, each)
        if each == ESCAPE and vi.mode == "normal" and not vi._typed:
            continue
        outcome = vi.press(key, each if key == each else None, buffer)
        if isinstance(outcome, Buffer):
            buffer = outcome
        elif vi.is_writing and key == each:
            buffer = Buffer(buffer.text[: buffer.at] + each + buffer.text[buffer.at :], buffer.at + 1)
    return Buffer(buffer.text, buffer.at) if ends else buffer


OBJECTS = [kind + name for kind in "ia" for name in "wWp\"'()b{}B[]"]
MOTIONS = [*"hjklwbeWBE0^$%", "G", "gg", "fo", "to", "Fo", "To", "f.", "T ", ";", ","]
SEARCHES = [
    *(way + words + ENTER for way in "/?" for words in ("o", "t", "in", " ", "ee", "")),
    "n",
    "n",
    "N",
]
CHANGES = [
    *"xXD~J", "rz", "p", "P", "dd", "dw", "db", "de", "dW", "dj", "dk", "d$", "d0", "d%", "yy", "yw", "Y", "y%", "dgg", "dG",
    *(f"{each}Q{ESCAPE}" for each in ("C", "s", "S", "cw", "cb", "cc", "c%", "cj", "i", "a", "I", "A", "o", "O")),
    *(f"{each}Q R{ESCAPE}" for each in "iaIAoO"),
    *(operator + search for operator in "dy" for search in SEARCHES), *(f"c{each}Q{ESCAPE}" for each in SEARCHES),
]  # fmt: skip
REGISTERS = ["x", "dd", "dw", "yy", "yw", "diw", "yip"]
TEXTS = [
    "", "one", "one two, three", "say \"hi there\" x 'a' \"b\"", "f(a, (b c), [d]) {e}", "a.b(c)  d_e",
    "  in\n\n  two  \nthree four", "x\n y\n  z 9", "if (x) {\n  y(1)\n  z\n}\nend",
    "one\ntwo\n\n\nthree\nfour\n  \nfive", "{ a\n b }\n(\n)\n", '"a" b "c d" e', "a{}b()c[]\n()",
]  # fmt: skip


class Chooser:
    """Commands by chance. Each method returns a few in a row."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def case(self) -> Case:
        text = self._chance.choice(TEXTS)
        at = Vi()._in_line(text, self._chance.randint(0, len(text))).at
        steps = self._chance.choice([
            [self.change], [self.on_object], [self.selected], [self.in_register],
            [self.change, self.move, self.again, self.again], [self.selected, self.move, self.again],
            [self.on_object, self.move, self.again], [self.change, self.move, self.change, self.step, self.step],
            [self.change, self.in_register, self.move, self.change, self.again], [self.move, self.move, self.change],
        ])  # fmt: skip
        return [command for step in steps for command in step()], Buffer(text, at)

    def _count(self, *among: str) -> str:
        return self._chance.choice(among or ("", "", "2", "3", "12"))

    def move(self) -> list[str]:
        return [self._count() + self._chance.choice([*MOTIONS, *SEARCHES])]

    def change(self) -> list[str]:
        return [self._count("", "", "2", "3") + self._chance.choice(CHANGES)]

    def on_object(self) -> list[str]:
        operator = self._chance.choice("dcy")
        name = self._count("", "", "2") + operator + self._chance.choice(OBJECTS)
        return [f"{name}Q{ESCAPE}" if operator == "c" else name]

    def selected(self) -> list[str]:
        mode = self._chance.choice("vV")
        objects = OBJECTS if mode == "v" else []
        what = self._chance.choice(
            [self._count("", "2") + self._chance.choice([*MOTIONS, *SEARCHES]), *objects[::5]]
        )
        return [mode + what + self._chance.choice(["d", "y", "x", "~", "J", f"cQ{ESCAPE}", f"sQ{ESCAPE}"])]

    def in_register(self) -> list[str]:
        name, put = self._chance.choice("aabA"), self._chance.choice("pP")
        kept = f'{self._count("", "2")}"{name}{self._chance.choice(REGISTERS)}'
        return [kept, self._chance.choice("jwG0"), f'{self._count("", "2")}"{name.lower()}{put}']

    def again(self) -> list[str]:
        return [f"{self._count('', '', '3')}."]

    def step(self) -> list[str]:
        return [self._chance.choice(["u", "u", "2u", REDO])]


SELECTION = re.compile(r"([vV])((\d*)([ia].|gg|[fFtT].|[/?][^\r]*\r|\D|0))(.+)", re.DOTALL)
ON_OBJECT = re.compile(r"(\d*)(?:\"(.))?(\d*)[dcy](\d*)([ia].)")
CHANGE = re.compile(r"[dcxXpPsSDCJ~roOiIaA.]")


def is_comparable(command: str, vi: Vi, before: Buffer, changed: bool) -> bool:
    """Whether vim's answer is about the command. It is not where a command fails, since vim then remembers another one for
    `.` and an empty step of undo, or has gone somewhere before it failed; and where it would use what an earlier case left."""
    movements = vi._movements
    if re.search(r"[;,]", command) and not movements._sought:
        return False
    if re.search(r"[nN]|[/?]\r", command) and not movements._searched[1:]:
        return False
    if selection := SELECTION.fullmatch(command):
        mode, movement, count, name, rest = selection.groups()
        if name[0] in "ia":
            return _is_found(vi, name, int(count or 1), before) and not (mode == "V" and name[1] == "p")
        trial = deepcopy(vi)
        shown = run(trial, mode + movement, before, ends=False)
        at = trial._cursor[1] if trial._cursor is not None else shown.at
        return at != before.at and (rest[0] != "J" or "." not in rest)
    if on_object := ON_OBJECT.match(command):
        counts = [int(each) for each in on_object.group(1, 3, 4) if each]
        times = 1
        for each in counts:
            times *= each
        return _is_found(vi, on_object[5], times, before)
    is_change = (
        CHANGE.search(re.sub(r"[fFtT].|[/?][^\r]*\r", "", command)) is not None and command[0] not in "u\x12"
    )
    return changed or not is_change


def _is_found(vi: Vi, name: str, times: int, before: Buffer) -> bool:
    """There is such an object around the cursor: whether vim looks further on depends on its version. Those of words stay
    in their line here, and where the last line is empty, vim leaves it."""
    at = vi._in_line(before.text, before.at).at
    span = deepcopy(vi)._movements.span("v", name, times, Buffer(before.text, at))
    if span is None or not (span.is_lines or span.start < span.end):
        return False
    is_on_nothing = name[1] in "wW" and at == len(before.text)
    return not is_on_nothing and (span.is_lines or name[1] in "\"'" or span.start <= at + 1 <= span.end + 1)


def expected(commands: list[str], buffer: Buffer) -> Buffer | None:
    """What it becomes here; None if vim's answer says nothing."""
    vi = Vi()
    run(vi, ESCAPE, Buffer("", 0))
    vi.load(buffer.text)
    for number, command in enumerate(commands):
        before, last, state = buffer, vi._last, deepcopy(vi)
        if command.endswith(".") and command[:-1].isdigit() | (command == "."):
            if last is None or (last.name[:1] in ("i", "a") and len(last.name) == 2):
                if last is None or not _is_found(vi, last.name, int(command[:-1] or last.times or 1), buffer):
                    return None
            elif last.extent is not None and (last.name == "J" or command != "."):
                return None
        buffer = run(vi, command, buffer)
        is_selected_end = number + 1 < len(commands) and re.match(r"[vV]\d*\$", command) is not None
        if is_selected_end or not is_comparable(command, state, before, buffer.text != before.text):
            return None
        if not buffer.text and number + 1 < len(commands):
            return None  # an empty text is no line for vim's registers
    return buffer


@pytest.mark.skipif(VIM is None, reason="vim is not installed")
def test_any_commands_anywhere_do_what_vim_does(tmp_path: Path) -> None:
    known = [
        ([keys], buffer_of(before))
        for keys, before, after in rows(NORMAL, INSERTING, SELECTING)
        if "[" not in after
    ]
    cases: list[Case] = []
    here: list[Buffer] = []
    chooser = Chooser(random.Random(sized(7, int(time.time()))))
    while len(cases) < sized(1_000, 20_000):
        case = known.pop() if known else chooser.case()
        if (result := expected(*case)) is not None:
            cases.append(case)
            here.append(result)
    wrong = [
        f"{commands} on {buffer}: vim {vim}, here {mine}"
        for (commands, buffer), vim, mine in zip(cases, by_vim(cases, tmp_path), here, strict=True)
        if (vim.text != mine.text if {"u", "2u", REDO} & {*commands} else vim != mine)
    ]
    assert not wrong, "\n".join(dict.fromkeys(wrong))
