"""The palette: every action of every screen by name, this screen's first, then the pages of help and the themes.
Made from tui.modes, tui.keys and tui.help, so none can be missing here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui import modes, themes
from tui.keys import Key, display
from tui.services import services

_SELF = "command_palette"


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the palette."""

    name: str
    help: str
    run: Callable[[], object]


class Actions(Provider):
    """Actions of the screen, of the app, of the other modes, the pages of help, and the themes."""

    async def discover(self) -> Hits:
        for action in self._actions():
            yield DiscoveryHit(action.name, action.run, help=action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in self._actions():
            score = max(matcher.match(action.name), matcher.match(action.help) * 0.6)
            if score > 0:
                yield Hit(score, matcher.highlight(action.name), action.run, help=action.help)

    def _actions(self) -> Iterator[Action]:
        from tui.screens.dialogs import help

        app, pages = services(self.screen), modes.pages()
        here = getattr(self.screen, "PAGE", "")
        if here in pages:
            yield from (self._act(key, f"{pages[here].title}: ", None) for key in modes.actions(here))
        yield from (self._act(key, "", None) for key in modes.everywhere() if key.action != _SELF)
        for mode in modes.registered():
            if mode.name != here:
                yield from (self._act(key, f"{mode.title}: ", mode.name) for key in modes.actions(mode.name))
        for name, title in help.index().items():
            yield Action(f"Help: {title}", "Open this page of help", partial(app.act, f"help('{name}')"))
        for theme in themes.ALL:
            yield Action(f"Theme: {themes.TITLES[theme.name]}", "Change colours", partial(app.choose_theme, theme.name))

    def _act(self, key: Key, prefix: str, mode: str | None) -> Action:
        run = partial(services(self.screen).act, key.action, mode)
        return Action(f"{prefix}{key.label}", f"{key.help}  ({display(key.first)})", run)
