"""Messages that become views when they come into view: the transcript shows what it shows of views that are all there."""

from __future__ import annotations

import random
from collections.abc import Callable

from textual.app import ComposeResult
from textual.pilot import Pilot

from tests.size import sized
from tests.ui.widgets.test_transcript import TranscriptApp, reply, talk, user
from ttchat_tui.domain.matching import Matcher
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.transcript import Transcript
from ttchat_tui.ui.widgets.transcript.views import Views

TALK = {view.key: view for view in talk(160)}
BRANCH = {view.key: view for view in (reply(key, f"other {key} " * 30) for key in range(1000, 1060))}
Act = Callable[[Transcript], object]


class LazyApp(TranscriptApp):
    """Its transcript gets keys, and makes a view when it wants one."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def compose(self) -> ComposeResult:
        yield Transcript(self.make)

    def make(self, key: int) -> MessageView:
        self.made.append(key)
        return (TALK | BRANCH)[key]


def acts(chance: random.Random) -> list[tuple[str, Act, Act]]:
    """What a reader does, with keys and with views."""
    key = chance.choice(list(TALK))
    kept = chance.randrange(40, 160)
    words = Matcher([chance.choice(["answer 5", "question", "other 10", "nothing"])])
    talked, branch = list(TALK), list(BRANCH)

    def same(act: Act) -> tuple[Act, Act]:
        return act, act

    at = chance.choice(branch)
    return [
        (
            f"switch after {kept}",
            lambda lazy: lazy.show(branch, kept=kept, at=at),
            lambda eager: eager.show(list(BRANCH.values()), kept=kept, at=at),
        ),
        ("back", lambda lazy: lazy.show(talked), lambda eager: eager.show(list(TALK.values()))),
        ("home", *same(lambda each: each.action_scroll_home())),
        ("end", *same(lambda each: each.follow())),
        ("scroll", *same(lambda each: each.scroll_relative(y=-30, animate=False, immediate=True))),
        ("up", *same(lambda each: each.select_neighbour(-1))),
        ("down", *same(lambda each: each.select_neighbour(1))),
        ("extend", *same(lambda each: [each.extend_selection(-1) for _ in range(9)])),
        ("find", *same(lambda each: each.find(words))),
        ("next", *same(lambda each: each.step_hit(1))),
        ("before", *same(lambda each: each.step_hit(-1))),
        ("show", *same(lambda each: key in each._selectable() and each.bring_into_view(key))),
        ("edit", *same(lambda each: each.update(user(key, "x")) if key % 2 else None)),
        ("remove", *same(lambda each: each.remove(each._selectable()[-1]))),
        ("add", *same(lambda each: each.add(user(5000 + key)))),
        ("notice", *same(lambda each: each.add(MessageView(-1, "notice", "", note="No model")))),
    ]


async def settled(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause()


def state(app: TranscriptApp) -> object:
    transcript = app.transcript
    sources = [transcript.source_of(key) for key in transcript.selected_keys]
    return (
        app.lines(),
        transcript.selected,
        transcript.selected_keys,
        sources,
        transcript._at_hit,
        transcript._hit_keys(),
        transcript.is_following,
    )


async def test_a_transcript_of_keys_shows_what_one_of_views_does_whatever_is_done() -> None:
    chance = random.Random(5)
    lazy_app, eager_app = LazyApp(), TranscriptApp()
    async with lazy_app.run_test(size=(60, 20)) as lazy, eager_app.run_test(size=(60, 20)) as eager:
        lazy_app.transcript.show(list(TALK))
        eager_app.transcript.show(list(TALK.values()))
        await settled(lazy)
        await settled(eager)
        assert lazy_app.lines() == eager_app.lines()
        assert len(lazy_app.made) < 20, "only what is on screen is made"
        done: list[str] = []
        for _ in range(sized(14, 600)):
            name, with_keys, with_views = chance.choice(acts(chance))
            done.append(name)
            with_keys(lazy_app.transcript)
            with_views(eager_app.transcript)
            for _ in range(100):
                await settled(lazy)
                await settled(eager)
                if state(lazy_app) == state(eager_app):
                    break
            assert state(lazy_app) == state(eager_app), done


async def test_copying_a_range_takes_what_was_never_on_screen() -> None:
    app = LazyApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show(list(TALK))
        await pilot.pause()
        app.transcript.select(159)
        for _ in range(150):
            app.transcript._set_selection(app.transcript.selected - 1, 159)  # type: ignore[operator]
        keys = app.transcript.selected_keys
        assert keys == list(range(9, 160))
        assert [app.transcript.source_of(key) for key in keys] == [TALK[key].text for key in keys]
        assert len(app.made) == len(set(app.made)), "each is made once"


def test_a_branch_follows_the_messages_that_stay_and_notices_go() -> None:
    views = Views([1, reply(2), MessageView(-1, "notice", ""), 3], TALK.__getitem__)
    assert [each.key for each in views] == [1, 2, -1, 3]
    other = views.begin_with(2, [7, reply(8)])
    assert other.message_keys == [each.key for each in other] == [1, 2, 7, 8]
    assert (other.place_of(7), other.place_of(-1)) == (2, None)
