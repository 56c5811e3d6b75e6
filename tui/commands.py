"""The palette: every action of every screen by name, this screen's first.
Made from tui.keys, so an action cannot be forgotten here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui import keys, themes
from tui.keys import PAGES, Key, display

if TYPE_CHECKING:
    from tui.app import TuningforkApp

_MODES = ("data", "train", "compare", "export")


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the palette."""

    name: str
    help: str
    run: Callable[[], object]


class Actions(Provider):
    """Actions of the screen, of the app, of the other modes, and the themes."""

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
        app = cast("TuningforkApp", self.app)
        here = getattr(self.screen, "PAGE", "")
        if here in PAGES:
            yield from (self._act(key, f"{PAGES[here].title}: ", None) for key in _acts(here))
        yield from (self._act(key, "", None) for key in keys.APP if key.id != "app.palette")
        for mode in _MODES:
            if mode != here:
                yield from (self._act(key, f"{PAGES[mode].title}: ", mode) for key in _acts(mode))
        for theme in themes.ALL:
            yield Action(
                f"Theme: {themes.TITLES[theme.name]}", "Colours of this app", partial(app.choose_theme, theme.name)
            )

    def _act(self, key: Key, prefix: str, mode: str | None) -> Action:
        app = cast("TuningforkApp", self.app)
        shown = display(key.keys.split(",")[0])
        return Action(f"{prefix}{key.label}", f"{key.help}  ({shown})", partial(app.act, key.action, mode))


def _acts(page: str) -> Iterator[Key]:
    return (key for group in PAGES[page].acts for key in group)
