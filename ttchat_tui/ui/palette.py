"""The command palette's entries: the actions of the current screen, with fuzzy search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from ttchat_tui.ui.commands import TABLE, Action, keys_label


class ActionProvider(Provider):
    """Offers the action table. A screen's `key_overrides` (config's `[keys]`) are shown as its keys."""

    async def discover(self) -> Hits:
        for action in self._offered():
            yield DiscoveryHit(
                self._display(action), self._runner(action), text=action.title, help=action.help
            )

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in self._offered():
            # Slash command and name are searched too, with a lower weight: only the title is shown.
            score = max(
                matcher.match(action.title),
                0.9 * matcher.match(f"{action.slash} {action.name.replace('_', ' ')}"),
                0.5 * matcher.match(action.help),
            )
            if score > 0:
                shown = self._with_key(matcher.highlight(action.title), action)
                yield Hit(score, shown, self._runner(action), text=action.title, help=action.help)

    def _offered(self) -> Iterator[Action]:
        for action in TABLE:
            if action.scope == "prompt" or action.name == "palette":
                continue
            if hasattr(self.screen, f"action_{action.name}") and self.screen.check_action(action.name, ()):
                yield action

    def _runner(self, action: Action) -> partial[object]:
        return partial(self.screen.run_action, action.name)

    def _display(self, action: Action) -> Content:
        return self._with_key(Content(action.title), action)

    def _with_key(self, title: Content, action: Action) -> Content:
        overrides: dict[str, str] = getattr(self.screen, "key_overrides", {})
        keys = keys_label(action, overrides) or action.slash
        return Content.assemble(title, "  ", (keys, "$text-muted")) if keys else title
