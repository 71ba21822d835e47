"""The folds of unsent drafts: for exactly the text that was stored with them, in its place."""

from __future__ import annotations

from pathlib import Path

from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.folds import KEPT, Folds
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_in_memory

DRAFT = "see xxx and yyy"
SPANS = [(4, 7), (12, 15)]


def test_folds_return_for_the_same_text_in_the_same_place() -> None:
    store = ConversationStore(open_in_memory(Path("folds")), mode="read-write")
    home = OpenConversation(store, "")
    folds = Folds(store, lambda: home)
    folds.keep(DRAFT, SPANS)
    folds.keep("an edit", [(0, 2)], is_edit=True)
    later = Folds(store, lambda: home)
    assert later.of(DRAFT) == ["xxx", "yyy"]
    assert later.of("an edit", is_edit=True) == ["an"]
    assert later.of(f"{DRAFT}.") == [], "another window has written it"
    assert later.of(DRAFT, is_edit=True) == []
    folds.keep("short", [])
    assert later.of(DRAFT) == []
    assert later.of("an edit", is_edit=True) == ["an"]
    store.set_folds("[")
    assert later.of("an edit", is_edit=True) == [], "what cannot be read is no fault"


def test_only_the_newest_drafts_keep_their_folds() -> None:
    store = ConversationStore(open_in_memory(Path("folds")), mode="read-write")
    homes = [OpenConversation(store, "") for _ in range(KEPT + 1)]
    folds = [Folds(store, lambda home=home: home) for home in homes]
    for home, each in zip(homes, folds, strict=True):
        home.conversation = store.create_conversation()
        each.keep(DRAFT, SPANS)
    assert [bool(each.of(DRAFT)) for each in (folds[0], folds[1], folds[-1])] == [False, True, True]
