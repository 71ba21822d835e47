"""emacs keys in the prompt, as a table: keys, the text before, the text after. `|` is the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.widgets.editing.test_vi import buffer_of, rows
from ttchat_tui.ui.widgets.prompt.editing import (
    EMACS_KEYS,
    Buffer,
    Command,
    Emacs,
    Outcome,
    difference,
    index_of,
    location_of,
)

TABLE = r"""
C-f              a|b              ab|
C-f              ab|              ab|
C-b              a|b              |ab
C-b              |ab              |ab
M-f              one| two         one two|
M-f              |one two         one| two
M-f              o|ne             one|
M-b              one |two         |one two
M-b              one t|wo         one |two
C-k              a|bc\nd          a|\nd
C-k              abc|\nd          abc|d
C-k              abc|             abc|
C-u              ab\ncd|e         ab\n|e
C-w              one two-x|       one\s|
C-w              one two\s\s|     one\s|
C-w              |one             |one
M-d              |one two         |\stwo
M-d              one| two         one|
M-delete         one| two         one|
C-t              a|bc             ba|c
C-t              abc|             acb|
C-t              |abc             |abc
C-t              ab\n|c           ab\n|c
C-k,C-y          a|bc             abc|
C-k,C-y,C-y      a|bc             abcbc|
C-k,C-k,C-y      a|b\nc           ab\n|c
C-w,C-w,C-y      one two|         one two|
M-d,C-w,C-y      one |two x       one two| x
C-w,C-f,C-w,C-y  a |bc            b|c
C-k,C-y          ab|              ab|
C-u,C-y          one|             one|
"""


def press(keys: str, buffer: Buffer) -> tuple[Buffer, Outcome]:
    emacs, outcome = Emacs(), None
    for key in keys.split(","):
        outcome = emacs.press(key.replace("C-", "ctrl+").replace("M-", "alt+"), None, buffer)
        buffer = outcome if isinstance(outcome, Buffer) else buffer
    return buffer, outcome


@pytest.mark.parametrize(("keys", "before", "expected"), rows(TABLE))
def test_each_key_does_what_emacs_does(keys: str, before: str, expected: str) -> None:
    assert press(keys, buffer_of(before))[0] == buffer_of(expected)


COMMANDS: dict[str, Command] = {"C-n": "newer", "C-p": "older", "C-underscore": "undo"}


def test_lines_and_undo_are_the_prompts_and_other_keys_the_fields() -> None:
    assert {keys: press(keys, Buffer("a", 0))[1] for keys in COMMANDS} == COMMANDS
    assert press("C-d", Buffer("a", 0))[1] is None


TEXT = st.text(alphabet="ab \n_-é", max_size=12)


@given(st.data(), TEXT, st.lists(st.sampled_from(sorted(EMACS_KEYS)), max_size=5))
@settings(max_examples=sized(40, 2_000), deadline=None)
def test_any_keys_leave_a_cursor_in_the_text_and_one_edit_between_texts(
    data: st.DataObject, text: str, keys: list[str]
) -> None:
    buffer = Buffer(text, data.draw(st.integers(0, len(text))))
    emacs = Emacs()
    for key in keys:
        outcome = emacs.press(key, None, buffer)
        if isinstance(outcome, Buffer):
            start, end, inserted = difference(buffer.text, outcome.text)
            assert buffer.text[:start] + inserted + buffer.text[end:] == outcome.text
            buffer = outcome
        assert 0 <= buffer.at <= len(buffer.text)
        assert index_of(buffer.text, location_of(buffer.text, buffer.at)) == buffer.at
